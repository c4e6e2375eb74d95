import assert from "node:assert/strict";
import { startEcho } from "../support/echo.ts";
import { TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

function sshTo(to: string, more = "", threads = 1): TestGatewayOptions {
  return { yaml: `${more}\nplugins: { static: { routes: [{ protocol: ssh, to: "${to}" }] } }`, threads };
}

Deno.test({
  name: "three data planes share one port: each takes connections, and no id comes twice",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start(sshTo(echo.target, "", 3));
    const hellos = 60;
    for (let i = 0; i < hellos; i++) assert.equal(await sayHello(gateway.port()), ECHOED);
    const closed = () => gateway.events.filter(({ event }) => event === "connection_closed");
    await until(() => closed().length === hellos, { what: "every connection to be logged" });
    assert.deepEqual([...new Set(closed().map(({ from }) => from))].sort(), [
      "data-plane-0",
      "data-plane-1",
      "data-plane-2",
    ]);
    assert.equal(new Set(closed().map((one) => one["connection"])).size, hellos);
    const prefixes = new Set(closed().map((one) => String(one["connection"]).replace(/-[^-]*$/, "")));
    assert.equal(prefixes.size, 3);

    const status = await (await fetch(`${gateway.adminUrl}/api/v1/status`)).json();
    assert.equal(status.threads, 3);
    assert.deepEqual(status.connections, { active: 0, total: hellos });
    assert.deepEqual(status.bytes, { in: hellos * ECHOED.length, out: hellos * ECHOED.length });
    const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    const samples = [...metrics.matchAll(/^postern_connections_total\{(.*)\} (\d+)$/gm)];
    assert.equal(samples.length, 1, "one sample for all data planes");
    assert.equal(samples[0]?.[2], String(hellos));
  },
});

for (const threads of [1, 2]) {
  Deno.test({
    name: `an address in use is found with ${threads} data plane(s), whoever has it`,
    ignore,
    async fn() {
      await using echo = startEcho();
      const busy = (port: number) =>
        sshTo(
          echo.target,
          `listeners: [{ address: "127.0.0.1:0" }, { address: "127.0.0.1:${port}" }]`,
          threads,
        );
      const refused = (port: number) =>
        assert.rejects(TestGateway.start(busy(port)), {
          code: "address-in-use",
          message:
            `Cannot listen on "127.0.0.1:${port}": the address is in use; stop the other program or choose another port`,
        });
      using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      await refused(other.addr.port);
      using sharing = Deno.listen({ hostname: "127.0.0.1", port: 0, reusePort: true });
      await refused(sharing.addr.port);
      await using gateway = await TestGateway.start(sshTo(echo.target, "", 2));
      await refused(gateway.port());
      for (let i = 0; i < 8; i++) assert.equal(await sayHello(gateway.port()), ECHOED);
    },
  });
}

Deno.test({
  name: "maxConnections holds for all data planes together",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start(sshTo(echo.target, "limits: { maxConnections: 5 }", 2));
    await using stack = new AsyncDisposableStack();
    for (let i = 0; i < 5; i++) stack.use(await (await SshLikeClient.connect(gateway.port())).greeted());
    for (let i = 0; i < 6; i++) assert.equal(await sayHello(gateway.port()), "");
    assert.equal(gateway.supervisor.limits.open, 5);
    await stack.disposeAsync();
    await until(() => gateway.supervisor.limits.open === 0, { what: "all to be counted as ended" });
    assert.equal(await sayHello(gateway.port()), ECHOED);
    const status = await (await fetch(`${gateway.adminUrl}/api/v1/status`)).json();
    assert.equal(status.rejected.max_connections, 6);
  },
});
