import assert from "node:assert/strict";
import fc from "fast-check";
import { writeAll } from "../../../../core/byte_stream.ts";
import { encodeProxyV2 } from "../../../../core/data_plane/preface/proxy_protocol.ts";
import { FIRST_BUFFER_BYTES, readPreface } from "../../../../core/data_plane/preface/read_preface.ts";
import { encodeCancelRequest } from "../../../../core/data_plane/preface/postgres.ts";
import type { PrefaceResult } from "../../../../core/data_plane/preface/preface.ts";
import * as samples from "./samples.ts";
import { bytes, HELLO, LARGE_HELLO, proxyV2, tlv, V2_IPV4_BLOCK } from "./samples.ts";
import { ScriptedStream, segmentsOf } from "./scripted_stream.ts";

const MAX_BYTES = 65_536;
const S = 0x53, N = 0x4e;
const V2 = proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(2, bytes("db.example.com"))));
const HTTP = bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
const SSH = bytes("SSH-2.0-OpenSSH_9.2\r\n");

function read(
  segments: readonly Uint8Array[],
  proxy: "trusted" | "refused" = "trusted",
  maxBytes = MAX_BYTES,
): { stream: ScriptedStream; result: Promise<PrefaceResult> } {
  const stream = new ScriptedStream(segments);
  return { stream, result: readPreface(stream, { maxBytes, proxy }) };
}

interface Conversation {
  readonly name: string;
  /** What the client sends, each part only after what it waits for; cuts are made inside parts. */
  readonly parts: readonly Uint8Array[];
  readonly answers?: readonly number[];
  readonly protocol: string;
  readonly serverName?: string;
  readonly sslRequested?: boolean;
  readonly proxyVersion?: number;
  /** Whether it is a CancelRequest, which is then all that is replayed. */
  readonly cancel?: boolean;
  /** How many bytes at the start of the conversation are not replayed. */
  readonly consumed?: number;
}

const CONVERSATIONS: readonly Conversation[] = [
  { name: "TLS", parts: [HELLO], protocol: "tls", serverName: "db.example.com" },
  { name: "a TLS hello over 16 KiB", parts: [LARGE_HELLO], protocol: "tls", serverName: "large.example.com" },
  { name: "TLS without a name", parts: [samples.inRecords(samples.helloMessage())], protocol: "tls" },
  {
    name: "TLS behind an SSLRequest",
    parts: [samples.SSL_REQUEST, HELLO],
    answers: [S],
    protocol: "postgres",
    serverName: "db.example.com",
    sslRequested: true,
    consumed: 8,
  },
  {
    name: "TLS behind a GSSENCRequest and an SSLRequest",
    parts: [samples.GSSENC_REQUEST, samples.SSL_REQUEST, HELLO],
    answers: [N, S],
    protocol: "postgres",
    serverName: "db.example.com",
    sslRequested: true,
    consumed: 16,
  },
  { name: "plain PostgreSQL", parts: [samples.STARTUP], protocol: "postgres" },
  {
    name: "plain PostgreSQL behind a GSSENCRequest",
    parts: [samples.GSSENC_REQUEST, samples.STARTUP],
    answers: [N],
    protocol: "postgres",
    consumed: 8,
  },
  { name: "a CancelRequest", parts: [samples.CANCEL_REQUEST], protocol: "postgres", cancel: true },
  { name: "a long CancelRequest", parts: [samples.LONG_CANCEL_REQUEST], protocol: "postgres", cancel: true },
  {
    name: "a CancelRequest behind PROXY v2",
    parts: [bytes(V2, samples.CANCEL_REQUEST)],
    protocol: "postgres",
    proxyVersion: 2,
    consumed: V2.length,
    cancel: true,
  },
  { name: "HTTP", parts: [HTTP], protocol: "http" },
  { name: "SSH", parts: [SSH], protocol: "ssh" },
  { name: "another protocol", parts: [bytes("hello")], protocol: "other" },
  {
    name: "TLS behind PROXY v1",
    parts: [bytes(samples.PROXY_V1, HELLO)],
    protocol: "tls",
    serverName: "db.example.com",
    proxyVersion: 1,
    consumed: samples.PROXY_V1.length,
  },
  {
    name: "TLS behind an SSLRequest behind PROXY v2",
    parts: [bytes(V2, samples.SSL_REQUEST), HELLO],
    answers: [S],
    protocol: "postgres",
    serverName: "db.example.com",
    sslRequested: true,
    proxyVersion: 2,
    consumed: V2.length + 8,
  },
  {
    name: "HTTP behind PROXY v2",
    parts: [bytes(V2, HTTP)],
    protocol: "http",
    proxyVersion: 2,
    consumed: V2.length,
  },
  {
    name: "SSH behind LOCAL",
    parts: [bytes(encodeProxyV2(undefined, undefined, [], "local"), SSH)],
    protocol: "ssh",
    proxyVersion: 2,
    consumed: 16,
  },
];

async function converse(one: Conversation, segments: readonly Uint8Array[], label: string): Promise<void> {
  const { stream, result } = read(segments);
  const settled = await result;
  assert.ok(settled.kind === "preface", `${label}: ${JSON.stringify(settled)}`);
  const { preface } = settled;
  assert.equal(preface.protocol, one.protocol, label);
  assert.equal(preface.tls?.serverName, one.serverName, label);
  assert.equal(preface.sslRequested, one.sslRequested ?? false, label);
  assert.equal(preface.proxy?.version, one.proxyVersion, label);
  assert.deepEqual(stream.written, one.answers ?? [], label);
  const all = bytes(...one.parts);
  assert.deepEqual(preface.replay, all.subarray(one.consumed ?? 0, stream.taken), label);
  assert.deepEqual(
    preface.cancel && encodeCancelRequest(preface.cancel),
    one.cancel && preface.replay,
    label,
  );
  if (preface.proxy !== undefined) {
    assert.deepEqual(preface.proxy.raw, all.subarray(0, preface.proxy.raw.length), label);
  }
}

for (const one of CONVERSATIONS) {
  Deno.test(`readPreface() recognises ${one.name}, whole, at every cut, and a byte a segment`, async () => {
    await converse(one, one.parts, "whole");
    const step = one.parts.some((part) => part.length > 2000) ? 997 : 1;
    for (const [i, part] of one.parts.entries()) {
      for (let cut = 1; cut < part.length; cut += step) {
        const segments = one.parts.toSpliced(i, 1, ...segmentsOf(part, [cut]));
        await converse(one, segments, `part ${i} cut at ${cut}`);
      }
    }
    await converse(
      one,
      one.parts.flatMap((part) => segmentsOf(part, part.keys().toArray().slice(1))),
      "byte by byte",
    );
  });
}

Deno.test("readPreface() answers an SSLRequest before it reads on, and replays from the hello", async () => {
  const { stream, result } = read([samples.GSSENC_REQUEST, samples.SSL_REQUEST, HELLO]);
  await result;
  assert.deepEqual(stream.writtenAt, [8, 16]);
});

Deno.test("readPreface() reads no further than it must", async () => {
  const { stream, result } = read([HELLO, bytes("early data")]);
  await result;
  assert.equal(stream.taken, HELLO.length);
  assert.deepEqual(stream.offered, [FIRST_BUFFER_BYTES]);
});

Deno.test("readPreface() replays what came in the same read as the end of the hello", async () => {
  const together = bytes(HELLO, Uint8Array.fromHex("1703030003010203"));
  const settled = await read([together]).result;
  assert.ok(settled.kind === "preface");
  assert.deepEqual(settled.preface.replay, together);
});

interface Refusal {
  readonly name: string;
  readonly segments: readonly Uint8Array[];
  readonly fault: string;
  readonly protocol?: string;
  readonly proxy?: "refused";
  readonly maxBytes?: number;
  readonly answers?: readonly number[];
}

const REFUSALS: readonly Refusal[] = [
  { name: "no bytes", segments: [], fault: "client_closed" },
  { name: "half a hello", segments: [HELLO.subarray(0, 40)], fault: "client_closed", protocol: "tls" },
  { name: "half a method", segments: [bytes("GE")], fault: "client_closed" },
  { name: "nothing behind a PROXY header", segments: [V2], fault: "client_closed" },
  {
    name: "nothing behind SSLRequest",
    segments: [samples.SSL_REQUEST],
    fault: "client_closed",
    protocol: "tls",
    answers: [S],
  },
  {
    name: "PROXY v1 from a stranger",
    segments: [bytes(samples.PROXY_V1, HELLO)],
    proxy: "refused",
    fault: "proxy_protocol_refused",
  },
  {
    name: "PROXY v2 from a stranger",
    segments: [bytes(V2, HELLO)],
    proxy: "refused",
    fault: "proxy_protocol_refused",
  },
  {
    name: "PROXY LOCAL from a stranger",
    segments: [proxyV2(0x20, 0, bytes())],
    proxy: "refused",
    fault: "proxy_protocol_refused",
  },
  {
    name: "a malformed PROXY v1 header",
    segments: [bytes("PROXY TCP4 x\r\n")],
    fault: "proxy_protocol_refused",
  },
  {
    name: "a malformed PROXY v2 header",
    segments: [proxyV2(0x21, 0x11, bytes("short"))],
    fault: "proxy_protocol_refused",
  },
  {
    name: "a broken hello",
    segments: [bytes(22, 3, 1, 0, 0)],
    fault: "malformed_client_hello",
    protocol: "tls",
  },
  {
    name: "an SSL 2 hello",
    segments: [Uint8Array.fromHex("802e010002")],
    fault: "malformed_client_hello",
    protocol: "tls",
  },
  {
    name: "an IP literal for a name",
    segments: [samples.inRecords(samples.helloMessage({ extensions: [samples.serverName("10.0.0.1")] }))],
    fault: "malformed_client_hello",
    protocol: "tls",
  },
  {
    name: "a broken StartupMessage",
    segments: [Uint8Array.fromHex("0000000800030000")],
    fault: "malformed_postgres",
    protocol: "postgres",
  },
  {
    name: "a byte in the read of SSLRequest",
    segments: [bytes(samples.SSL_REQUEST, 0)],
    fault: "postgres_early_bytes",
    protocol: "postgres",
  },
  {
    name: "a hello in the read of SSLRequest",
    segments: [bytes(samples.SSL_REQUEST, HELLO)],
    fault: "postgres_early_bytes",
    protocol: "postgres",
  },
  {
    name: "a byte in the read of the end of SSLRequest",
    segments: [samples.SSL_REQUEST.subarray(0, 5), bytes(samples.SSL_REQUEST.subarray(5), 22)],
    fault: "postgres_early_bytes",
    protocol: "postgres",
  },
  {
    name: "SSLRequest in the read of GSSENCRequest",
    segments: [bytes(samples.GSSENC_REQUEST, samples.SSL_REQUEST)],
    fault: "postgres_early_bytes",
    protocol: "postgres",
  },
  {
    name: "early bytes behind a PROXY header",
    segments: [bytes(V2, samples.SSL_REQUEST, HELLO)],
    fault: "postgres_early_bytes",
    protocol: "postgres",
  },
  {
    name: "no TLS behind SSLRequest",
    segments: [samples.SSL_REQUEST, samples.STARTUP],
    fault: "malformed_client_hello",
    protocol: "tls",
    answers: [S],
  },
  {
    name: "SSLRequest twice",
    segments: [samples.SSL_REQUEST, samples.SSL_REQUEST],
    fault: "malformed_client_hello",
    protocol: "tls",
    answers: [S],
  },
  {
    name: "GSSENCRequest twice",
    segments: [samples.GSSENC_REQUEST, samples.GSSENC_REQUEST],
    fault: "malformed_postgres",
    protocol: "postgres",
    answers: [N],
  },
  {
    name: "TLS behind GSSENCRequest",
    segments: [samples.GSSENC_REQUEST, HELLO],
    fault: "malformed_postgres",
    protocol: "postgres",
    answers: [N],
  },
  {
    name: "HTTP behind GSSENCRequest",
    segments: [samples.GSSENC_REQUEST, HTTP],
    fault: "malformed_postgres",
    protocol: "postgres",
    answers: [N],
  },
  {
    name: "a hello over the limit",
    segments: [LARGE_HELLO],
    maxBytes: 16_384,
    fault: "preface_too_large",
    protocol: "tls",
  },
  {
    name: "a hello that announces more than the limit",
    segments: [Uint8Array.fromHex("160301400001ffffff")],
    fault: "preface_too_large",
    protocol: "tls",
  },
  {
    name: "a PROXY header that announces more than the limit",
    segments: [proxyV2(0x21, 0x11, new Uint8Array(9000)).subarray(0, 16)],
    maxBytes: 8192,
    fault: "preface_too_large",
  },
  {
    name: "a hello over what a PROXY header left of the limit",
    segments: [V2, HELLO],
    maxBytes: V2.length + HELLO.length - 1,
    fault: "preface_too_large",
    protocol: "tls",
  },
  {
    name: "a hello over what SSLRequest left of the limit",
    segments: [samples.SSL_REQUEST, HELLO],
    maxBytes: HELLO.length + 7,
    fault: "preface_too_large",
    protocol: "tls",
    answers: [S],
  },
  {
    name: "a hello when SSLRequest used up the limit",
    segments: [samples.SSL_REQUEST, HELLO],
    maxBytes: 8,
    fault: "preface_too_large",
    protocol: "tls",
    answers: [S],
  },
  {
    name: "a StartupMessage over the limit",
    segments: [samples.STARTUP],
    maxBytes: 20,
    fault: "preface_too_large",
    protocol: "postgres",
  },
];

for (const { name, segments, fault, protocol, proxy, maxBytes, answers = [] } of REFUSALS) {
  Deno.test(`readPreface() refuses ${name} as ${fault}`, async () => {
    const { stream, result } = read(segments, proxy, maxBytes);
    const settled = await result;
    assert.ok(settled.kind === "refused", JSON.stringify(settled));
    assert.equal(settled.fault, fault, settled.detail);
    assert.equal(settled.protocol, protocol);
    assert.notEqual(settled.detail, "");
    assert.deepEqual(stream.written, answers);
  });
}

Deno.test("readPreface() takes what fits the limit to the byte", async () => {
  for (
    const [segments, maxBytes] of [
      [[HELLO], HELLO.length],
      [[V2, HELLO], V2.length + HELLO.length],
      [[samples.SSL_REQUEST, HELLO], 8 + HELLO.length],
      [[LARGE_HELLO], LARGE_HELLO.length],
    ] as const
  ) {
    assert.equal((await read(segments, "trusted", maxBytes).result).kind, "preface");
  }
});

Deno.test("readPreface() never reads more than the limit, whatever is sent", async () => {
  const endless = bytes(22, 3, 1, 0x40, 0, 1, 0, 0xff, 0, new Uint8Array(100_000));
  for (const maxBytes of [0, 1, 100, 1024, 5000]) {
    const { stream, result } = read([endless], "trusted", maxBytes);
    assert.equal((await result).kind, "refused");
    assert.ok(stream.taken <= maxBytes);
  }
});

Deno.test("readPreface() recognises nothing of a stranger's PROXY header but its signature", async () => {
  for (const signature of [samples.PROXY_V1.subarray(0, 6), V2.subarray(0, 12)]) {
    for (let cut = 0; cut < signature.length; cut++) {
      const settled = await read([signature.subarray(0, cut)], "refused").result;
      assert.ok(settled.kind === "refused" && settled.fault === "client_closed");
    }
    const settled = await read([signature], "refused").result;
    assert.ok(settled.kind === "refused" && settled.fault === "proxy_protocol_refused");
  }
});

Deno.test("readPreface() takes a second PROXY header for the client's own bytes", async () => {
  const settled = await read([bytes(V2, V2)]).result;
  assert.ok(settled.kind === "preface" && settled.preface.protocol === "other");
});

Deno.test("readPreface() grows its buffer with what came, not with what was announced", async () => {
  const announced = bytes(22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc);
  const { stream, result } = read([announced]);
  await result;
  assert.deepEqual(stream.offered, [FIRST_BUFFER_BYTES, FIRST_BUFFER_BYTES - announced.length]);
  const large = read([LARGE_HELLO]);
  await large.result;
  assert.deepEqual(large.stream.offered, [1024, 1024, 2048, 4096, 8192, 16_384]);
});

Deno.test("what readPreface() replays keeps no large buffer alive", async () => {
  const small = await read([HELLO]).result;
  assert.ok(small.kind === "preface");
  assert.ok(small.preface.replay.buffer.byteLength <= FIRST_BUFFER_BYTES);
  const large = await read([LARGE_HELLO]).result;
  assert.ok(large.kind === "preface");
  assert.equal(large.preface.replay.buffer.byteLength, LARGE_HELLO.length);
});

Deno.test("readPreface() passes on what a read rejects with", async () => {
  const reset = new Deno.errors.ConnectionReset("reset");
  for (const sent of [[], [HELLO.subarray(0, 9)], [samples.SSL_REQUEST]]) {
    const stream = new ScriptedStream(sent, reset);
    await assert.rejects(readPreface(stream, { maxBytes: MAX_BYTES, proxy: "refused" }), reset);
  }
});

Deno.test("readPreface() settles with a rejection when the caller closes a silent connection", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using _client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const conn = await listener.accept();
  const result = readPreface(conn, { maxBytes: MAX_BYTES, proxy: "refused" });
  conn.close();
  await assert.rejects(result, Deno.errors.Interrupted);
});

Deno.test("readPreface() works over a real socket, and what follows is still to be read", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using conn = await listener.accept();
  const result = readPreface(conn, { maxBytes: MAX_BYTES, proxy: "refused" });
  await writeAll(client, samples.SSL_REQUEST);
  const answer = new Uint8Array(2);
  assert.equal(await client.read(answer), 1);
  assert.equal(answer[0], S);
  await writeAll(client, HELLO.subarray(0, 100));
  await writeAll(client, bytes(HELLO.subarray(100), "tail"));
  await client.closeWrite();
  const settled = await result;
  assert.ok(settled.kind === "preface" && settled.preface.protocol === "postgres");
  const received = [...settled.preface.replay];
  for (let length; (length = await conn.read(answer)) !== null;) received.push(...answer.subarray(0, length));
  assert.deepEqual(Uint8Array.from(received), bytes(HELLO, "tail"));
});

Deno.test("readPreface() comes to the same whatever the segments", async () => {
  const inputs = fc.constantFrom(
    HELLO,
    bytes(V2, HELLO),
    bytes(samples.PROXY_V1, HTTP),
    samples.STARTUP,
    bytes(V2, SSH),
  );
  await fc.assert(fc.asyncProperty(inputs, fc.array(fc.nat(400), { maxLength: 30 }), async (input, cuts) => {
    const whole = await read([input]).result;
    const cut = await read(segmentsOf(input, cuts.filter((one) => one > 0 && one < input.length))).result;
    assert.ok(whole.kind === "preface" && cut.kind === "preface");
    assert.equal(cut.preface.protocol, whole.preface.protocol);
    assert.deepEqual(cut.preface.tls, whole.preface.tls);
    assert.deepEqual(cut.preface.proxy, whole.preface.proxy);
    assert.deepEqual(cut.preface.replay, whole.preface.replay.subarray(0, cut.preface.replay.length));
  }));
});
