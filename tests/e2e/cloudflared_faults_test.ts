import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import {
  type Behaviour,
  freeRange,
  hasStandIn,
  installStandIn,
  type StandIn,
} from "../support/cloudflared.ts";
import { prepareYaml, TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { until } from "../support/until.ts";
import { alertIn } from "../support/wire.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { can } from "./can.ts";
import { metric, untilMetric } from "./metrics.ts";

const ignore = !(can() && hasStandIn());
const NAME = "db.example.com";
const INTERNAL_ERROR = 80;

interface Setup extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly standIn: StandIn;
  /** The config, with more keys in the plugin's section than it was started with. */
  yaml(more: string): string;
}

/** A gateway whose cloudflared is the stand-in. Its disposal checks that no process is left. */
async function setUp(
  behaviour: Behaviour = {},
  { more = "", ...options }: Omit<Partial<TestGatewayOptions>, "yaml"> & { more?: string } = {},
): Promise<Setup> {
  const standIn = await installStandIn(behaviour);
  const ports = freeRange();
  const yaml = (more: string) =>
    `plugins: { cloudflared: { command: "${standIn.path}", names: ["*.example.com"], ${
      more.includes("ports:") ? "" : `ports: ${ports},`
    } ${more} } }`;
  const gateway = await TestGateway.start({ ...options, yaml: yaml(more) });
  return {
    gateway,
    standIn,
    yaml,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      assert.deepEqual(standIn.alive, [], "processes were left behind");
      await standIn[Symbol.asyncDispose]();
    },
  };
}

function helloFor(name: string): Uint8Array {
  return inRecords(helloMessage({ extensions: [serverName(name)] }));
}

/** A client that has sent its ClientHello. */
async function send(gateway: TestGateway, name: string): Promise<Deno.TcpConn> {
  const client = await gateway.connect();
  await writeAll(client, helloFor(name));
  return client;
}

/** What comes until the end, however that comes. */
async function readRest(conn: Deno.TcpConn): Promise<Uint8Array> {
  const parts: number[] = [];
  const buffer = new Uint8Array(4096);
  try {
    for (let n; (n = await conn.read(buffer)) !== null;) parts.push(...buffer.subarray(0, n));
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return Uint8Array.from(parts);
}

/** A connection through the tunnel of `name` that has got back what it sent, and goes on. */
async function open(gateway: TestGateway, name: string): Promise<Deno.TcpConn> {
  const client = await send(gateway, name);
  assert.ok(await readsBack(client, helloFor(name)), `${name} does not answer`);
  return client;
}

/**
 * Crashes the plugin's worker: by a config that no check would let through, and a start that fails.
 *
 * @returns The client that asked for it.
 */
async function crashWorker({ gateway, standIn, yaml }: Setup): Promise<Deno.TcpConn> {
  const { plugins: [plugin] } = await prepareYaml({ yaml: yaml("") });
  const broken = { ...plugin?.config as Record<string, unknown>, restart: null };
  standIn.behave({ exit: 1 }, "cft-crash.example.com");
  await gateway.supervisor.pluginUnits.get("cloudflared")?.worker.rpc?.call("reload", broken, {});
  return await send(gateway, "crash.example.com");
}

/** Whether just these bytes come, before any end. */
async function readsBack(conn: Deno.TcpConn, expected: Uint8Array): Promise<boolean> {
  const back = new Uint8Array(expected.length);
  try {
    for (let at = 0; at < back.length;) {
      const n = await conn.read(back.subarray(at));
      if (n === null) return false;
      at += n;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    return false;
  }
  return back.every((byte, i) => byte === expected[i]);
}

interface Traffic {
  /** How many clients were answered and how many not, so far. */
  readonly counts: { readonly served: number; readonly failed: number };
  stop(): Promise<void>;
}

/** Four clients at a time that come one after another until they are stopped. */
function traffic(gateway: TestGateway, name: string): Traffic {
  const counts = { served: 0, failed: 0 };
  let stopped = false;
  const running = Promise.all(Array.from({ length: 4 }, async () => {
    while (!stopped) {
      const client = await send(gateway, name);
      if (await readsBack(client, helloFor(name))) counts.served++;
      else counts.failed++;
      closeQuietly(client);
    }
  }));
  return {
    counts,
    async stop() {
      stopped = true;
      await running;
    },
  };
}

Deno.test({
  name:
    "cloudflared: a crash of its worker ends its connections and processes; new ones start afresh, counted right",
  ignore,
  async fn() {
    await using setup = await setUp();
    const { gateway, standIn } = setup;
    const clients = await Promise.all([NAME, NAME, "other.example.com"].map((name) => open(gateway, name)));
    const before = standIn.alive;
    assert.equal(before.length, 2);
    const crashing = await crashWorker(setup);
    await Promise.all([crashing, ...clients].map(async (client) => {
      await readRest(client);
      closeQuietly(client);
    }));
    await gateway.logged("worker_restarted");
    await until(() => before.every((pid) => !standIn.alive.includes(pid)), {
      what: "the old processes to end",
    });

    const starts = standIn.starts.length;
    const [one, two] = [await open(gateway, NAME), await open(gateway, NAME)];
    assert.equal(standIn.starts.length, starts + 1);
    await untilMetric(gateway, 2, "cloudflared_references");
    closeQuietly(one);
    await untilMetric(gateway, 1, "cloudflared_references");
    closeQuietly(two);
    await untilMetric(gateway, 0, "cloudflared_references");
    await untilMetric(gateway, 0, "connections_active");
    assert.equal(await metric(gateway, "cloudflared_failures_total"), 0, "old ends harm no new tunnel");
  },
});

Deno.test({
  name:
    "cloudflared: a program that is killed under traffic is started again, and everybody gets through then",
  ignore,
  async fn() {
    await using setup = await setUp({}, { more: "restart: { backoff: 50ms, max: 3 }" });
    const { gateway, standIn } = setup;
    const held = await open(gateway, NAME);
    const clients = traffic(gateway, NAME);
    for (let kills = 1; kills <= 3; kills++) {
      Deno.kill(standIn.alive[0] ?? assert.fail("none runs"), "SIGKILL");
      await until(() => standIn.starts.length === kills + 1, { what: `start ${kills + 1}` });
      const { served } = clients.counts;
      await until(() => clients.counts.served >= served + 10, { what: "ten clients to get through" });
    }
    await clients.stop();
    const { failed } = clients.counts;
    assert.ok(failed <= 3 * 4 * 2, `${failed} failed, of 4 at a time, with 3 kills`);
    assert.equal((await readRest(held)).length, 0, "a connection ends with the process that carried it");
    closeQuietly(held);
    const causes = new Set(
      gateway.events.filter(({ event }) => event === "cloudflared_failed").map((one) => one["cause"]),
    );
    assert.deepEqual([...causes], ["exited"]);
  },
});

Deno.test({
  name: "cloudflared: a program that does not come up again is given up; the next connection tries anew",
  ignore,
  async fn() {
    await using setup = await setUp({}, { more: "restart: { backoff: 20ms, max: 2 }" });
    const { gateway, standIn } = setup;
    const held = await open(gateway, NAME);
    standIn.behave({ exit: 3, startMs: 100, say: ["something broke"] });
    Deno.kill(standIn.alive[0] ?? assert.fail("none runs"), "SIGKILL");
    await readRest(held);
    await gateway.logged("cloudflared_failed");
    const waiting = await send(gateway, NAME);
    assert.equal(alertIn(await readRest(waiting)), INTERNAL_ERROR, "who waited is told");
    closeQuietly(waiting);
    closeQuietly(held);
    await gateway.logged("cloudflared_gave_up");
    const refused = await gateway.logged("connection_refused");
    assert.match(JSON.stringify(refused), /something broke/);
    standIn.behave({});
    closeQuietly(await open(gateway, NAME));
  },
});

Deno.test({
  name: "cloudflared: a reload under traffic keeps open connections, and new ones go by the new config",
  ignore,
  async fn() {
    await using setup = await setUp();
    const { gateway, standIn } = setup;
    const held = await open(gateway, NAME);
    const clients = traffic(gateway, NAME);
    const changes: readonly [more: string, hostname: string, token: string | undefined][] = [
      [`hostname: "new-{sni}"`, "new-db.example.com", undefined],
      [`hostname: "new-{sni}", serviceToken: { id: a, secret: b }`, "new-db.example.com", "a"],
      [`ports: ${freeRange()}`, "cft-db.example.com", undefined],
    ];
    for (const [more, hostname, token] of changes) {
      const starts = standIn.starts.length;
      await gateway.reload({ yaml: setup.yaml(more) });
      closeQuietly(await open(gateway, NAME));
      const last = await until(() => standIn.starts[starts], { what: "a start by the new config" });
      assert.deepEqual([last.hostname, last.env["TUNNEL_SERVICE_TOKEN_ID"]], [hostname, token]);
    }
    await until(() => clients.counts.served > 0, { what: "a client to get through" });
    await clients.stop();
    const { served, failed } = clients.counts;
    const told = gateway.events.filter(({ level, result }) => level !== "info" || (result ?? "ok") !== "ok");
    assert.equal(failed, 0, `${failed} failed, ${served} served: ${JSON.stringify(told)}`);
    const sent = new TextEncoder().encode("still there");
    await writeAll(held, sent);
    const back = new Uint8Array(100);
    assert.equal(await held.read(back), sent.length);
    closeQuietly(held);
    await until(() => standIn.alive.length === 1, { what: "the processes of old configs to end" });
  },
});

Deno.test({
  name: "cloudflared: another command needs a restart, and until then the old one serves",
  ignore,
  async fn() {
    await using setup = await setUp();
    const { gateway } = setup;
    const yaml = setup.yaml("").replace(/command: "[^"]*"/, `command: "/bin/false"`);
    const needed = await gateway.reload({ yaml });
    assert.match(needed.join(), /cloudflared/);
    closeQuietly(await open(gateway, NAME));
  },
});

Deno.test({
  name: "cloudflared: strangers with endless names get no more processes than there are ports",
  ignore,
  async fn() {
    const line = `2026-08-20T10:54:27Z ERR failed to connect to origin error="dial tcp: no such host"`;
    await using setup = await setUp({ drop: true, take: true, each: [line] }, {
      more: `ports: ${freeRange(5)}`,
    });
    const { gateway, standIn } = setup;
    let most = 0;
    for (let round = 0; round < 6; round++) {
      await Promise.all(Array.from({ length: 5 }, async (_, i) => {
        const client = await send(gateway, `made-up-${round}-${i}.example.com`);
        assert.equal(alertIn(await readRest(client)), INTERNAL_ERROR);
        closeQuietly(client);
      }));
      most = Math.max(most, standIn.alive.length);
    }
    assert.ok(most <= 5, `${most} processes at a time`);
    await untilMetric(gateway, 0, "cloudflared_references");
  },
});

Deno.test({
  name: "cloudflared: who waits for a program that hangs can leave, and leaves nothing behind",
  ignore,
  async fn() {
    await using setup = await setUp({ neverListen: true }, { more: "startupTimeout: 1s" });
    const { gateway, standIn } = setup;
    const clients = await Promise.all(Array.from({ length: 100 }, () => send(gateway, NAME)));
    await until(() => standIn.starts.length === 1, { what: "a start" });
    clients.slice(1).forEach(closeQuietly);
    await untilMetric(gateway, 1, "connections_active");
    const [last] = clients;
    assert.equal(alertIn(await readRest(last ?? assert.fail())), INTERNAL_ERROR);
    closeQuietly(last);
    const failed = await gateway.logged("cloudflared_failed");
    assert.equal(failed["cause"], "startup_timeout");
    await until(() => standIn.alive.length === 0, { what: "the process to end" });
    assert.equal(standIn.starts.length, 1);
  },
});
