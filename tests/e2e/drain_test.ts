import assert from "node:assert/strict";
import { readToEnd, startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;

function start(to: string, drainTimeout: string, trouble = "exits"): Promise<TestGateway> {
  return TestGateway.start({
    yaml: `limits: { drainTimeout: ${drainTimeout} }
plugins: { one: { to: "${to}", trouble: ${trouble} }, two: { to: "${to}" } }`,
    declarations: {
      one: { module: troubled, isolation: "inline", permissions: {} },
      two: { module: troubled, isolation: "worker", permissions: {} },
    },
    threads: 2,
    times: { pingMs: 100, firstBackoffMs: 50 },
  });
}

async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return true;
    if (error instanceof Deno.errors.ConnectionReset) return false; // the port was just about to be closed
    throw error;
  }
}

Deno.test({
  name: "draining stops to accept at once, lets what is open finish, and then ends everything in order",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await start(echo.target, "30s");
    const port = gateway.port();
    using open = await (await SshLikeClient.connect(port)).greeted();
    const draining = gateway.supervisor.drain();
    await until(() => isRefused(port), { what: "the port to be closed" });
    await open.echo("x".repeat(1 << 20));
    const ready = await fetch(`${gateway.adminUrl}/readyz`);
    assert.deepEqual([ready.status, /draining/.test(await ready.text())], [503, true]);
    const status = await (await fetch(`${gateway.adminUrl}/api/v1/status`)).json();
    assert.deepEqual([status.draining, status.connections.active], [true, 1]);

    assert.equal(await open.finish(), "");
    assert.equal(await draining, true);
    const closed = await gateway.logged("connection_closed");
    assert.equal(closed["result"], "ok");
    const words = gateway.events.map(({ event, from }) => `${event} ${from}`);
    const order = ["draining supervisor", "disposed plugin:one", "disposed plugin:two", "stopped supervisor"];
    assert.deepEqual(words.filter((word) => order.includes(word)), [
      "draining supervisor",
      "disposed plugin:one",
      "disposed plugin:one",
      "disposed plugin:two",
      "stopped supervisor",
    ]);
    await assert.rejects(fetch(`${gateway.adminUrl}/healthz`), TypeError);
  },
});

Deno.test({
  name: "connections that outlive the drain are closed, and the answer says so",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await start(echo.target, "300ms");
    using open = await (await SshLikeClient.connect(gateway.port())).greeted();
    const { supervisor } = gateway;
    assert.equal(await supervisor.drain(), false);
    assert.equal((await readToEnd(open.conn).catch(() => new Uint8Array())).length, 0);
    assert.equal((await gateway.logged("drain_timeout"))["connections"], 1);
    assert.equal((await gateway.logged("connection_closed"))["result"], "drained");
    assert.equal(supervisor.limits.open, 0);
  },
});

Deno.test({
  name: "stop() ends a drain at once, and both may be called again",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await start(echo.target, "1h");
    using open = await (await SshLikeClient.connect(gateway.port())).greeted();
    const { supervisor } = gateway;
    const draining = supervisor.drain();
    await until(() => isRefused(gateway.port()), { what: "the port to be closed" });
    await Promise.all([supervisor.stop(), supervisor.stop()]);
    assert.equal((await readToEnd(open.conn).catch(() => new Uint8Array())).length, 0);
    assert.equal(await draining, false);
    await supervisor.stop();
  },
});

Deno.test({
  name: "a data plane that dies while it drains opens its port no more, and the drain tells of it",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await start(echo.target, "20s", '"throws in a timer"');
    const port = gateway.port();
    const { supervisor } = gateway;
    await using stack = new AsyncDisposableStack();
    const open: SshLikeClient[] = [];
    const opened = () => gateway.events.filter(({ event }) => event === "connection_opened");
    while (new Set(opened().map(({ from }) => from)).size < 2) { // until each data plane has one at least
      open.push(stack.use(await (await SshLikeClient.connect(port)).greeted()));
      await until(() => opened().length === open.length, { what: "the connection to be logged" });
    }
    using bringer = await gateway.connect(); // accepted before, decided during the drain
    await until(() => supervisor.limits.open === open.length + 1, { what: "the last one to be accepted" });

    const draining = supervisor.drain();
    await until(() => isRefused(port), { what: "the port to be closed" });
    await bringer.write(new TextEncoder().encode("trouble\r\n\r\n"));
    await gateway.logged("worker_restarted");
    assert.equal(await isRefused(port), true);
    await stack.disposeAsync();
    assert.equal(await draining, false);
  },
});

Deno.test({
  name: "draining with nothing open takes no time",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await start(echo.target, "1h");
    assert.equal(await sayHello(gateway.port()), ECHOED);
    assert.equal(await gateway.supervisor.drain(), true);
  },
});
