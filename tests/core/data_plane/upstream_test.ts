import assert from "node:assert/strict";
import { greetUpstream, proxyHeader } from "../../../core/data_plane/upstream.ts";
import { ClientHelloParser } from "../../../core/data_plane/preface/client_hello.ts";
import { parseProxyHeader } from "../../../core/data_plane/preface/proxy_protocol.ts";
import type { ConnectionInfo, Forward } from "../../../core/plugin/contract.ts";
import type { ProxyHeader } from "../../../core/data_plane/preface/preface.ts";
import { bytes, HELLO, PROXY_V1, SSL_REQUEST } from "./preface/samples.ts";
import { ScriptedStream } from "./preface/scripted_stream.ts";

const NOTHING = new Uint8Array();
const HOST = "db.example.com";
const INFO: ConnectionInfo = {
  id: "t-0",
  listener: "127.0.0.1:0",
  source: { address: "203.0.113.9", port: 56324 },
  destination: { address: "192.0.2.1", port: 443 },
  peer: { address: "10.0.0.1", port: 1 },
  protocol: "tls",
};

function forward(proxyProtocol?: Forward["proxyProtocol"], more: Partial<Forward> = {}): Forward {
  return { kind: "forward", to: "127.0.0.1:1", ...(proxyProtocol && { proxyProtocol }), ...more };
}

function received(header: Uint8Array): ProxyHeader {
  const parsed = parseProxyHeader(header);
  assert.equal(parsed.kind, "yes");
  return parsed.kind === "yes" ? parsed.value : assert.fail();
}

Deno.test("off, and nothing said, is no header, whatever the client's proxy sent", () => {
  for (const decision of [forward(), forward("off")]) {
    assert.deepEqual(proxyHeader(decision, INFO, received(PROXY_V1)), NOTHING);
  }
});

Deno.test("v1 and v2 are made from who the client is, not copied", () => {
  assert.deepEqual(
    proxyHeader(forward("v1"), INFO, undefined),
    bytes("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"),
  );
  const tlvs = [{ type: 0xe1, value: bytes("team") }];
  const { source, destination, tlvs: sent } = received(proxyHeader(forward("v2", { tlvs }), INFO, undefined));
  assert.deepEqual([source, destination], [INFO.source, INFO.destination]);
  assert.deepEqual(sent.map(({ type, value }) => [type, ...value]), [[0xe1, ...bytes("team")]]);
});

Deno.test("the TLVs of the client's proxy are not sent on but by pass", () => {
  const inbound = bytes(
    Uint8Array.fromHex("0d0a0d0a000d0a515549540a21110010cb007109c0000201dc0401bb"),
    0xe0,
    0,
    1,
    7,
  );
  assert.deepEqual(received(proxyHeader(forward("v2"), INFO, received(inbound))).tlvs, []);
  assert.deepEqual(proxyHeader(forward("pass"), INFO, received(inbound)), inbound);
});

Deno.test("pass sends nothing when nothing came", () => {
  assert.deepEqual(proxyHeader(forward("pass"), INFO, undefined), NOTHING);
});

Deno.test("header and first bytes leave in one write", async () => {
  const upstream = new ScriptedStream([]);
  await greetUpstream(upstream, { header: PROXY_V1, sslRequested: false, head: HELLO }, HOST);
  assert.deepEqual(upstream.written, [...PROXY_V1, ...HELLO]);
  assert.equal(upstream.writtenAt.length, 1);
});

Deno.test("an upstream that is to get nothing gets nothing", async () => {
  const upstream = new ScriptedStream([]);
  await greetUpstream(upstream, { header: NOTHING, sslRequested: false, head: NOTHING }, HOST);
  assert.equal(upstream.writtenAt.length, 0);
});

Deno.test("an SSLRequest goes behind the header, and the ClientHello waits for the S", async () => {
  const upstream = new ScriptedStream([bytes("S")]);
  await greetUpstream(upstream, { header: PROXY_V1, sslRequested: true, head: HELLO }, HOST);
  assert.deepEqual(upstream.written, [...PROXY_V1, ...SSL_REQUEST, ...HELLO]);
  assert.deepEqual(upstream.writtenAt, [0, 1]);
});

const REFUSALS = [
  { name: "N", answer: [bytes("N")], message: /does not offer TLS/ },
  { name: "an error packet", answer: [bytes("E", 0, 0, 0, 9, "SFATAL", 0)], message: /does not offer TLS/ },
  { name: "S and more in one go", answer: [bytes("S", 22, 3, 3)], message: /bytes behind/ },
  { name: "a close", answer: [], message: /closed the connection/ },
];

for (const { name, answer, message } of REFUSALS) {
  Deno.test(`an upstream that answers the SSLRequest with ${name} gets no ClientHello`, async () => {
    const upstream = new ScriptedStream(answer);
    const greeting = greetUpstream(upstream, { header: NOTHING, sslRequested: true, head: HELLO }, HOST);
    await assert.rejects(greeting, { code: "dial-failed", message });
    assert.deepEqual(upstream.written, [...SSL_REQUEST]);
  });
}

for (const { name, answer, message } of REFUSALS) {
  Deno.test(`an upstream that answers our own SSLRequest with ${name} is spoken to no further`, async () => {
    const upstream = new ScriptedStream(answer);
    const greeting = { header: PROXY_V1, sslRequested: true, head: HELLO, tls: {} };
    await assert.rejects(greetUpstream(upstream, greeting, HOST), { code: "dial-failed", message });
    assert.deepEqual(upstream.written, [...PROXY_V1, ...SSL_REQUEST]);
  });
}

Deno.test("of an upstream with TLS, only the PROXY header is in the clear", async () => {
  const upstream = new ScriptedStream([]);
  const greeting = { header: PROXY_V1, sslRequested: false, head: bytes("secret"), tls: {} };
  await assert.rejects(greetUpstream(upstream, greeting, HOST), {
    code: "dial-failed",
    message: /TLS handshake/,
  });
  const sent = Uint8Array.from(upstream.written);
  assert.deepEqual(sent.subarray(0, PROXY_V1.length), PROXY_V1);
  const hello = new ClientHelloParser().push(sent.subarray(PROXY_V1.length));
  assert.ok(
    hello.kind === "yes" && hello.length === sent.length - PROXY_V1.length,
    "and nothing but a ClientHello",
  );
  assert.equal(hello.value.serverName, HOST);
});

for (const [serverName, asked] of [["DB.internal.", "db.internal"], ["192.0.2.1", undefined]] as const) {
  Deno.test(`with the server name ${serverName}, ${asked ?? "nobody"} is asked for`, async () => {
    const upstream = new ScriptedStream([]);
    const greeting = { header: NOTHING, sslRequested: false, head: NOTHING, tls: { serverName } };
    await assert.rejects(greetUpstream(upstream, greeting, HOST));
    const hello = new ClientHelloParser().push(Uint8Array.from(upstream.written));
    assert.ok(hello.kind === "yes");
    assert.equal(hello.value.serverName, asked);
  });
}

Deno.test("what is no server name is not asked for", async () => {
  const upstream = new ScriptedStream([]);
  const greeting = { header: NOTHING, sslRequested: false, head: NOTHING, tls: { serverName: "a b" } };
  await assert.rejects(greetUpstream(upstream, greeting, HOST), { message: /"a b" is no server name/ });
  assert.deepEqual(upstream.written, []);
});
