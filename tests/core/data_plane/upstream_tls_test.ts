import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import type { Forward } from "../../../core/plugin/contract.ts";
import { createAuthority } from "../../support/certificates.ts";
import { readToEnd, serveTcp, startSilent } from "../../support/echo.ts";
import { TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { ask, askText, connectTls, HTTP, readExactly, testCertificate } from "./clients.ts";
import { bytes, HELLO } from "./preface/samples.ts";
import { empty, freePort, type Recording, recording } from "./recording.ts";

const NAME = "db.example.com";
const HTTP_BYTES = new TextEncoder().encode(HTTP);
const root = await createAuthority("Root");
const leaf = await root.issue({ names: [NAME], addresses: ["127.0.0.1"] });
const stranger = await createAuthority("Stranger");

/** A server of the runtime's own TLS that answers a whole request, reversed. */
function serveTls({ certificate: cert, key } = leaf): Disposable & { readonly target: string } {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  void (async () => {
    for await (const conn of listener) {
      void (async () => {
        await writeAll(conn, (await readToEnd(conn)).toReversed());
        await conn.closeWrite();
      })().catch(() => {}).finally(() => closeQuietly(conn));
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  return { target: `127.0.0.1:${port}`, [Symbol.dispose]: () => listener.close() };
}

interface Gateway extends Recording, AsyncDisposable {
  readonly gateway: TestPlane;
}

/** Forwards what comes in plain text, and what is within the TLS of those who bring some, if that is terminated. */
async function forwarding(
  forward: Partial<Forward> & Pick<Forward, "to">,
  { terminate = true, connectTimeoutMs = 5000 } = {},
): Promise<Gateway> {
  const { material } = await testCertificate();
  const decision: Forward = { kind: "forward", ...forward };
  const recorded = recording(({ tls }) =>
    tls && terminate ? { kind: "terminate", then: decision } : decision
  );
  const gateway = new TestPlane({
    plugins: [recorded.plugin],
    certificates: [material],
    limits: { connectTimeoutMs },
  });
  return { ...recorded, gateway, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

const GOOD: readonly { name: string; tls: Forward["tls"] }[] = [
  { name: "by the address of the target", tls: { ca: root.certificate } },
  { name: "by another name", tls: { ca: root.certificate, serverName: NAME } },
];

for (const { name, tls } of GOOD) {
  Deno.test(`an upstream is spoken to in TLS, verified ${name}; half-close is kept, and all is counted`, async () => {
    using server = serveTls();
    await using behind = await forwarding({ to: server.target, ...(tls && { tls }) });
    using client = await behind.gateway.connect();
    await writeAll(client, HTTP_BYTES);
    await client.closeWrite();
    assert.deepEqual(await readToEnd(client), HTTP_BYTES.toReversed());
    await empty(behind.gateway);
    assert.deepEqual(behind.closed.map(({ result, bytesIn, bytesOut }) => [result, bytesIn, bytesOut]), [
      ["ok", HTTP.length, HTTP.length],
    ]);
  });
}

Deno.test("a client whose TLS is terminated reaches an upstream by another TLS, a lot of bytes both ways", async () => {
  using server = serveTls();
  await using behind = await forwarding({ to: server.target, tls: { ca: root.certificate } });
  using client = await connectTls(behind.gateway);
  const sent = crypto.getRandomValues(new Uint8Array(65_536)).toHex();
  const body = new TextEncoder().encode(sent.repeat(16));
  const received = readExactly(client, body.length);
  await writeAll(client, body);
  await client.closeWrite();
  assert.deepEqual(await received, body.toReversed());
});

const BAD: readonly { name: string; tls: Forward["tls"]; detail: RegExp }[] = [
  { name: "from another CA", tls: { ca: stranger.certificate }, detail: /certificate is not trusted/ },
  {
    name: "for another name",
    tls: { ca: root.certificate, serverName: "x.example.com" },
    detail: /certificate is not for "x\.example\.com"/,
  },
  { name: "from a CA that only we know", tls: {}, detail: /certificate is not trusted/ },
];

for (const { name, tls, detail } of BAD) {
  Deno.test(`an upstream with a certificate ${name} gets nothing, and the log says why`, async () => {
    using server = serveTls();
    await using behind = await forwarding({ to: server.target, ...(tls && { tls }) });
    assert.match(await askText(behind.gateway, HTTP), /^HTTP\/1\.1 502 /);
    await empty(behind.gateway);
    const refused = behind.gateway.events.find(({ event }) => event === "connection_refused");
    assert.equal(refused?.fields.result, "connect_failed");
    assert.match(String(refused?.fields.detail), detail);
    assert.match(behind.dialed[0]?.failure ?? "", detail);
  });
}

Deno.test("a target whose certificate is bad is followed by the next", async () => {
  using bad = serveTls(await stranger.issue({ addresses: ["127.0.0.1"] }));
  using good = serveTls();
  await using behind = await forwarding({ to: [bad.target, good.target], tls: { ca: root.certificate } });
  using client = await behind.gateway.connect();
  await writeAll(client, HTTP_BYTES);
  await client.closeWrite();
  assert.deepEqual(await readToEnd(client), HTTP_BYTES.toReversed());
  assert.deepEqual(behind.dialed.map(({ failure }) => failure === undefined), [false, true]);
});

Deno.test("a handshake that stalls is over with the time to connect, and its socket is free", async () => {
  await using silent = startSilent();
  await using behind = await forwarding({ to: silent.target, tls: { ca: root.certificate } }, {
    connectTimeoutMs: 150,
  });
  assert.match(await askText(behind.gateway, HTTP), /^HTTP\/1\.1 504 /);
  await empty(behind.gateway);
  assert.deepEqual(behind.closed.map(({ result }) => result), ["connect_timeout"]);
});

Deno.test("a connection that ends while its upstream shakes hands takes that along", async () => {
  await using silent = startSilent();
  await using behind = await forwarding({ to: silent.target, tls: { ca: root.certificate } });
  using client = await behind.gateway.connect();
  await writeAll(client, HTTP_BYTES);
  await until(() => silent.accepted === 1, { what: "the upstream" });
  behind.gateway.plane.closeConnection(behind.gateway.plane.rows(1)[0]?.id ?? "");
  await empty(behind.gateway);
  assert.deepEqual(behind.closed.map(({ result }) => result), ["closed_by_admin"]);
});

Deno.test("a client whose own TLS is passed on is refused: there is no TLS within TLS", async () => {
  await using server = serveTcp(() => {});
  await using behind = await forwarding({ to: server.target, tls: {} }, { terminate: false });
  const handshakeFailure = [21, 3, 3, 0, 2, 2, 40];
  assert.deepEqual([...await ask(behind.gateway, HELLO)], handshakeFailure);
  assert.equal(server.accepted, 0);
  const refused = behind.gateway.events.find(({ event }) => event === "connection_refused");
  assert.match(String(refused?.fields.detail), /is not terminated/);
});

Deno.test("a target that refuses at first is there in time, and is one attempt", async () => {
  const port = freePort();
  await using behind = await forwarding({ to: `127.0.0.1:${port}`, retryMs: 5000 });
  const answering = askText(behind.gateway, HTTP);
  await until(() => behind.gateway.plane.rows(1)[0]?.state === "dialing", { what: "the first try" });
  await using server = serveTcp(async (conn) => {
    await conn.read(new Uint8Array(1024));
    await writeAll(conn, bytes("here"));
  }, { port });
  assert.equal(await answering, "here");
  assert.equal(server.accepted, 1);
  assert.deepEqual(behind.dialed.map(({ failure }) => failure), [undefined]);
});

Deno.test("a target that refuses for longer than the time to connect is out of time", async () => {
  await using behind = await forwarding({ to: `127.0.0.1:${freePort()}`, retryMs: 60_000 }, {
    connectTimeoutMs: 100,
  });
  assert.match(await askText(behind.gateway, HTTP), /^HTTP\/1\.1 504 /);
  await empty(behind.gateway);
  assert.equal(behind.dialed.length, 1);
});

for (
  const to of [["127.0.0.1"], ["localhost"], ["0.0.0.0"], ["[::ffff:127.0.0.1]"], [
    "127.0.0.1:1",
    "127.9.9.9",
  ]]
) {
  Deno.test(`the admin side is not reached by ${to}`, async () => {
    await using admin = serveTcp(() => {});
    const { port } = admin.address;
    const targets = to.map((host) => /:\d$/.test(host) ? host : `${host}:${port}`);
    await using behind = await forwarding({ to: targets, keepOffAdmin: true });
    const { plane } = behind.gateway;
    plane.configure({
      limits: plane.queues.limits,
      certificates: [],
      httpsPort: 443,
      proxyFrom: {},
      adminAddress: `127.0.0.1:${port}`,
    });
    assert.match(await askText(behind.gateway, HTTP), /^HTTP\/1\.1 403 /);
    await empty(behind.gateway);
    assert.equal(admin.accepted, 0);
    assert.deepEqual(behind.closed.map(({ result }) => result), ["forbidden"]);
    const refused = behind.gateway.events.find(({ event }) => event === "connection_refused");
    assert.match(String(refused?.fields.detail), /the gateway's own admin address/);
  });
}
