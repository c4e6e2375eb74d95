/** One absolute deadline from accept to "relaying": a single byte never starts it anew. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import {
  bytes,
  GSSENC_REQUEST,
  HELLO,
  helloMessage,
  inRecords,
  LARGE_HELLO,
  PROXY_V1,
  proxyV2,
  SSL_REQUEST,
  startup,
  V2_IPV4_BLOCK,
} from "../core/data_plane/preface/samples.ts";
import { readToEnd, serveTcp, startEcho, startSilent } from "../support/echo.ts";
import type { TestPlane } from "../support/plane.ts";
import { freePort } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { isHangUp } from "../support/wire.ts";
import { certificateFor, staticPlane } from "./static_plane.ts";

const TIMEOUT_MS = 250;
const DRIP_MS = 20;
/** How late a deadline may be on a busy machine. A byte that re-armed it would make it later than this. */
const LATE_MS = 250;

const NOTHING = new Uint8Array();
const V2 = proxyV2(0x21, 0x11, V2_IPV4_BLOCK);

/** Where a connection can stand when its client sends a byte now and then: what comes first, and what drips. */
const states: readonly { name: string; first: Uint8Array; drips: Uint8Array }[] = [
  { name: "nothing at all", first: NOTHING, drips: NOTHING },
  { name: "a PROXY v1 line", first: NOTHING, drips: bytes("PROXY UNKNOWN ", "x".repeat(90)) },
  {
    name: "a PROXY v2 header",
    first: NOTHING,
    drips: proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, new Uint8Array(90))),
  },
  { name: "silence behind a PROXY header", first: PROXY_V1, drips: NOTHING },
  { name: "a ClientHello", first: NOTHING, drips: LARGE_HELLO },
  { name: "a ClientHello, a byte a record", first: NOTHING, drips: inRecords(helloMessage(), 1) },
  { name: "a ClientHello behind a PROXY header", first: V2, drips: LARGE_HELLO },
  { name: "silence behind an SSLRequest", first: SSL_REQUEST, drips: NOTHING },
  { name: "a ClientHello behind an SSLRequest", first: SSL_REQUEST, drips: LARGE_HELLO },
  { name: "a StartupMessage", first: NOTHING, drips: startup(`user\0${"x".repeat(200)}\0`) },
  {
    name: "a StartupMessage behind a GSSENCRequest",
    first: GSSENC_REQUEST,
    drips: startup(`user\0${"x".repeat(200)}\0`),
  },
];

for (const { name, first, drips } of states) {
  Deno.test(`a client that drips ${name} is closed in time`, async () => {
    await using gateway = await staticPlane([{ protocol: "other", to: "127.0.0.1:1" }], {
      limits: { prefaceTimeoutMs: TIMEOUT_MS },
      proxyFrom: ["127.0.0.1/32"],
    });
    const client = await gateway.connect();
    const begin = performance.now();
    await writeAll(client, first);
    if (first === SSL_REQUEST || first === GSSENC_REQUEST) await client.read(new Uint8Array(1));
    const dripping = drip(client, drips);
    await readUntilClosed(client);
    assertInTime(begin, TIMEOUT_MS);
    closeQuietly(client);
    await dripping;
    assert.equal(gateway.counted("rejected_total", { reason: "preface_timeout" }), 1);
    assert.equal(gateway.plane.size, 0);
  });
}

Deno.test("a client that drips its part of a handshake is closed in time, and reaches nothing", async () => {
  await using echo = startEcho();
  const { authority, material } = await certificateFor("app.example.com");
  await using gateway = await staticPlane([{ sni: "app.example.com", terminate: true, to: echo.target }], {
    limits: { prefaceTimeoutMs: TIMEOUT_MS },
    certificates: [material],
  });
  const drippings: Promise<void>[] = [];
  await using shim = serveTcp(async (fromClient) => {
    const toGateway = await gateway.connect();
    const hello = new Uint8Array(4096);
    const length = await fromClient.read(hello) ?? 0;
    await writeAll(toGateway, hello.subarray(0, length));
    drippings.push(drip(toGateway, fromClient));
    for (let n; (n = await toGateway.read(hello).catch(() => null)) !== null;) {
      await writeAll(fromClient, hello.subarray(0, n));
    }
    closeQuietly(toGateway);
  });
  const begin = performance.now();
  const tcp = await Deno.connect(shim.address);
  const tls = await Deno.startTls(tcp, { hostname: "app.example.com", caCerts: [authority.certificate] });
  // A client of TLS 1.3 is done once it has sent its Finished; that this drips, it can't know.
  await tls.handshake().then(() => readUntilClosed(tls), () => {});
  assertInTime(begin, TIMEOUT_MS);
  closeQuietly(tls);
  await Promise.all(drippings);
  assert.equal(gateway.counted("rejected_total", { reason: "handshake_timeout" }), 1);
  assert.equal(echo.accepted, 0);
});

for (const where of ["before", "within"] as const) {
  Deno.test(`a client that is refused ${where} its TLS and drips on is closed after a second`, async () => {
    const { authority, material } = await certificateFor("app.example.com");
    await using gateway = await staticPlane([
      { sni: "app.example.com", terminate: true, to: `127.0.0.1:${freePort()}` },
    ], { certificates: [material] });
    const tcp = await gateway.connect();
    const client = where === "before"
      ? tcp
      : await Deno.startTls(tcp, { hostname: "app.example.com", caCerts: [authority.certificate] });
    if (where === "before") await writeAll(client, bytes("what is this"));
    const begin = performance.now();
    const dripping = drip(client, bytes("GGGGGGG ", "x".repeat(500)));
    const reason = where === "before" ? "no_route" : "connect_failed";
    await until(() => gateway.counted("rejected_total", { reason }) === 1, { what: "the refusal" });
    await until(() => gateway.plane.size === 0, { what: "the end" });
    assertInTime(begin, 1000);
    closeQuietly(client);
    await dripping;
  });
}

Deno.test("an upstream that never answers an SSLRequest is given up in time", async () => {
  await using silent = startSilent();
  await using gateway = await staticPlane([{
    sni: "db.example.com",
    protocol: "postgres",
    to: silent.target,
  }], {
    limits: { connectTimeoutMs: TIMEOUT_MS },
  });
  const client = await gateway.connect();
  const begin = performance.now();
  await writeAll(client, SSL_REQUEST);
  await client.read(new Uint8Array(1));
  await writeAll(client, HELLO);
  await readUntilClosed(client);
  assertInTime(begin, TIMEOUT_MS);
  closeQuietly(client);
  assert.equal(gateway.counted("rejected_total", { reason: "connect_timeout" }), 1);
});

const SILENT = 5000;

Deno.test(`${SILENT} silent clients don't delay a good one, and cost little`, async () => {
  await using echo = startEcho();
  await using gateway = await staticPlane([{ protocol: "ssh", to: echo.target }], {
    limits: { maxConnections: SILENT + 10, prefaceTimeoutMs: 30_000 },
  });
  await visit(gateway);
  const alone = await slowest(gateway);
  const before = memoryInUse();
  const silent = await Promise.all(Array.from({ length: SILENT }, () => gateway.connect()));
  // Half of them have begun something, which must not cost what it announces.
  await Promise.all(silent.map((one, i) => i % 2 ? writeAll(one, LARGE_HELLO.subarray(0, 9)) : undefined));
  await until(() => gateway.plane.size === SILENT, { what: "all to be accepted" });
  const beside = await slowest(gateway);
  const each = (memoryInUse() - before) / SILENT;
  silent.forEach(closeQuietly);
  assert.ok(
    beside < Math.max(10 * alone, 100),
    `${beside} ms beside ${SILENT} silent ones, ${alone} ms alone`,
  );
  assert.ok(each < 20 * 1024, `${each} bytes of memory each, both ends counted`);
  await until(() => gateway.plane.size === 0, { what: "all to be gone" });
});

/** What is on the heap, and the buffers beside it: also those that were asked for and never written to. */
function memoryInUse(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** The slowest of twenty visits, in milliseconds. */
async function slowest(gateway: TestPlane): Promise<number> {
  let worst = 0;
  for (let i = 0; i < 20; i++) worst = Math.max(worst, await visit(gateway));
  return worst;
}

/** Connects, gets an echo, leaves. @returns How long that took, in milliseconds. */
async function visit(gateway: TestPlane): Promise<number> {
  const begin = performance.now();
  using client = await gateway.connect();
  await writeAll(client, bytes("SSH-2.0-x"));
  await client.closeWrite();
  assert.equal((await readToEnd(client)).length, 9);
  return performance.now() - begin;
}

/** Sends a byte every {@link DRIP_MS}, until there is none left or the other side is gone. */
async function drip(
  to: { write(data: Uint8Array): Promise<number> },
  from: Uint8Array | { read(into: Uint8Array): Promise<number | null> },
): Promise<void> {
  const buffer = new Uint8Array(1);
  let at = 0;
  const next = async () =>
    from instanceof Uint8Array ? from.subarray(at, ++at) : buffer.subarray(0, await from.read(buffer) ?? 0);
  try {
    for (let byte; (byte = await next()).length > 0;) {
      await to.write(byte);
      await new Promise((resolve) => setTimeout(resolve, DRIP_MS));
    }
  } catch {
    // Closed: that is what the test is about.
  }
}

async function readUntilClosed(from: { read(into: Uint8Array): Promise<number | null> }): Promise<void> {
  try {
    await readToEnd(from);
  } catch (error) {
    if (!isHangUp(error) && !(error instanceof Deno.errors.UnexpectedEof)) throw error;
  }
}

function assertInTime(begin: number, timeoutMs: number): void {
  const took = performance.now() - begin;
  assert.ok(took > timeoutMs - 50, `closed after ${took} ms, before its time of ${timeoutMs} ms`);
  assert.ok(took < timeoutMs + LATE_MS, `closed after ${took} ms instead of ${timeoutMs} ms`);
}
