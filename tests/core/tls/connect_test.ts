import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import { connectTls } from "../../../core/tls/connect.ts";
import { createAuthority, type MadeCertificate } from "../../support/certificates.ts";
import { readToEnd, serveTcp, startSilent, type TestServer } from "../../support/echo.ts";
import type { Address } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

const HOST = "db.example.com";
const HOUR_MS = 3_600_000;
const root = await createAuthority("Root");
const stranger = await createAuthority("Stranger");
const good = await root.issue({ names: [HOST], addresses: ["127.0.0.1", "::1"] });

interface TlsServer extends Disposable {
  readonly address: Address;
  readonly alpn: readonly (string | null)[];
}

/** A server of the runtime's own TLS, which answers a whole request, reversed. */
function serveTls(
  { certificate: cert, key }: Pick<MadeCertificate, "certificate" | "key">,
  answer = async (conn: Deno.TlsConn) => await writeAll(conn, (await readToEnd(conn)).toReversed()),
): TlsServer {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const alpn: (string | null)[] = [];
  void (async () => {
    for await (const conn of listener) {
      try {
        alpn.push((await conn.handshake()).alpnProtocol);
        await answer(conn);
      } catch {
        // the client did not believe us, or left
      } finally {
        closeQuietly(conn);
      }
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  return { address: { hostname: "127.0.0.1", port }, alpn, [Symbol.dispose]: () => listener.close() };
}

async function dial({ address }: Pick<TestServer, "address">): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ ...address });
  conn.setNoDelay();
  return conn;
}

const BELIEVED = [
  { name: "a certificate from the CA", host: HOST, leaf: good, ca: root.certificate },
  { name: "one for an IPv4 address", host: "127.0.0.1", leaf: good, ca: root.certificate },
  { name: "one for an IPv6 address", host: "::1", leaf: good, ca: root.certificate },
  {
    name: "one over an intermediate",
    host: HOST,
    leaf: await (await root.intermediate("Middle")).issue({ names: [HOST] }),
    ca: root.certificate,
  },
  {
    name: "one from the second of two CAs that stand in one text without a line between",
    host: HOST,
    leaf: good,
    ca: stranger.certificate.trim() + root.certificate.trim(),
  },
];

for (const { name, host, leaf, ca } of BELIEVED) {
  Deno.test(`${name} is believed, and half-close is kept`, async () => {
    using server = serveTls(leaf);
    const stream = await connectTls(await dial(server), { host, ca });
    await writeAll(stream, new TextEncoder().encode("abc"));
    await stream.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(stream)), "cba");
    stream.close();
  });
}

const UNTRUSTED = /certificate is not trusted/, NOT_FOR = /certificate is not for "/;
const REFUSED = [
  { name: "from another CA", leaf: await stranger.issue({ names: [HOST] }), message: UNTRUSTED },
  { name: "for another name", leaf: await root.issue({ names: ["x.example.com"] }), message: NOT_FOR },
  {
    name: "with the name as CN only",
    leaf: await root.issue({ commonName: HOST, usage: "server" }),
    message: NOT_FOR,
  },
  {
    name: "that prints like one for the name",
    leaf: await root.issue({ names: ["x.example.com"], uris: [`http://a, DNS:${HOST}`] }),
    message: NOT_FOR,
  },
  { name: "for clients", leaf: await root.issue({ names: [HOST], usage: "client" }), message: UNTRUSTED },
  {
    name: "that has expired",
    leaf: await root.issue({
      names: [HOST],
      notBefore: new Date(Date.now() - 2 * HOUR_MS),
      notAfter: new Date(Date.now() - HOUR_MS),
    }),
    message: UNTRUSTED,
  },
  { name: "for another address", host: "127.0.0.2", leaf: good, message: NOT_FOR },
  {
    name: "for a name that reads like the address",
    host: "127.0.0.1",
    leaf: await root.issue({ names: ["127.0.0.1"] }),
    message: NOT_FOR,
  },
];

for (const { name, host = HOST, leaf, message } of REFUSED) {
  Deno.test(`a certificate ${name} is refused, and the connection closed`, async () => {
    using server = serveTls(leaf);
    const conn = await dial(server);
    const connecting = connectTls(conn, { host, ca: root.certificate });
    await assert.rejects(connecting, { code: "dial-failed", message });
    assert.throws(() => conn.close(), Deno.errors.BadResource);
  });
}

Deno.test("without CAs of its own, those of the runtime count, and ours is not among them", async () => {
  using server = serveTls(good);
  await assert.rejects(connectTls(await dial(server), { host: HOST }), { message: UNTRUSTED });
});

Deno.test("having believed a server under one CA, it is not believed under another", async () => {
  using server = serveTls(good);
  const first = await connectTls(await dial(server), { host: HOST, ca: root.certificate });
  await first.closeWrite();
  await readToEnd(first); // by now a ticket would have come
  first.close();
  const second = connectTls(await dial(server), { host: HOST, ca: stranger.certificate });
  await assert.rejects(second, { message: UNTRUSTED });
});

const USELESS = ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"];
for (const ca of USELESS) {
  Deno.test(`${JSON.stringify(ca)} is no CA, and nothing else is trusted instead`, async () => {
    await using server = startSilent();
    const conn = await dial(server);
    await assert.rejects(connectTls(conn, { host: HOST, ca }), { code: "certificate-invalid" });
    assert.throws(() => conn.close(), Deno.errors.BadResource);
  });
}

Deno.test("closing the connection ends a handshake that has stalled, and frees the socket", async () => {
  await using server = startSilent();
  const conn = await dial(server);
  const connecting = connectTls(conn, { host: HOST, ca: root.certificate });
  await until(() => server.accepted === 1, { what: "the connection" });
  conn.close();
  await assert.rejects(connecting, { code: "dial-failed" });
});

for (
  const { name, answer } of [
    { name: "leaves in mid-handshake", answer: () => {} },
    {
      name: "leaves in the middle of its answer",
      answer: (conn: Deno.TcpConn) => writeAll(conn, Uint8Array.of(22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3)),
    },
    {
      name: "speaks no TLS",
      answer: (conn: Deno.TcpConn) =>
        writeAll(conn, new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n")),
    },
  ]
) {
  Deno.test(`an upstream that ${name} is dial-failed`, async () => {
    await using server = serveTcp(async (conn) => {
      await conn.read(new Uint8Array(1024));
      await answer(conn);
    });
    const conn = await dial(server);
    await assert.rejects(connectTls(conn, { host: HOST, ca: root.certificate }), { code: "dial-failed" });
    assert.throws(() => conn.close(), Deno.errors.BadResource);
  });
}

Deno.test("a stream that is closed while its peer reads nothing gives its socket back at once", async () => {
  const { promise: done, resolve } = Promise.withResolvers<void>();
  using server = serveTls(good, () => done);
  const conn = await dial(server);
  const stream = await connectTls(conn, { host: HOST, ca: root.certificate });
  const writing = fill(stream);
  await until(() => writing.stuck(), { what: "the peer's buffers to be full" });
  stream.close();
  await assert.rejects(writing.done);
  assert.throws(() => conn.close(), Deno.errors.BadResource);
  resolve();
});

/** Writes until nobody takes any more. */
function fill(stream: ByteStream): { done: Promise<never>; stuck(): boolean } {
  let last = performance.now();
  const done = (async () => {
    const chunk = new Uint8Array(256 * 1024);
    for (;;) {
      await stream.write(chunk);
      last = performance.now();
    }
  })();
  done.catch(() => {});
  return { done, stuck: () => performance.now() - last > 100 };
}
