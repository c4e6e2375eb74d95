/** Nothing is buffered across the TLS boundary of PostgreSQL where the gateway ends TLS itself: on neither leg. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { bytes, SSL_REQUEST, STARTUP } from "../core/data_plane/preface/samples.ts";
import { readToEnd, serveTcp, startEcho, type TestServer } from "../support/echo.ts";
import { exchange, postgresError } from "../support/wire.ts";
import { dialTls, MtlsPlane } from "./mtls_plane.ts";

/** Asks the gateway for TLS as psql does, then hands on everything, the first flight with `more` behind it. */
function asPsql(gateway: MtlsPlane, more: Uint8Array = bytes()): TestServer {
  return serveTcp(async (client) => {
    const toGateway = await gateway.connect();
    await writeAll(toGateway, SSL_REQUEST);
    const answer = new Uint8Array(1);
    await toGateway.read(answer);
    assert.equal(answer[0], "S".charCodeAt(0));
    const back = toGateway.readable.pipeTo(client.writable).catch(() => {});
    const buffer = new Uint8Array(65_536);
    try {
      for (let n, first = true; (n = await client.read(buffer)) !== null; first = false) {
        await writeAll(toGateway, bytes(buffer.subarray(0, n), first ? more : bytes()));
      }
    } catch {
      // One of the two is gone.
    }
    closeQuietly(toGateway);
    await back;
  });
}

/** A client with a certificate that sends `message` within its TLS: what comes back, or why nothing does. */
async function session(
  gateway: MtlsPlane,
  way: TestServer,
  message: Uint8Array,
): Promise<Uint8Array | string> {
  const certificate = await gateway.issue("alice");
  const socket = dialTls({ ca: gateway.serverCa, port: way.address.port, certificate });
  const received: Uint8Array[] = [];
  let fault: string | undefined;
  socket.once("secureConnect", () => socket.write(message));
  socket.on("data", (data: Uint8Array) => received.push(Uint8Array.from(data)));
  socket.on("error", ({ message }: Error) => fault ??= message);
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return received.length === 0 && fault !== undefined ? fault : bytes(...received);
}

for (const [what, behind] of [["a StartupMessage", STARTUP], ["one byte", bytes(0)]] as const) {
  Deno.test(`${what} behind an SSLRequest, in its segment: refused before anybody is asked for a certificate`, async () => {
    await using host = startEcho();
    await using gateway = await MtlsPlane.start({ to: host.target });
    const answer = await exchange(gateway, bytes(SSL_REQUEST, behind));
    assert.equal(postgresError(answer).C, "08P01");
    assert.equal(host.accepted, 0);
  });

  Deno.test(`${what} in plain text behind the ClientHello, in its segment, is not taken for what is in the TLS`, async () => {
    await using host = startEcho();
    await using gateway = await MtlsPlane.start({ to: host.target });
    await using way = asPsql(gateway, behind);
    const answer = await session(gateway, way, STARTUP);
    assert.equal(typeof answer, "string", "there is no session");
    assert.equal(gateway.database.queries, 0);
    assert.equal(host.accepted, 0);
  });
}

Deno.test("what a psql says in its TLS reaches the server whole, and first", async () => {
  const seen: Uint8Array[] = [];
  await using host = serveTcp(async (conn) => {
    const buffer = new Uint8Array(1000);
    seen.push(buffer.slice(0, await conn.read(buffer) ?? 0));
    await writeAll(conn, bytes("answer"));
  });
  await using gateway = await MtlsPlane.start({ to: host.target });
  await using way = asPsql(gateway);
  assert.deepEqual(await session(gateway, way, STARTUP), bytes("answer"));
  assert.deepEqual(seen, [STARTUP], "and no SSLRequest: this leg is plain");
});

const answers: readonly { name: string; answer: Uint8Array }[] = [
  { name: "S and more in one segment", answer: bytes("S", [0x52, 0, 0, 0, 8, 0, 0, 0, 0]) },
  { name: "S and one byte", answer: bytes("SS") },
  { name: "N", answer: bytes("N") },
  { name: "an error packet", answer: bytes("E", [0, 0, 0, 9], "SFATAL", 0) },
  { name: "a TLS record", answer: bytes(22, 3, 3, 0, 1, 2) },
  { name: "S, and then no TLS", answer: bytes("S") },
  { name: "nothing, and hangs up", answer: bytes() },
];

for (const { name, answer } of answers) {
  Deno.test(`a target with targetTls that answers ${name}: it gets nothing of the client's, nor the client of its`, async () => {
    const seen: Uint8Array[] = [];
    await using host = serveTcp(async (conn) => {
      const buffer = new Uint8Array(1000);
      seen.push(buffer.slice(0, await conn.read(buffer) ?? 0));
      if (answer.length === 0) return;
      await writeAll(conn, answer);
      if (answer.length === 1) {
        await conn.read(buffer); // a ClientHello, if any
        await writeAll(conn, bytes([0x52, 0, 0, 0, 8, 0, 0, 0, 0]));
      }
      seen.push(await readToEnd(conn).catch(() => bytes()));
    });
    await using gateway = await MtlsPlane.start({ to: host.target, section: { targetTls: {} } });
    await using way = asPsql(gateway);
    const told = await session(gateway, way, STARTUP);
    assert.ok(typeof told !== "string", String(told));
    assert.equal(postgresError(told).C, "08006");
    const text = new TextDecoder("latin1").decode(bytes(...seen));
    assert.ok(bytes(...seen).toHex().startsWith(SSL_REQUEST.toHex()));
    assert.ok(!text.includes("alice\0database\0shop"), "the StartupMessage stays here");
    assert.equal(gateway.plane.counted("rejected_total", { reason: "connect_failed" }), 1);
  });
}
