/** Nothing is buffered across the TLS boundary of PostgreSQL: neither behind an SSLRequest nor behind an S. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import {
  bytes,
  GSSENC_REQUEST,
  HELLO,
  PROXY_V1,
  SSL_REQUEST,
  STARTUP,
} from "../core/data_plane/preface/samples.ts";
import { readToEnd, serveTcp } from "../support/echo.ts";
import type { TestPlane } from "../support/plane.ts";
import { alertIn, exchange, postgresError } from "../support/wire.ts";
import { startRecorder, staticPlane } from "./static_plane.ts";

async function routing(to: string): Promise<TestPlane> {
  return await staticPlane([
    { sni: "db.example.com", to, protocol: "postgres" },
    { protocol: "postgres", to },
    { protocol: "tls", to },
    { protocol: "other", to },
  ], { proxyFrom: ["127.0.0.1/32"], limits: { prefaceTimeoutMs: 2000 } });
}

const stuffed: readonly { name: string; sent: Uint8Array }[] = [
  { name: "a StartupMessage behind an SSLRequest", sent: bytes(SSL_REQUEST, STARTUP) },
  { name: "one byte behind an SSLRequest", sent: bytes(SSL_REQUEST, 0) },
  { name: "a whole hello behind an SSLRequest", sent: bytes(SSL_REQUEST, HELLO) },
  { name: "another SSLRequest behind an SSLRequest", sent: bytes(SSL_REQUEST, SSL_REQUEST) },
  { name: "an SSLRequest behind a GSSENCRequest", sent: bytes(GSSENC_REQUEST, SSL_REQUEST) },
  { name: "one byte behind an SSLRequest behind a PROXY header", sent: bytes(PROXY_V1, SSL_REQUEST, 0) },
];

for (const { name, sent } of stuffed) {
  Deno.test(`${name}, in the same segment: refused before it is answered`, async () => {
    await using recorder = startRecorder();
    await using gateway = await routing(recorder.target);
    const answer = await exchange(gateway, sent);
    assert.equal(postgresError(answer).C, "08P01", "an error packet at once: no S, no N before it");
    assert.equal(gateway.counted("rejected_total", { reason: "postgres_early_bytes" }), 1);
    assert.equal(recorder.accepted, 0);
  });
}

Deno.test("bytes behind an SSLRequest in the segment that ends it: refused", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder.target);
  for (let cut = 1; cut < SSL_REQUEST.length; cut++) {
    const client = await gateway.connect();
    client.setNoDelay();
    await writeAll(client, SSL_REQUEST.subarray(0, cut));
    await new Promise((resolve) => setTimeout(resolve, 2));
    await writeAll(client, bytes(SSL_REQUEST.subarray(cut), STARTUP));
    assert.equal(postgresError(await readToEnd(client)).C, "08P01", `cut at ${cut}`);
    closeQuietly(client);
  }
  assert.equal(recorder.accepted, 0);
});

Deno.test("what comes unencrypted behind S is not taken for what is inside the TLS", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder.target);
  using client = await gateway.connect();
  await writeAll(client, SSL_REQUEST);
  await client.read(new Uint8Array(1));
  await writeAll(client, bytes(STARTUP, HELLO));
  assert.equal(alertIn(await readToEnd(client)), 50);
  assert.equal(recorder.accepted, 0);
});

const answers: readonly { name: string; answer: Uint8Array }[] = [
  { name: "S and more in one segment", answer: bytes("S", [0x52, 0, 0, 0, 8, 0, 0, 0, 0]) },
  { name: "S and one byte", answer: bytes("SS") },
  { name: "N", answer: bytes("N") },
  { name: "an error packet", answer: bytes("E", [0, 0, 0, 9], "SFATAL", 0) },
  { name: "a TLS record", answer: bytes(22, 3, 3, 0, 1, 2) },
  { name: "nothing, and hangs up", answer: bytes() },
];

for (const { name, answer } of answers) {
  Deno.test(`a service that answers ${name}: the client gets an alert and none of it, the service gets no hello`, async () => {
    const seen: Uint8Array[] = [];
    await using postgres = serveTcp(async (conn) => {
      const buffer = new Uint8Array(1000);
      seen.push(buffer.slice(0, await conn.read(buffer) ?? 0));
      if (answer.length === 0) return;
      await writeAll(conn, answer);
      seen.push(await readToEnd(conn));
    });
    await using gateway = await routing(postgres.target);
    using client = await gateway.connect();
    await writeAll(client, SSL_REQUEST);
    const first = new Uint8Array(1);
    await client.read(first);
    assert.equal(first[0], "S".charCodeAt(0));
    await writeAll(client, HELLO);
    await client.closeWrite();
    const end = await readToEnd(client);
    assert.deepEqual([end.length, alertIn(end)], [7, 80]);
    assert.equal(bytes(...seen).toHex(), SSL_REQUEST.toHex());
    assert.equal(gateway.counted("rejected_total", { reason: "connect_failed" }), 1);
  });
}
