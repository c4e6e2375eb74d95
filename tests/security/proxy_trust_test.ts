/** PROXY headers only from trusted sources, per listener; what is sent on is made anew, but for the exact `pass`. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { writeAll } from "../../core/byte_stream.ts";
import { encodeProxyV2 } from "../../core/data_plane/preface/proxy_protocol.ts";
import { bytes, HELLO, PROXY_V1, SSL_REQUEST } from "../core/data_plane/preface/samples.ts";
import { readToEnd, serveTcp } from "../support/echo.ts";
import type { TestPlane } from "../support/plane.ts";
import { startRecorder, staticPlane } from "./static_plane.ts";

const REQUEST = bytes("GET / HTTP/1.0\r\n\r\n");
const REFUSAL = "A PROXY header is not accepted here\r\n";
const CLIENT = { address: "203.0.113.9", port: 56324 };
const SERVICE = { address: "192.0.2.1", port: 443 };
/** Everything that somebody could hope to smuggle through. */
const PROXY_V2 = encodeProxyV2(CLIENT, SERVICE, [
  { type: 0x01, value: bytes("h2") },
  { type: 0x02, value: bytes("admin.internal") },
  { type: 0x05, value: bytes("an id") },
  { type: 0xe0, value: bytes("an own one") },
  { type: 0x20, value: bytes(7, [0, 0, 0, 0], 0x22, [0, 5], "admin") },
]);

/** Another listener of the same data plane. */
function listen(gateway: TestPlane, hostname: string, proxyFrom: readonly string[]): number {
  const address = `[${hostname}]:0`;
  return gateway.plane.listeners.listen({
    address,
    hostname,
    port: 0,
    kind: "stream",
    proxyFrom,
    reusePort: false,
  });
}

/** Sends from one of this machine's own addresses, and gives all that comes back. */
function exchangeFrom(source: string, hostname: string, port: number, data: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect({ host: hostname, port, localAddress: source }, () => socket.end(data));
    socket.setEncoding("utf8");
    socket.on("data", (text) => answer += text);
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
  });
}

const sources: readonly {
  name: string;
  listen: string;
  from: readonly string[];
  source: string;
  to: string;
  trusted: boolean;
}[] = [
  {
    name: "the address itself",
    listen: "127.0.0.1",
    from: ["127.0.0.2"],
    source: "127.0.0.2",
    to: "127.0.0.1",
    trusted: true,
  },
  {
    name: "a neighbour",
    listen: "127.0.0.1",
    from: ["127.0.0.2"],
    source: "127.0.0.3",
    to: "127.0.0.1",
    trusted: false,
  },
  {
    name: "an address of the range",
    listen: "127.0.0.1",
    from: ["127.0.0.0/30"],
    source: "127.0.0.3",
    to: "127.0.0.1",
    trusted: true,
  },
  {
    name: "the first behind the range",
    listen: "127.0.0.1",
    from: ["127.0.0.0/30"],
    source: "127.0.0.4",
    to: "127.0.0.1",
    trusted: false,
  },
  { name: "nobody", listen: "127.0.0.1", from: [], source: "127.0.0.1", to: "127.0.0.1", trusted: false },
  {
    name: "IPv4 mapped into IPv6, of the range",
    listen: "::",
    from: ["127.0.0.2/32"],
    source: "127.0.0.2",
    to: "127.0.0.1",
    trusted: true,
  },
  {
    name: "IPv4 mapped into IPv6, a neighbour",
    listen: "::",
    from: ["127.0.0.2/32"],
    source: "127.0.0.3",
    to: "127.0.0.1",
    trusted: false,
  },
  {
    name: "IPv4 mapped into IPv6, named so",
    listen: "::",
    from: ["::ffff:127.0.0.2"],
    source: "127.0.0.2",
    to: "127.0.0.1",
    trusted: true,
  },
  {
    name: "IPv4, where all of IPv6 is trusted",
    listen: "::",
    from: ["::/0"],
    source: "127.0.0.2",
    to: "127.0.0.1",
    trusted: false,
  },
  {
    name: "IPv6, where all of IPv4 is trusted",
    listen: "::",
    from: ["0.0.0.0/0"],
    source: "::1",
    to: "::1",
    trusted: false,
  },
  { name: "IPv6 itself", listen: "::", from: ["::1"], source: "::1", to: "::1", trusted: true },
];

for (const { name, listen: hostname, from, source, to, trusted } of sources) {
  Deno.test(`a PROXY header from ${name} is ${trusted ? "believed" : "refused"}`, async () => {
    await using recorder = startRecorder();
    await using gateway = await staticPlane([
      { protocol: "http", to: recorder.target, proxyProtocol: "v1" },
      { protocol: "other", to: recorder.target },
    ]);
    const port = listen(gateway, hostname, from);
    for (const header of [PROXY_V1, PROXY_V2]) {
      const answer = await exchangeFrom(source, to, port, bytes(header, REQUEST));
      assert.equal(answer, trusted ? "reached" : REFUSAL);
    }
    const refused = gateway.counted("rejected_total", { reason: "proxy_protocol_refused" });
    assert.deepEqual([recorder.accepted, refused], trusted ? [2, 0] : [0, 2]);
    const seen = new TextDecoder().decode(recorder.received[0]);
    if (trusted) assert.match(seen, /^PROXY TCP4 203\.0\.113\.9 192\.0\.2\.1 56324 443\r\nGET /);
    const plain = await exchangeFrom(source, to, port, REQUEST);
    assert.equal(plain, "reached", "without a header, everybody is who they are");
    assert.match(new TextDecoder().decode(recorder.received.at(-1)), new RegExp(`^PROXY TCP. ${source} `));
  });
}

Deno.test("one listener's trust is not another's, and a header there opens no route", async () => {
  await using recorder = startRecorder();
  await using gateway = await staticPlane([{ protocol: "other", to: recorder.target }], {
    proxyFrom: ["127.0.0.1/32"],
  });
  const port = listen(gateway, "127.0.0.1", []);
  assert.equal(await exchangeFrom("127.0.0.1", "127.0.0.1", port, bytes(PROXY_V1, "x!")), REFUSAL);
  assert.equal(recorder.accepted, 0);
  assert.equal(await exchangeFrom("127.0.0.1", "127.0.0.1", gateway.port, bytes(PROXY_V1, "x!")), "reached");
});

Deno.test("a reload takes trust away at once", async () => {
  await using recorder = startRecorder();
  await using gateway = await staticPlane([{ protocol: "http", to: recorder.target }], {
    proxyFrom: ["127.0.0.1/32"],
  });
  assert.equal(
    await exchangeFrom("127.0.0.1", "127.0.0.1", gateway.port, bytes(PROXY_V1, REQUEST)),
    "reached",
  );
  const { limits } = gateway.plane.queues;
  gateway.plane.configure({ limits, certificates: [], httpsPort: 443, proxyFrom: {} });
  assert.equal(await exchangeFrom("127.0.0.1", "127.0.0.1", gateway.port, bytes(PROXY_V1, REQUEST)), REFUSAL);
});

const V2_TO_SERVICE = encodeProxyV2(CLIENT, SERVICE);

const sentOn: readonly { proxyProtocol: "off" | "v1" | "v2" | "pass"; header: Uint8Array }[] = [
  { proxyProtocol: "off", header: new Uint8Array() },
  { proxyProtocol: "v1", header: PROXY_V1 },
  { proxyProtocol: "v2", header: V2_TO_SERVICE },
  { proxyProtocol: "pass", header: PROXY_V2 },
];

for (const { proxyProtocol, header } of sentOn) {
  Deno.test(`proxyProtocol: ${proxyProtocol} sends ${header.length} bytes for a header of ${PROXY_V2.length} with TLVs`, async () => {
    await using recorder = startRecorder();
    await using gateway = await staticPlane([
      { sni: "db.example.com", to: recorder.target, proxyProtocol },
    ], { proxyFrom: ["127.0.0.1/32"] });
    using client = await gateway.connect();
    const rest = new Uint8Array(5000).fill(23);
    await writeAll(client, bytes(PROXY_V2, HELLO, rest));
    await client.closeWrite();
    await readToEnd(client);
    assert.equal(recorder.received[0]?.toHex(), bytes(header, HELLO, rest).toHex());
  });

  Deno.test(`proxyProtocol: ${proxyProtocol} stands before the SSLRequest that a PostgreSQL service is sent`, async () => {
    const seen: Uint8Array[] = [];
    await using postgres = serveTcp(async (conn) => {
      const buffer = new Uint8Array(1000);
      seen.push(buffer.slice(0, await conn.read(buffer) ?? 0));
      await writeAll(conn, bytes("S"));
      seen.push(await readToEnd(conn));
    });
    await using gateway = await staticPlane([
      { sni: "db.example.com", protocol: "postgres", to: postgres.target, proxyProtocol },
    ], { proxyFrom: ["127.0.0.1/32"] });
    using client = await gateway.connect();
    await writeAll(client, bytes(PROXY_V2, SSL_REQUEST));
    await client.read(new Uint8Array(1));
    await writeAll(client, HELLO);
    await client.closeWrite();
    await readToEnd(client);
    assert.deepEqual(seen.map((one) => one.toHex()), [bytes(header, SSL_REQUEST).toHex(), HELLO.toHex()]);
  });
}

const own: readonly { name: string; header: Uint8Array }[] = [
  { name: "LOCAL", header: encodeProxyV2(CLIENT, SERVICE, [], "local") },
  {
    name: "LOCAL with addresses in it",
    header: bytes(PROXY_V2.subarray(0, 12), 0x20, PROXY_V2.subarray(13)),
  },
  { name: "UNKNOWN", header: bytes("PROXY UNKNOWN 203.0.113.9 192.0.2.1 56324 443\r\n") },
];

for (const { name, header } of own) {
  Deno.test(`a header of ${name} leaves the real address standing`, async () => {
    await using recorder = startRecorder();
    await using gateway = await staticPlane(
      [{ protocol: "http", to: recorder.target, proxyProtocol: "v1" }],
      {
        proxyFrom: ["127.0.0.1/32"],
      },
    );
    assert.equal(
      await exchangeFrom("127.0.0.1", "127.0.0.1", gateway.port, bytes(header, REQUEST)),
      "reached",
    );
    const seen = new TextDecoder().decode(recorder.received[0]);
    assert.match(
      seen,
      new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 \\d+ ${gateway.port}\r\nGET `),
    );
  });
}

Deno.test("a client behind a trusted proxy cannot add a header of its own to what the service is sent", async () => {
  await using recorder = startRecorder();
  await using gateway = await staticPlane([
    { protocol: "other", to: recorder.target, proxyProtocol: "v2" },
  ], { proxyFrom: ["127.0.0.1/32"] });
  const spoofed = bytes("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
  await exchangeFrom("127.0.0.1", "127.0.0.1", gateway.port, bytes(PROXY_V1, spoofed));
  assert.equal(recorder.received[0]?.toHex(), bytes(V2_TO_SERVICE, spoofed).toHex(), "ours comes first");
});
