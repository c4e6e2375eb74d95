import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";

const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;
const forwardAll = new URL("../testdata/plugins/forward_all.ts", import.meta.url).href;
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const TIMES = { pingMs: 150, firstBackoffMs: 600 };

for (const trouble of ["throws in a timer", "rejects unheard", "closes itself", "exits", "is busy"]) {
  for (const threads of trouble === "exits" ? [1, 2] : [1]) {
    Deno.test({
      name:
        `an isolated plugin that ${trouble} is started anew, ${threads} data plane(s), and nobody slips past it`,
      ignore,
      async fn() {
        await using echo = startEcho();
        await using web = startEcho();
        await using decoy = startEcho();
        await using gateway = await TestGateway.start({
          yaml: `plugins:
            static: { routes: [{ protocol: http, to: "${web.target}" }] }
            troubled: { to: "${echo.target}", trouble: "${trouble}" }
            decoy: { to: "${decoy.target}" }`,
          declarations: {
            troubled: { module: troubled, isolation: "worker", permissions: {} },
            decoy: { module: forwardAll, isolation: "inline", permissions: {} },
          },
          threads,
          times: TIMES,
        });
        const unit = gateway.supervisor.pluginUnits.get("troubled");
        assert.ok(unit);
        using relayed = await (await SshLikeClient.connect(gateway.port())).greeted();

        using bringer = await gateway.connect();
        await writeAll(bringer, new TextEncoder().encode("trouble\r\n\r\n"));
        await until(() => !unit.worker.up, { what: "the worker to be seen as dead" });

        // While it is down: its connections are refused, those of plugins before it are not, and open ones go on.
        assert.notEqual(await sayHello(gateway.port()), ECHOED);
        using browser = await gateway.connect();
        await writeAll(browser, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
        await browser.closeWrite();
        assert.equal(new TextDecoder().decode(await readToEnd(browser)), "GET / HTTP/1.1\r\n\r\n");
        await relayed.echo("0123456789abcdef".repeat(64 * 1024));
        assert.equal(unit.worker.up, false, "all this happened while it was down");

        await until(() => unit.worker.up, { what: "the worker to be back" });
        assert.equal(await sayHello(gateway.port()), ECHOED);
        assert.equal(await relayed.finish(), "");
        assert.equal(unit.worker.restarts, 1);
        assert.equal(decoy.accepted, 0, "nobody got past the plugin that was down");
        const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
        assert.match(metrics, /^postern_plugin_restarts_total\{plugin="troubled"\} 1$/m);
        await gateway.logged("worker_died", ({ worker }) => worker === "plugin:troubled");
        await gateway.logged("worker_restarted", ({ worker }) => worker === "plugin:troubled");
      },
    });
  }
}

Deno.test({
  name: "a plugin that dies again and again is started after waits that double",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { troubled: { to: "${echo.target}", trouble: exits } }`,
      declarations: { troubled: { module: troubled, isolation: "worker", permissions: {} } },
      times: { pingMs: 50, firstBackoffMs: 400, lastBackoffMs: 10_000 },
    });
    const unit = gateway.supervisor.pluginUnits.get("troubled");
    assert.ok(unit);
    const deaths = () => gateway.events.filter(({ event }) => event === "worker_died");
    const waits: number[] = [];
    for (let restarts = 1; restarts <= 3; restarts++) {
      using client = await gateway.connect();
      await writeAll(client, new TextEncoder().encode("trouble\r\n\r\n"));
      await until(() => unit.worker.restarts === restarts, { what: `restart ${restarts}` });
      const restarted = Date.now(); // when it is begun: how long the start itself takes is no part of the wait
      await until(() => unit.worker.up, { what: "the plugin to be up" });
      await until(() => deaths().length === restarts, { what: `the log of death ${restarts}` });
      waits.push(restarted - Date.parse(String(deaths().at(-1)?.time)));
    }
    // A timer is never early but for rounding; how late it is depends on the machine.
    for (const [i, wait] of waits.entries()) assert.ok(wait >= 400 * 2 ** i - 10, `waits of ${waits} ms`);
    assert.deepEqual(waits, waits.toSorted((one, other) => one - other), "each is longer than the last");
    assert.equal(await sayHello(gateway.port()), ECHOED);
  },
});
