/** A log never blocks the data path, however its reader behaves. */
import assert from "node:assert/strict";
import { type LogTarget, LogWriter } from "../../core/supervisor/log_writer.ts";
import { Supervisor } from "../../core/supervisor/supervisor.ts";
import { prepareYaml } from "../support/gateway.ts";
import { startEcho } from "../support/echo.ts";
import { granted } from "../support/permissions.ts";
import { staticRoutes } from "../support/static_routes.ts";
import { SshLikeClient } from "../support/ssh_like.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

const readers: Readonly<Record<string, () => Promise<number>>> = {
  "never reads": () => new Promise(() => {}),
  "has gone": () => Promise.reject(new Deno.errors.BrokenPipe("Broken pipe")),
};

for (const [name, write] of Object.entries(readers)) {
  Deno.test({
    name: `while the reader of the log ${name}, connections come, go on and end`,
    ignore,
    async fn() {
      await using echo = startEcho();
      let written = 0;
      const target: LogTarget = {
        write() {
          written++;
          return write();
        },
      };
      const prepared = await prepareYaml({ yaml: staticRoutes({ protocol: "ssh", to: echo.target }) });
      const supervisor = await Supervisor.start(prepared, {
        threads: 1,
        writer: new LogWriter("json", target),
      });
      try {
        const port = Number(supervisor.listeners[0]?.address.split(":").at(-1));
        using lasting = await (await SshLikeClient.connect(port)).greeted();
        for (let round = 0; round < 10; round++) {
          await Promise.all(Array.from({ length: 30 }, async () => {
            using client = await (await SshLikeClient.connect(port)).greeted();
            assert.equal(await client.finish(), "");
          }));
          await lasting.echo(`round ${round}`);
        }
        assert.ok(written > 0, "something was to be logged");
        const status = await fetch(`http://${supervisor.adminAddress}/healthz`);
        assert.equal(status.status, 200);
        await status.body?.cancel();
      } finally {
        const begin = performance.now();
        await supervisor.stop();
        assert.ok(performance.now() - begin < 4000, "it ends all the same");
      }
    },
  });
}

Deno.test("what a reader that never reads leaves waiting is bounded, and counted", async () => {
  let go: (() => void) | undefined;
  const lines: string[] = [];
  const writer = new LogWriter("json", {
    async write(bytes) {
      if (go === undefined) await new Promise<void>((resolve) => go = resolve);
      lines.push(...new TextDecoder().decode(bytes).trimEnd().split("\n"));
      return bytes.length;
    },
  });
  const log = (event: string) => writer.write({ time: 0, level: "info", from: "test", event, fields: {} });
  log("first");
  while (go === undefined) await new Promise((resolve) => setTimeout(resolve));
  for (let i = 0; i < 50_000; i++) log("flood");
  go();
  await writer.flush();
  assert.ok(lines.length < 20_000, `${lines.length} lines were kept`);
  const { event, dropped } = JSON.parse(lines.at(-1) ?? "{}");
  assert.deepEqual([event, dropped + lines.length], ["log_dropped", 50_002]);
});
