/** A child's output is always drained, and logs never block the data path: with a child that never stops, and a log that nobody reads. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { LogWriter } from "../../core/supervisor/log_writer.ts";
import { Supervisor } from "../../core/supervisor/supervisor.ts";
import { can } from "../e2e/can.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { freeRange, hasStandIn, installStandIn } from "../support/cloudflared.ts";
import { prepareYaml } from "../support/gateway.ts";

const ignore = !(can() && hasStandIn());
const BYTES = 100_000_000;
const HELLO = inRecords(helloMessage({ extensions: [serverName("db.example.com")] }));

const readers: Readonly<Record<string, (bytes: Uint8Array) => Promise<number>>> = {
  "reads all": (bytes) => Promise.resolve(bytes.length),
  "never reads": () => new Promise(() => {}),
  "has gone": () => Promise.reject(new Deno.errors.BrokenPipe("Broken pipe")),
};

for (const [name, write] of Object.entries(readers)) {
  Deno.test({
    name: `a program that prints 100 MB before it listens gets there, while the reader of the log ${name}`,
    ignore,
    async fn() {
      // It would hang for ever in its first full pipe.
      await using standIn = await installStandIn({ babble: BYTES / 2, each: ["x".repeat(10_000)] });
      let logged = 0;
      const target = {
        write(bytes: Uint8Array) {
          logged += bytes.length;
          return write(bytes);
        },
      };
      const yaml = `plugins: { cloudflared: { command: "${standIn.path}", names: ["*.example.com"],
        startupTimeout: 60s, ports: ${freeRange()} } }`;
      const supervisor = await Supervisor.start(await prepareYaml({ yaml }), {
        threads: 1,
        writer: new LogWriter("json", target),
      });
      try {
        const port = Number(supervisor.listeners[0]?.address.split(":").at(-1));
        for (let i = 0; i < 30; i++) {
          using client = await Deno.connect({ hostname: "127.0.0.1", port });
          await writeAll(client, HELLO);
          const back = new Uint8Array(HELLO.length);
          for (let at = 0; at < back.length;) {
            at += await client.read(back.subarray(at)) ?? assert.fail(`ended after ${at} bytes`);
          }
          assert.deepEqual(back, HELLO);
        }
        assert.equal(standIn.starts.length, 1);
        assert.ok(logged > 0, "something was to be logged");
        assert.ok(logged < BYTES / 100, `${logged} bytes were logged`);
      } finally {
        const begin = performance.now();
        await supervisor.stop();
        assert.ok(performance.now() - begin < 4000, "it ends all the same");
      }
      assert.deepEqual(standIn.alive, []);
    },
  });
}
