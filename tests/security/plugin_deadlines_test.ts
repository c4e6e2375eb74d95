/** One absolute deadline also where a plugin has its say: a single byte never starts it anew. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { createLog, type LogEvent } from "../../core/log.ts";
import { cloudflaredConfig } from "../../plugins/cloudflared/config.ts";
import { CloudflaredPlugin } from "../../plugins/cloudflared/plugin.ts";
import { type Child, systemTools, type Tools } from "../../plugins/cloudflared/tools.ts";
import {
  bytes,
  helloMessage,
  inRecords,
  serverName,
  SSL_REQUEST,
} from "../core/data_plane/preface/samples.ts";
import { readToEnd, serveTcp, startEcho, startSilent, type TestServer } from "../support/echo.ts";
import type { PemPair } from "../support/openssl.ts";
import { TestPlane, type TestPlaneOptions } from "../support/plane.ts";
import { until } from "../support/until.ts";
import { alertIn, type Connectable, isHangUp } from "../support/wire.ts";
import { dialTls, MtlsPlane } from "./mtls_plane.ts";

const TIMEOUT_MS = 300;
const DRIP_MS = 20;
/** How late a deadline may be on a busy machine. A byte that re-armed it would make it later than this. */
const LATE_MS = 250;

/** Sends a byte every {@link DRIP_MS}, until there is none left or the other side is gone. */
async function drip(to: { write(data: Uint8Array): Promise<unknown> }, data: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < data.length; at++) {
      await to.write(data.subarray(at, at + 1));
      await new Promise((resolve) => setTimeout(resolve, DRIP_MS));
    }
  } catch {
    // Closed: that is what the tests are about.
  }
}

/** Hands everything on to the gateway, and what comes behind the first flight of the client a byte at a time. */
function dripping(gateway: Connectable): TestServer {
  return serveTcp(async (client) => {
    const toGateway = await gateway.connect();
    toGateway.setNoDelay();
    const back = toGateway.readable.pipeTo(client.writable, { preventCancel: true }).catch(() => {});
    const buffer = new Uint8Array(65_536);
    let flights = 0;
    try {
      for (let n; (n = await client.read(buffer)) !== null; flights++) {
        if (flights === 0) await writeAll(toGateway, buffer.subarray(0, n));
        else await drip(toGateway, buffer.slice(0, n));
      }
    } catch {
      // The gateway has closed.
    }
    closeQuietly(toGateway);
    await back;
  });
}

/** Resolves when the connection is over, however it ends. */
async function ended(from: { read(into: Uint8Array): Promise<number | null> }): Promise<Uint8Array> {
  try {
    return await readToEnd(from);
  } catch (error) {
    if (!isHangUp(error) && !(error instanceof Deno.errors.UnexpectedEof)) throw error;
    return new Uint8Array();
  }
}

function assertInTime(begin: number, timeoutMs: number): void {
  const took = performance.now() - begin;
  assert.ok(took > timeoutMs - 50, `closed after ${took} ms, before its time of ${timeoutMs} ms`);
  assert.ok(took < timeoutMs + LATE_MS, `closed after ${took} ms instead of ${timeoutMs} ms`);
}

/** A client that goes on saying something once its handshake is done. Resolves when it is over. */
async function talk(
  { serverCa }: MtlsPlane,
  port: number,
  certificate: PemPair | undefined,
  version: "TLSv1.2" | "TLSv1.3" = "TLSv1.3",
): Promise<void> {
  const socket = dialTls({ ca: serverCa, port, certificate, version });
  let timer: ReturnType<typeof setInterval> | undefined;
  socket.on("secureConnect", () => timer = setInterval(() => socket.write("x"), DRIP_MS));
  socket.on("error", () => {});
  socket.resume();
  await new Promise<void>((resolve) => socket.on("close", () => resolve()));
  clearInterval(timer);
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  Deno.test(`a client that drips the handshake with its certificate is closed in time, ${version}`, async () => {
    await using host = startEcho();
    await using gateway = await MtlsPlane.start({
      to: host.target,
      limits: { prefaceTimeoutMs: TIMEOUT_MS },
    });
    await using between = dripping(gateway);
    const begin = performance.now();
    await talk(gateway, between.address.port, await gateway.issue("alice"), version);
    await until(() => gateway.plane.plane.size === 0, { what: "the end" });
    assertInTime(begin, TIMEOUT_MS);
    assert.equal(gateway.plane.counted("rejected_total", { reason: "handshake_timeout" }), 1);
    assert.equal(host.accepted, 0);
    assert.equal(gateway.database.queries, 0);
  });
}

Deno.test("a client that drips on while the database is asked is closed in time", async () => {
  await using host = startEcho();
  await using gateway = await MtlsPlane.start({ to: host.target, traits: { routeTimeoutMs: TIMEOUT_MS } });
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.database.gate = promise;
  const visiting = talk(gateway, gateway.port, await gateway.issue("alice"));
  await until(() => gateway.database.queries === 1, { what: "the question" });
  const begin = performance.now();
  await visiting;
  assertInTime(begin, TIMEOUT_MS);
  assert.equal(gateway.plane.counted("rejected_total", { reason: "timeout" }), 1);
  await until(() => gateway.plane.plane.size === 0, { what: "the end" });
  resolve(); // too late
  await until(() => gateway.lines().length === 1, { what: "the audit line" });
  assert.equal(gateway.lines()[0]?.["allowed"], false);
  assert.equal(host.accepted, 0);
});

/** Application data that announces more than ever comes. */
const ENDLESS_RECORD = bytes(23, 3, 3, 0x40, 0, new Uint8Array(500));

const STEP_MS = 600;
/** Just in time for each step by itself. */
const SLOW_MS = STEP_MS - 50;

Deno.test("hello, handshake, database and dial each just in time: together they have one time", async () => {
  await using silent = startSilent();
  await using gateway = await MtlsPlane.start({
    to: silent.target,
    section: { targetTls: { serverName: "db.internal" } }, // of which the target says nothing
    limits: { prefaceTimeoutMs: STEP_MS, connectTimeoutMs: STEP_MS },
    traits: { routeTimeoutMs: STEP_MS },
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.database.gate = promise;
  await using between = serveTcp(async (client) => {
    const toGateway = await gateway.connect();
    const back = toGateway.readable.pipeTo(client.writable, { preventCancel: true }).catch(() => {});
    const buffer = new Uint8Array(65_536);
    for (let n, flight = 0; (n = await client.read(buffer).catch(() => null)) !== null; flight++) {
      if (flight < 2) await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
      await writeAll(toGateway, buffer.subarray(0, n)).catch(() => {});
    }
    closeQuietly(toGateway);
    await back;
  });
  const slow = async () => {
    await until(() => gateway.database.queries === 1, { what: "the question" });
    await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
    resolve();
  };
  const begin = performance.now();
  await Promise.all([slow(), talk(gateway, between.address.port, await gateway.issue("alice"))]);
  await until(() => gateway.plane.plane.size === 0, { what: "the end" });
  assertInTime(begin, 3 * STEP_MS);
  assert.equal(silent.accepted, 1, "every step but the last came to its end");
});

Deno.test("who is refused within TLS 1.3 for its certificate and drips on is closed after a second", async () => {
  await using host = startEcho();
  await using gateway = await MtlsPlane.start({ to: host.target });
  const nobody = await gateway.issue("alice", { uris: [] });
  const drippings: Promise<void>[] = [];
  await using between = serveTcp(async (client) => {
    const toGateway = await gateway.connect();
    const back = toGateway.readable.pipeTo(client.writable, { preventCancel: true }).catch(() => {});
    const buffer = new Uint8Array(65_536);
    for (let n, flight = 0; flight < 2 && (n = await client.read(buffer)) !== null; flight++) {
      await writeAll(toGateway, buffer.subarray(0, n));
    }
    drippings.push(drip(toGateway, ENDLESS_RECORD));
    await back;
    await drippings.at(-1);
    closeQuietly(toGateway);
  });
  const begin = performance.now();
  const talking = talk(gateway, between.address.port, nobody);
  await until(() => gateway.lines().length === 1, { what: "the refusal" });
  await talking;
  await Promise.all(drippings);
  await until(() => gateway.plane.plane.size === 0, { what: "the end" });
  assertInTime(begin, 1000);
  assert.equal(gateway.lines()[0]?.["reason"], "no_spiffe_id");
  assert.equal(host.accepted, 0);
});

const TUNNEL_HELLO = inRecords(helloMessage({ extensions: [serverName("db.example.com")] }));

interface Tunnelled extends AsyncDisposable {
  readonly gateway: TestPlane;
  readonly events: readonly LogEvent[];
  /** Starts so far. */
  readonly starts: number;
}

/** The real `cloudflared` plugin, whose program is none: it says these lines and then nothing, until it is killed. */
function tunnelled(says: string, options: TestPlaneOptions, startupTimeout: string): Tunnelled {
  const events: LogEvent[] = [];
  let starts = 0;
  const spawn = (): Child => {
    starts++;
    const { promise: status, resolve } = Promise.withResolvers<{ code: number; signal: string | null }>();
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const output = (text: string) =>
      new ReadableStream<Uint8Array>({
        async start(controller) {
          controller.enqueue(bytes(text));
          await over;
          controller.close();
        },
      });
    const kill = () => {
      end();
      resolve({ code: 143, signal: "SIGTERM" });
    };
    return { pid: 1, stdout: output(""), stderr: output(says), status, kill };
  };
  const config = cloudflaredConfig.parse({ names: ["*.example.com"], startupTimeout });
  const log = createLog("test", "debug", (event) => events.push(event));
  const tools: Tools = {
    ...systemTools(),
    spawn,
    mayRun: () => true,
    isFree: () => true,
    answers: () => Promise.resolve(false),
  };
  const plugin = new CloudflaredPlugin(config, log, tools);
  const gateway = new TestPlane({ ...options, plugins: [plugin] });
  return {
    gateway,
    events,
    get starts() {
      return starts;
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await plugin[Symbol.asyncDispose]();
    },
  };
}

for (const first of [bytes(), SSL_REQUEST]) {
  const where = first.length === 0 ? "" : " behind an SSLRequest";
  Deno.test(`a client${where} that drips on while its tunnel starts is refused when that takes too long`, async () => {
    await using tunnel = tunnelled("", { traits: { routeTimeoutMs: 5000 } }, `${TIMEOUT_MS}ms`);
    const client = await tunnel.gateway.connect();
    await writeAll(client, first);
    if (first.length > 0) await client.read(new Uint8Array(1));
    const begin = performance.now();
    await writeAll(client, TUNNEL_HELLO);
    const dripping = drip(client, new Uint8Array(500));
    assert.equal(alertIn(await ended(client)), 80);
    assertInTime(begin, TIMEOUT_MS);
    closeQuietly(client);
    await dripping;
    await until(() => tunnel.gateway.plane.size === 0, { what: "the end" });
    assert.equal(tunnel.gateway.counted("rejected_total", { reason: "unavailable" }), 1);
    const failed = tunnel.events.find(({ event }) => event === "cloudflared_failed");
    assert.equal(failed?.fields["cause"], "startup_timeout");
  });
}

Deno.test("a tunnel that takes longer than the gateway waits costs its client no more than that", async () => {
  await using tunnel = tunnelled("", { traits: { routeTimeoutMs: TIMEOUT_MS } }, "60s");
  const client = await tunnel.gateway.connect();
  const begin = performance.now();
  await writeAll(client, TUNNEL_HELLO);
  const dripping = drip(client, new Uint8Array(500));
  assert.equal(alertIn(await ended(client)), 80);
  assertInTime(begin, TIMEOUT_MS);
  closeQuietly(client);
  await dripping;
  assert.equal(tunnel.gateway.counted("rejected_total", { reason: "timeout" }), 1);
});

Deno.test("a client that drips on while a program says that it listens and does not is refused in time", async () => {
  const says = "2026-08-20T10:54:27Z INF Start Websocket listener host=localhost:45000\n";
  const limits = { connectTimeoutMs: TIMEOUT_MS };
  await using tunnel = tunnelled(says, { limits }, "5s");
  const client = await tunnel.gateway.connect();
  const begin = performance.now();
  await writeAll(client, TUNNEL_HELLO);
  const dripping = drip(client, new Uint8Array(500));
  assert.equal(alertIn(await ended(client)), 80);
  const took = performance.now() - begin;
  assert.ok(took < TIMEOUT_MS + LATE_MS, `closed after ${took} ms`);
  assert.equal(tunnel.starts, 1);
  closeQuietly(client);
  await dripping;
});
