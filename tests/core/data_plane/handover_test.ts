import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import { DataPlane } from "../../../core/data_plane/data_plane.ts";
import { encodeTicket, type HandoverTicket, readTicket } from "../../../core/data_plane/handover.ts";
import { SharedLimits } from "../../../core/data_plane/limits.ts";
import { Listeners } from "../../../core/data_plane/listeners.ts";
import { encodeProxyV2 } from "../../../core/data_plane/preface/proxy_protocol.ts";
import { GatewayError } from "../../../core/errors.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import type { ConnectionInfo, Plugin } from "../../../core/plugin/contract.ts";
import { inlineHandle } from "../../../core/plugin/host.ts";
import { clientHello } from "../../bench/client_hello.ts";
import { readToEnd } from "../../support/echo.ts";
import { pipe } from "../../support/pipe.ts";
import { TEST_LIMITS } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { alertIn } from "../../support/wire.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const INTERNAL_ERROR = 80;

const SECRET = crypto.getRandomValues(new Uint8Array(32));
const INFO = {
  source: { address: "203.0.113.7", port: 4711 },
  destination: { address: "2001:db8::1", port: 443 },
};
const TICKET: HandoverTicket = {
  from: "data-plane-0",
  connection: "c-1",
  sslRequested: false,
  service: undefined,
};

const tickets: readonly [name: string, ticket: HandoverTicket][] = [
  ["a client's connection", TICKET],
  ["one that asked for PostgreSQL's TLS", { ...TICKET, sslRequested: true }],
  ["a stream to a service", { ...TICKET, service: { plugin: "p", purpose: "name:app.example.com" } }],
];

for (const [name, ticket] of tickets) {
  Deno.test(`a ticket of ${name} is read as it was written, however it comes`, async () => {
    const [from, to] = pipe({ carry: () => 7 });
    const reading = readTicket(to, SECRET);
    await writeAll(from, encodeTicket(SECRET, ticket, INFO));
    const handed = await reading;
    assert.deepEqual(handed?.ticket, ticket);
    assert.deepEqual(handed?.proxy.source, INFO.source);
    assert.deepEqual(handed?.proxy.destination, INFO.destination);
  });
}

const notOurs: readonly [name: string, bytes: Uint8Array][] = [
  ["another secret", encodeTicket(SECRET.map((byte) => byte ^ 1), TICKET, INFO)],
  ["half of the secret", encodeTicket(SECRET.subarray(0, 16), TICKET, INFO)],
  ["no secret", encodeProxyV2(INFO.source, INFO.destination)],
  ["an end in its middle", encodeTicket(SECRET, TICKET, INFO).subarray(0, 40)],
  ["PROXY v1", encode("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")],
  ["no PROXY header", encode("GET / HTTP/1.1\r\n")],
  ["a header over the limit", encodeTicket(SECRET, { ...TICKET, connection: "x".repeat(5000) }, INFO)],
];

for (const [name, bytes] of notOurs) {
  Deno.test(`a ticket with ${name} is none`, async () => {
    const [from, to] = pipe();
    await writeAll(from, bytes);
    await from.closeWrite();
    assert.equal(await readTicket(to, SECRET), undefined);
  });
}

/** Two data planes in this thread that know each other. Only the first has a public listener. */
class TwoPlanes implements AsyncDisposable {
  readonly events: LogEvent[] = [];
  readonly planes: readonly [DataPlane, DataPlane];
  readonly port: number;
  readonly handoverPort: number;

  constructor(first: Plugin, second: Plugin) {
    const settings = { limits: TEST_LIMITS, certificates: [], httpsPort: 8443, proxyFrom: {} };
    const make = (node: string, plugin: Plugin) => {
      const identity = {
        idPrefix: `${node}-`,
        node,
        handoverSecret: SECRET,
        sharedLimits: new SharedLimits().memory,
      };
      const plane = new DataPlane(
        identity,
        settings,
        createLog(node, "debug", (one) => this.events.push(one)),
      );
      plane.usePlugins([inlineHandle("p", { routeTimeoutMs: 5000 }, plugin)]);
      return plane;
    };
    this.planes = [make("one", first), make("two", second)];
    this.handoverPort = this.planes[1].listeners.listenForPlanes();
    this.planes[0].configure({ ...settings, nodes: { two: this.handoverPort } });
    this.port = this.planes[0].listeners.listen({
      address: "127.0.0.1:0",
      hostname: "127.0.0.1",
      port: 0,
      kind: "stream",
      proxyFrom: [],
      reusePort: false,
    });
  }

  connect(port = this.port): Promise<Deno.TcpConn> {
    return Deno.connect({ hostname: "127.0.0.1", port });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const plane of this.planes) await plane.close();
  }
}

/** Opens pipes, and gives their far ends to whoever asks for them. */
function pipes() {
  const waiting: ByteStream[] = [];
  return {
    open: (): Promise<ByteStream> => {
      const [near, far] = pipe();
      waiting.push(far);
      return Promise.resolve(near);
    },
    next: () => until(() => waiting.shift(), { what: "a stream" }),
  };
}

Deno.test("a connection that is handed over arrives as it came, with the client's own address", async () => {
  const { open, next } = pipes();
  const seen: ConnectionInfo[] = [];
  await using planes = new TwoPlanes(
    { route: () => ({ kind: "handover", node: "two" }) },
    {
      route(info) {
        seen.push(info);
        return { kind: "open", target: "app" };
      },
      open,
    },
  );
  using client = await planes.connect();
  const hello = clientHello("app.example.com");
  await writeAll(client, hello);
  const upstream = await next();
  const received = new Uint8Array(hello.length);
  for (let at = 0; at < received.length;) at += await upstream.read(received.subarray(at)) ?? Infinity;
  assert.deepEqual(received, hello);
  const [info] = seen;
  assert.equal(info?.tls?.serverName, "app.example.com");
  assert.deepEqual(info?.handedOver, { from: "one" });
  assert.deepEqual(info?.source, { address: "127.0.0.1", port: client.localAddr.port });
  assert.deepEqual(info?.destination, { address: "127.0.0.1", port: planes.port });
  await writeAll(upstream, encode("answer"));
  await upstream.closeWrite();
  assert.equal(decode(await readToEnd(client)), "answer");
  upstream.close();
});

Deno.test("who has been handed over is not handed over again", async () => {
  await using planes = new TwoPlanes(
    { route: () => ({ kind: "handover", node: "two" }) },
    { route: () => ({ kind: "handover", node: "one" }) },
  );
  using client = await planes.connect();
  await writeAll(client, clientHello("app.example.com"));
  assert.equal(alertIn(await readToEnd(client)), INTERNAL_ERROR);
});

Deno.test("without the secret nobody gets in where data planes meet", async () => {
  const { open } = pipes();
  let asked = 0;
  await using planes = new TwoPlanes({ route: () => undefined }, {
    route() {
      asked++;
      return { kind: "open", target: "app" };
    },
    open,
  });
  using stranger = await planes.connect(planes.handoverPort);
  await writeAll(stranger, encodeTicket(new Uint8Array(32), TICKET, INFO));
  await readToEnd(stranger);
  assert.equal(asked, 0);
  await until(() => planes.planes[1].size === 0, { what: "the end of the stranger's connection" });
});

Deno.test("a plugin's stream to itself on another data plane carries its purpose, and bytes as they are", async () => {
  const { open, next } = pipes();
  const seen: ConnectionInfo[] = [];
  await using planes = new TwoPlanes({ route: () => undefined }, {
    route(info) {
      seen.push(info);
      return { kind: "open", target: "app" };
    },
    open,
  });
  const info: ConnectionInfo = { ...INFO, id: "c-1", listener: "l", peer: INFO.source, protocol: "tls" };
  const stream = await planes.planes[0].openOn("p", "two", "name:app", info);
  const upstream = await next();
  await writeAll(upstream, encode("server first"));
  const buffer = new Uint8Array(64);
  assert.equal(decode(buffer.subarray(0, await stream.read(buffer) ?? 0)), "server first");
  assert.deepEqual(seen[0]?.handedOver, { from: "one", purpose: "name:app" });
  assert.deepEqual(seen[0]?.source, INFO.source);
  assert.equal(seen[0]?.protocol, "other");
  stream.close();
  assert.equal(await upstream.read(buffer), null);
  upstream.close();
});

Deno.test("a plugin's stream that cannot be opened on another data plane ends without a byte, which would be the service's", async () => {
  await using planes = new TwoPlanes({ route: () => undefined }, {
    route: () => ({ kind: "open", target: "app" }),
    open: () => Promise.reject(new GatewayError("dial-failed", "The agent has moved")),
  });
  const info: ConnectionInfo = { ...INFO, id: "c-1", listener: "l", peer: INFO.source, protocol: "tls" };
  const stream = await planes.planes[0].openOn("p", "two", "name:app", info);
  assert.equal(await stream.read(new Uint8Array(64)), null);
  stream.close();
});

Deno.test("a plugin gets no port on which the gateway itself listens, although data planes share their ports", async () => {
  const host = { accepted: (conn: Deno.TcpConn) => conn.close(), failed: () => {} };
  const listeners = new Listeners(host, true);
  const where = { hostname: "127.0.0.1", port: 0, reusePort: true };
  const port = listeners.listen({ ...where, address: "127.0.0.1:0", kind: "stream", proxyFrom: [] });
  for (const hostname of ["127.0.0.1", "0.0.0.0", "::"]) {
    assert.throws(() => listeners.listenFor("p", { hostname, port }), { code: "address-in-use" }, hostname);
  }
  const mine = listeners.listenFor("p", { hostname: "127.0.0.1", port: 0 });
  assert.throws(() => listeners.listenFor("q", { hostname: "127.0.0.1", port: mine.port }), GatewayError);
  mine.close();
  listeners.listenFor("q", { hostname: "127.0.0.1", port: mine.port });
  await listeners.stop();
});

Deno.test("a data plane that is not there is an upstream that cannot be reached", async () => {
  await using planes = new TwoPlanes({ route: () => ({ kind: "handover", node: "three" }) }, {
    route: () => undefined,
  });
  using client = await planes.connect();
  await writeAll(client, clientHello("app.example.com"));
  assert.equal(alertIn(await readToEnd(client)), INTERNAL_ERROR);
});

Deno.test("on a plugin's own listener it is asked before a byte is read, alone, by the port", async () => {
  const { open, next } = pipes();
  const seen: ConnectionInfo[] = [];
  await using planes = new TwoPlanes({ route: () => undefined }, {
    route(info) {
      seen.push(info);
      return { kind: "open", target: "ssh" };
    },
    open,
  });
  const listener = planes.planes[1].listeners.listenFor("p", { hostname: "127.0.0.1", port: 0 });
  using client = await planes.connect(listener.port);
  const upstream = await next();
  await writeAll(upstream, encode("SSH-2.0-first"));
  const buffer = new Uint8Array(64);
  assert.equal(decode(buffer.subarray(0, await client.read(buffer) ?? 0)), "SSH-2.0-first");
  assert.equal(seen[0]?.destination.port, listener.port);
  listener.close();
  listener.close();
  const isRefused = () =>
    planes.connect(listener.port).then(
      closeQuietly,
      (error) => error instanceof Deno.errors.ConnectionRefused,
    );
  await until(isRefused, { what: "the end of the listener" });
  await writeAll(client, encode("still there"));
  assert.equal(decode(buffer.subarray(0, await upstream.read(buffer) ?? 0)), "still there");
  upstream.close();
});

const HANDSHAKE_FAILURE = 40;
const failures: readonly [name: string, open: Plugin["open"], alert: number][] = [
  ["rejects", () => Promise.reject(new GatewayError("dial-failed", "No agent")), INTERNAL_ERROR],
  ["hangs", () => new Promise(() => {}), INTERNAL_ERROR],
  ["is not there", undefined, HANDSHAKE_FAILURE],
];

for (const [name, open, alert] of failures) {
  Deno.test(`a client whose stream cannot be opened, because open() ${name}, is told so`, async () => {
    await using planes = new TwoPlanes(
      { route: () => ({ kind: "open", target: "app" }), ...(open && { open }) },
      { route: () => undefined },
    );
    const [plane] = planes.planes;
    plane.configure({ ...plane.settings, limits: { ...TEST_LIMITS, connectTimeoutMs: 200 } });
    using client = await planes.connect();
    await writeAll(client, clientHello("app.example.com"));
    assert.equal(alertIn(await readToEnd(client)), alert);
  });
}

Deno.test("a stream that is opened too late is closed", async () => {
  const opening = Promise.withResolvers<ByteStream>();
  const called = Promise.withResolvers<void>();
  await using planes = new TwoPlanes({
    route: () => ({ kind: "open", target: "app" }),
    open: () => (called.resolve(), opening.promise),
  }, { route: () => undefined });
  const client = await planes.connect();
  await writeAll(client, clientHello("app.example.com"));
  await called.promise;
  planes.planes[0].closeConnection(planes.planes[0].rows(1)[0]?.id ?? "");
  const [near, far] = pipe();
  opening.resolve(near);
  assert.equal(await far.read(new Uint8Array(1)), null);
  client.close();
});
