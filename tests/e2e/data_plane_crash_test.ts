import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { prepareYaml, TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";
import { captureWorkers } from "../support/workers.ts";

const module = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

function startTroubled(to: string, trouble: string, threads: number, limits = "{}"): Promise<TestGateway> {
  return TestGateway.start({
    yaml: `limits: ${limits}\nplugins: { troubled: { to: "${to}", trouble: "${trouble}" } }`,
    declarations: { troubled: { module, isolation: "inline", permissions: {} } },
    threads,
    times: { pingMs: 150, firstBackoffMs: 600 },
  });
}

async function bringTrouble(gateway: TestGateway): Promise<void> {
  const { planes } = gateway.supervisor;
  using client = await gateway.connect();
  await writeAll(client, new TextEncoder().encode("trouble\r\n\r\n"));
  await until(() => planes.some(({ up }) => !up), { what: "a data plane to be seen as dead" });
}

/** A relayed connection, and which data plane has it. */
async function openRelayed(gateway: TestGateway): Promise<{ client: SshLikeClient; plane: string }> {
  const client = await (await SshLikeClient.connect(gateway.port())).greeted();
  const { port } = client.conn.localAddr;
  const opened = await gateway.logged("connection_opened", ({ source }) => source === `127.0.0.1:${port}`);
  return { client, plane: String(opened["from"]) };
}

for (const trouble of ["throws in a timer", "closes itself", "exits"]) {
  Deno.test({
    name: `a data plane that ${trouble} is started anew on the same port, and holds nothing of before`,
    ignore,
    async fn() {
      await using echo = startEcho();
      await using gateway = await startTroubled(echo.target, trouble, 1);
      const { supervisor } = gateway;
      const port = gateway.port();
      const { client } = await openRelayed(gateway);
      using _ = client;

      await bringTrouble(gateway);
      assert.equal(await isClosed(client.conn), true, "its connections ended with it");
      await until(() => supervisor.planes[0]?.up, { what: "the data plane to be back" });
      assert.equal(gateway.port(), port);
      await until(async () => await sayHello(port).catch(() => "") === ECHOED, { what: "the port" });
      await until(() => supervisor.limits.open === 0, { what: "nothing to be counted as open" });
      assert.equal(supervisor.planes[0]?.restarts, 1);
      await gateway.logged("worker_died", ({ worker }) => worker === "data-plane-0");
    },
  });
}

Deno.test({
  name: "when one of two data planes dies, the connections of the other go on, and new ones get in",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await startTroubled(echo.target, "throws in a timer", 2);
    const { supervisor } = gateway;
    await using stack = new AsyncDisposableStack();
    const relayed: { client: SshLikeClient; plane: string }[] = [];
    while (new Set(relayed.map(({ plane }) => plane)).size < 2) {
      assert.ok(relayed.length < 100, "the system spreads connections over both");
      const one = await openRelayed(gateway);
      stack.use(one.client);
      relayed.push(one);
    }

    await bringTrouble(gateway);
    const dead = supervisor.planes.find(({ up }) => !up)?.name;
    const survivors = relayed.filter(({ plane }) => plane !== dead);
    for (const { client } of survivors) await client.echo("still here ".repeat(50_000));
    assert.equal(await sayHello(gateway.port()), ECHOED);
    await until(() => supervisor.limits.open === survivors.length, {
      what: () => `${survivors.length} connections to be counted, not ${supervisor.limits.open}`,
    });

    await until(() => supervisor.planes.every(({ up }) => up), { what: "the data plane to be back" });
    const ids = new Set<string>();
    for (let i = 0; ids.size < 2 && i < 100; i++) {
      const { client, plane } = await openRelayed(gateway);
      client[Symbol.dispose]();
      ids.add(plane);
    }
    assert.equal(ids.size, 2, "both take connections again");
    for (const { client } of survivors) await client.echo("and still here");
  },
});

Deno.test({
  name: "what a dead data plane held is not counted against anybody's limit",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await startTroubled(
      echo.target,
      "throws in a timer",
      1,
      "{ maxConnections: 4, maxConnectionsPerSource: 4 }",
    );
    for (let round = 1; round <= 2; round++) {
      await using stack = new AsyncDisposableStack();
      for (let i = 0; i < 3; i++) stack.use((await openRelayed(gateway)).client);
      await bringTrouble(gateway);
      await until(() => gateway.supervisor.planes[0]?.up, { what: "the data plane to be back" });
    }
    assert.equal(gateway.supervisor.limits.open, 0);
    await until(async () => await sayHello(gateway.port()).catch(() => "") === ECHOED, { what: "the port" });
  },
});

Deno.test({
  name: "a data plane that is started anew finds the isolated plugins again, and what a reload brought since",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using other = startEcho();
    const workers = captureWorkers();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { all: { to: "${echo.target}" } }`,
      declarations: { all: { module, isolation: "worker", permissions: {} } },
      times: { pingMs: 100, firstBackoffMs: 50 },
    }).finally(() => workers.restore());
    const [plane] = gateway.supervisor.planes;
    workers.kill("data-plane-0");
    await until(() => plane?.up === false, { what: "the data plane to be missed" });
    assert.deepEqual(
      await gateway.reload({
        yaml: `plugins: { all: { to: "${other.target}" } }`,
        declarations: { all: { module, isolation: "worker", permissions: {} } },
      }),
      [],
    );
    await until(() => plane?.up, { what: "the data plane to be back" });
    await until(async () => await sayHello(gateway.port()).catch(() => "") === ECHOED, {
      what: "the plugin to be asked",
    });
    assert.ok(other.accepted > 0 && echo.accepted === 0, "by the new config");
  },
});

Deno.test({
  name: "a reload that comes while a data plane is being started anew is not lost on it",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using other = startEcho();
    const options = (to: string) => ({
      yaml: `plugins: { slow: { to: "${to}", start: "is slow", trouble: "throws in a timer" } }`,
      declarations: { slow: { module, isolation: "inline", permissions: {} } } as const,
      times: { firstBackoffMs: 1 },
    });
    await using gateway = await TestGateway.start(options(echo.target));
    const next = await prepareYaml(options(other.target));
    const [plane] = gateway.supervisor.planes;
    await bringTrouble(gateway);
    const starts = () => gateway.events.filter(({ event }) => event === "starting_slowly").length;
    await until(() => starts() === 2, { what: "the restart to be under way" });
    await gateway.supervisor.reload(next);
    assert.equal(plane?.up, false, "the reload came between");
    await until(() => plane.up, { what: "the data plane to be back" });
    await until(async () => await sayHello(gateway.port()).catch(() => "") === ECHOED, { what: "the port" });
    assert.deepEqual([echo.accepted, other.accepted], [0, 1]);
  },
});

Deno.test({
  name: "an admin side that dies is started anew; connections do not notice",
  ignore,
  async fn() {
    await using echo = startEcho();
    const workers = captureWorkers();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { static: { routes: [{ protocol: ssh, to: "${echo.target}" }] } }`,
      times: { pingMs: 100, firstBackoffMs: 50 },
    }).finally(() => workers.restore());
    using relayed = await (await SshLikeClient.connect(gateway.port())).greeted();
    workers.kill("admin");
    await until(() => !gateway.supervisor.adminUp, { what: "the admin side to be missed" });
    assert.equal(await sayHello(gateway.port()), ECHOED);
    await until(() => gateway.supervisor.adminUp, { what: "the admin side to be back" });
    const ready = await fetch(`${gateway.adminUrl}/readyz`);
    assert.deepEqual([ready.status, (await ready.text()).length > 0], [200, true]);
    await relayed.echo("all the same to me");
  },
});

/** Whether the connection ends, by FIN or RST, without another byte. */
async function isClosed(conn: Deno.TcpConn): Promise<boolean> {
  try {
    return (await readToEnd(conn)).length === 0;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return true;
    throw error;
  }
}
