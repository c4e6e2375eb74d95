import assert from "node:assert/strict";
import { connect as connectNode } from "node:net";
import { connect as connectNodeTls } from "node:tls";
import { writeAll } from "../../../core/byte_stream.ts";
import type {
  ClosedEvent,
  ConnectionInfo,
  Decision,
  DialEvent,
  Forward,
  Plugin,
  Terminate,
} from "../../../core/plugin/contract.ts";
import { createAuthority } from "../../support/certificates.ts";
import {
  readToEnd,
  serveTcp,
  startEcho,
  startReset,
  startSilent,
  type TestServer,
} from "../../support/echo.ts";
import { forwardAll, TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { ask, askText, connectTls, readExactly, testCertificate } from "./clients.ts";
import {
  bytes,
  HELLO,
  helloMessage,
  inRecords,
  PROXY_V1,
  proxyV2,
  SSL_REQUEST,
  STARTUP,
  V2_IPV4_BLOCK,
} from "./preface/samples.ts";

const NO_NAME_HELLO = inRecords(helloMessage({ extensions: [] }));
const HTTP = "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n";
const UNRECOGNIZED_NAME = [21, 3, 3, 0, 2, 2, 112], INTERNAL_ERROR = [21, 3, 3, 0, 2, 2, 80];

/** A plugin that answers as given, and writes down what it is told. */
function recording(answer: (connection: ConnectionInfo) => Decision | undefined, more: Partial<Plugin> = {}) {
  const asked: ConnectionInfo[] = [];
  const dialed: DialEvent[] = [];
  const closed: ClosedEvent[] = [];
  const plugin: Plugin = {
    route(connection) {
      asked.push(connection);
      return answer(connection);
    },
    dialed: (event) => void dialed.push(event),
    closed: (event) => void closed.push(event),
    ...more,
  };
  return { plugin, asked, dialed, closed };
}

/** Writes down all that each connection sends, up to its FIN. */
function recordingServer(): TestServer & { readonly seen: readonly Uint8Array[] } {
  const seen: Uint8Array[] = [];
  const server = serveTcp(async (conn) => void seen.push(await readToEnd(conn)));
  return Object.create(server, Object.getOwnPropertyDescriptors({ seen }));
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

function empty(gateway: TestPlane): Promise<unknown> {
  return until(() => gateway.plane.size === 0, { what: "the gateway to be empty" });
}

function loggedResults(gateway: TestPlane, event: string): unknown[] {
  return gateway.events.filter((one) => one.event === event).map(({ fields }) => fields.result);
}

// --- What a plugin is told

const PROXIED = {
  source: { address: "203.0.113.9", port: 56324 },
  destination: { address: "192.0.2.1", port: 443 },
};
const PROXIES = [
  { name: "a v1 header", header: PROXY_V1, shown: PROXIED },
  { name: "a v2 header", header: proxyV2(0x21, 0x11, V2_IPV4_BLOCK), shown: PROXIED },
  { name: "a LOCAL header", header: proxyV2(0x20, 0x00, new Uint8Array()), shown: undefined },
  { name: "an UNKNOWN header", header: bytes("PROXY UNKNOWN\r\n"), shown: undefined },
  { name: "no header", header: new Uint8Array(), shown: undefined },
];

for (const { name, header, shown } of PROXIES) {
  Deno.test(`with ${name} from a trusted peer, a plugin is shown who the client is`, async () => {
    const { plugin, asked } = recording(() => undefined);
    await using gateway = new TestPlane({ plugins: [plugin], proxyFrom: ["127.0.0.0/8"] });
    using client = await gateway.connect();
    const peer = { address: "127.0.0.1", port: client.localAddr.port };
    await writeAll(client, bytes(header, HELLO));
    await readToEnd(client);
    assert.deepEqual(asked, [{
      id: asked[0]?.id,
      listener: "127.0.0.1:0",
      source: shown?.source ?? peer,
      destination: shown?.destination ?? { address: "127.0.0.1", port: gateway.port },
      peer,
      protocol: "tls",
      tls: { serverName: "db.example.com", alpn: ["postgresql"], versions: [0x0304, 0x0303] },
    }]);
    assert.match(asked[0]?.id ?? "", /^t-/);
    assert.deepEqual(structuredClone(asked), asked, "plain data");
  });
}

for (const { name, header } of PROXIES.slice(0, 2)) {
  Deno.test(`${name} from a peer that is not trusted is refused, and nobody is asked`, async () => {
    const { plugin, asked } = recording(() => undefined);
    await using gateway = new TestPlane({ plugins: [plugin], proxyFrom: ["10.0.0.0/8"] });
    assert.match(new TextDecoder().decode(await ask(gateway, bytes(header, HELLO))), /PROXY/);
    assert.equal(gateway.counted("rejected_total", { reason: "proxy_protocol_refused" }), 1);
    assert.deepEqual(asked, []);
  });
}

Deno.test("a reload changes whose PROXY header is believed", async () => {
  const { plugin, asked } = recording(() => undefined);
  await using gateway = new TestPlane({ plugins: [plugin] });
  const { limits } = gateway.plane.queues;
  const settings = { limits, certificates: [], httpsPort: 443, proxyFrom: { "127.0.0.1:0": ["127.0.0.1"] } };
  gateway.plane.configure(settings);
  await ask(gateway, bytes(PROXY_V1, HELLO));
  assert.deepEqual(asked.map(({ source }) => source.address), ["203.0.113.9"]);
});

Deno.test("every connection has an id of its own, the same from the plugin to the log and the events", async () => {
  await using echo = startEcho();
  const { plugin, asked, dialed, closed } = recording(() => ({ kind: "forward", to: echo.target }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  for (let i = 0; i < 3; i++) {
    using client = await gateway.connect();
    await writeAll(client, bytes(HTTP));
    await readExactly(client, HTTP.length);
    assert.deepEqual(gateway.plane.rows(10).map(({ id, state }) => [id, state]), [[
      asked[i]?.id,
      "relaying",
    ]]);
    client.close();
    await empty(gateway);
  }
  const ids = asked.map(({ id }) => id);
  assert.equal(new Set(ids).size, 3);
  assert.deepEqual(dialed.map(({ connection }) => connection), ids);
  assert.deepEqual(closed.map(({ connection }) => connection), ids);
  for (const event of ["connection_opened", "connection_closed"]) {
    const logged = gateway.events.filter((one) => one.event === event);
    assert.deepEqual(logged.map(({ fields }) => fields.connection), ids);
  }
});

// --- What the upstream gets

const FORWARDED: readonly {
  name: string;
  forward: Partial<Forward>;
  header: Uint8Array;
  expected: Uint8Array;
}[] = [
  { name: "off", forward: {}, header: PROXY_V1, expected: new Uint8Array() },
  {
    name: "v1",
    forward: { proxyProtocol: "v1" },
    header: proxyV2(0x21, 0x11, V2_IPV4_BLOCK),
    expected: PROXY_V1,
  },
  {
    name: "v2",
    forward: { proxyProtocol: "v2" },
    header: PROXY_V1,
    expected: proxyV2(0x21, 0x11, V2_IPV4_BLOCK),
  },
  { name: "pass", forward: { proxyProtocol: "pass" }, header: PROXY_V1, expected: PROXY_V1 },
  {
    name: "pass with TLVs",
    forward: { proxyProtocol: "pass" },
    header: proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, 0xea, 0, 1, 7)),
    expected: proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, 0xea, 0, 1, 7)),
  },
  {
    name: "v2 with a TLV of the plugin's",
    forward: { proxyProtocol: "v2", tlvs: [{ type: 0xe0, value: bytes("id") }] },
    header: proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, 0xea, 0, 1, 7)),
    expected: proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, 0xe0, 0, 2, "id")),
  },
  {
    name: "pass of nothing",
    forward: { proxyProtocol: "pass" },
    header: new Uint8Array(),
    expected: new Uint8Array(),
  },
];

for (const { name, forward, header, expected } of FORWARDED) {
  Deno.test(`proxyProtocol ${name}: the upstream gets just that, then every byte of the client`, async () => {
    await using upstream = recordingServer();
    const { plugin, closed } = recording(() => ({ kind: "forward", to: upstream.target, ...forward }));
    await using gateway = new TestPlane({ plugins: [plugin], proxyFrom: ["127.0.0.1"] });
    using client = await gateway.connect();
    await writeAll(client, bytes(header, HELLO, "more"));
    await client.closeWrite();
    await readToEnd(client);
    await empty(gateway);
    assert.deepEqual(upstream.seen, [bytes(expected, HELLO, "more")]);
    assert.equal(closed[0]?.bytesIn, HELLO.length + 4, "the client's bytes are counted, headers are not");
  });
}

async function connectPostgres(gateway: TestPlane): Promise<Deno.TcpConn> {
  const client = await gateway.connect();
  await writeAll(client, SSL_REQUEST);
  assert.deepEqual([...await readExactly(client, 1)], [..."S"].map((s) => s.charCodeAt(0)));
  return client;
}

for (const proxyProtocol of ["off", "v1"] as const) {
  Deno.test(`PostgreSQL's TLS is passed through behind an SSLRequest of our own, PROXY header ${proxyProtocol}`, async () => {
    const seen: Uint8Array[] = [];
    await using upstream = serveTcp(async (conn) => {
      const first = new Uint8Array(1000);
      seen.push(first.subarray(0, await conn.read(first) ?? 0));
      await writeAll(conn, bytes("S"));
      seen.push(await readToEnd(conn));
      await writeAll(conn, bytes("server hello"));
    });
    const { plugin, asked } = recording(() => ({ kind: "forward", to: upstream.target, proxyProtocol }));
    await using gateway = new TestPlane({ plugins: [plugin] });
    using client = await connectPostgres(gateway);
    await writeAll(client, HELLO);
    await client.closeWrite();
    assert.deepEqual(await readToEnd(client), bytes("server hello"), "the upstream's S is not the client's");
    const header = proxyProtocol === "off"
      ? ""
      : `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localAddr.port} ${gateway.port}\r\n`;
    assert.deepEqual(seen, [bytes(header, SSL_REQUEST), HELLO]);
    assert.deepEqual([asked[0]?.protocol, asked[0]?.tls?.serverName], ["postgres", "db.example.com"]);
  });
}

const NO_TLS_UPSTREAMS = [
  { name: "N", answer: bytes("N"), failure: /does not offer TLS/ },
  { name: "an error packet", answer: bytes("E", 0, 0, 0, 10, "SFATAL"), failure: /does not offer TLS/ },
  { name: "S and bytes behind it", answer: bytes("Sabc"), failure: /bytes behind/ },
  { name: "a close", answer: new Uint8Array(), failure: /closed the connection/ },
];

for (const { name, answer, failure } of NO_TLS_UPSTREAMS) {
  Deno.test(`a PostgreSQL upstream that answers ${name}: the client gets a TLS alert, the upstream no hello`, async () => {
    const seen: Uint8Array[] = [];
    await using upstream = serveTcp(async (conn) => {
      seen.push(await readExactly(conn, SSL_REQUEST.length));
      await writeAll(conn, answer);
      if (answer.length > 0) seen.push(await readToEnd(conn));
    });
    const { plugin, dialed } = recording(() => ({ kind: "forward", to: upstream.target }));
    await using gateway = new TestPlane({ plugins: [plugin] });
    using client = await connectPostgres(gateway);
    await writeAll(client, HELLO);
    assert.deepEqual([...await readToEnd(client)], INTERNAL_ERROR);
    client.close();
    await empty(gateway);
    assert.deepEqual(bytes(...seen), SSL_REQUEST);
    assert.equal(dialed.length, 1);
    assert.match(dialed[0]?.failure ?? "", failure);
  });
}

// --- Dialing

Deno.test("the next target is tried when one refuses; each attempt is told once", async () => {
  await using echo = startEcho();
  const dead = [`127.0.0.1:${freePort()}`, "127.0.0.1:not-a-port"];
  const { plugin, dialed, closed } = recording(() => ({ kind: "forward", to: [...dead, echo.target] }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readExactly(client, HTTP.length);
  assert.deepEqual(gateway.plane.rows(1).map(({ target }) => target), [echo.target]);
  client.close();
  await empty(gateway);
  assert.deepEqual(dialed.map(({ target, failure }) => [target, failure === undefined]), [
    [dead[0], false],
    [dead[1], false],
    [echo.target, true],
  ]);
  assert.deepEqual(closed.map(({ result, bytesIn, bytesOut }) => [result, bytesIn, bytesOut]), [
    ["ok", HTTP.length, HTTP.length],
  ]);
  assert.equal(gateway.counted("connections_active"), 0);
});

Deno.test("a client waits for a few targets and no more", async () => {
  const { plugin, dialed } = recording(() => ({
    kind: "forward",
    to: Array.from({ length: 50 }, () => `127.0.0.1:${freePort()}`),
  }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  assert.match(await askText(gateway, HTTP), /^HTTP\/1\.1 502 /);
  assert.equal(dialed.length, 4);
});

const REFUSED_CLIENTS: readonly { name: string; opening: Uint8Array; answer: RegExp | number[] }[] = [
  { name: "TLS", opening: HELLO, answer: INTERNAL_ERROR },
  { name: "HTTP", opening: bytes(HTTP), answer: /^HTTP\/1\.1 502 Bad Gateway\r\n/ },
  { name: "PostgreSQL without TLS", opening: STARTUP, answer: /^E[^]*C08006/ },
  { name: "SSH", opening: bytes("SSH-2.0-x\r\n"), answer: /^The service cannot be reached\r\n$/ },
];

function check(answer: Uint8Array, expected: RegExp | number[]): void {
  if (Array.isArray(expected)) assert.deepEqual([...answer], expected);
  else assert.match(new TextDecoder().decode(answer), expected);
}

for (const { name, opening, answer } of REFUSED_CLIENTS) {
  Deno.test(`a target that refuses: a client of ${name} is told in its own protocol`, async () => {
    const { plugin, dialed, closed } = recording(() => ({ kind: "forward", to: `127.0.0.1:${freePort()}` }));
    await using gateway = new TestPlane({ plugins: [plugin] });
    check(await ask(gateway, opening), answer);
    await empty(gateway);
    assert.equal(dialed.length, 1);
    assert.deepEqual(closed.map(({ result }) => result), ["connect_failed"]);
    assert.equal(gateway.counted("rejected_total", { reason: "connect_failed" }), 1);
    assert.deepEqual(loggedResults(gateway, "connection_refused"), ["connect_failed"]);
    assert.deepEqual(loggedResults(gateway, "connection_closed"), []);
  });
}

Deno.test("a target that does not answer in time is 504, and the connection is not leaked", async () => {
  const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port } = full.addr;
  const waiting: Deno.TcpConn[] = [];
  for (let isFull = false; !isFull;) {
    const signal = AbortSignal.timeout(100);
    await Deno.connect({ hostname: "127.0.0.1", port, signal })
      .then((conn) => waiting.push(conn), () => isFull = true);
  }
  const { plugin, dialed } = recording(() => ({ kind: "forward", to: `127.0.0.1:${port}` }));
  await using gateway = new TestPlane({ plugins: [plugin], limits: { connectTimeoutMs: 100 } });
  assert.match(await askText(gateway, HTTP), /^HTTP\/1\.1 504 Gateway Timeout\r\n/);
  assert.equal(gateway.counted("rejected_total", { reason: "connect_timeout" }), 1);
  assert.deepEqual(dialed.map(({ failure }) => failure), ["No answer in time"]);
  waiting.forEach((conn) => conn.close());
  full.close();
});

Deno.test("the connect timeout covers the greeting: a PostgreSQL upstream that never answers is one that is not there", async () => {
  await using upstream = startSilent();
  const { plugin } = recording(() => ({ kind: "forward", to: upstream.target }));
  await using gateway = new TestPlane({ plugins: [plugin], limits: { connectTimeoutMs: 100 } });
  using client = await connectPostgres(gateway);
  await writeAll(client, HELLO);
  assert.deepEqual([...await readToEnd(client)], INTERNAL_ERROR);
  assert.equal(gateway.counted("rejected_total", { reason: "connect_timeout" }), 1);
});

Deno.test("an upstream that resets at once ends the client's connection", async () => {
  await using upstream = await startReset();
  const { plugin, closed } = recording(() => ({ kind: "forward", to: upstream.target }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  assert.equal(await askText(gateway, HTTP), "");
  await empty(gateway);
  assert.deepEqual(closed.map(({ result }) => result), ["upstream_reset"]);
});

// --- Nobody takes it, or who might have does not work

const UNROUTED: readonly { name: string; opening: Uint8Array; answer: RegExp | number[]; reason: string }[] =
  [
    { name: "TLS", opening: HELLO, answer: UNRECOGNIZED_NAME, reason: "unknown_name" },
    {
      name: "TLS without a name",
      opening: NO_NAME_HELLO,
      answer: UNRECOGNIZED_NAME,
      reason: "no_server_name",
    },
    {
      name: "PostgreSQL without TLS",
      opening: STARTUP,
      answer: /C28000\0M[^\0]*sslmode=require/,
      reason: "no_server_name",
    },
    { name: "HTTP", opening: bytes(HTTP), answer: /^HTTP\/1\.1 404 /, reason: "no_route" },
    {
      name: "SSH",
      opening: bytes("SSH-2.0-x\r\n"),
      answer: /^No service here [^\n]*\r\n$/,
      reason: "no_route",
    },
    {
      name: "something else",
      opening: bytes(1, 2, 3),
      answer: /^No service here [^\n]*\r\n$/,
      reason: "no_route",
    },
  ];

for (const { name, opening, answer, reason } of UNROUTED) {
  Deno.test(`${name} that no plugin takes is refused as ${reason}, in its own protocol`, async () => {
    await using gateway = new TestPlane({ plugins: [{ route: () => undefined }] });
    check(await ask(gateway, opening), answer);
    await empty(gateway);
    assert.equal(gateway.counted("rejected_total", { reason }), 1);
    assert.equal(gateway.counted("connections_total", { plugin: "none", result: reason }), 1);
  });
}

Deno.test("a name that nobody routes is logged once, and counted each time", async () => {
  await using gateway = new TestPlane({});
  for (let i = 0; i < 5; i++) await ask(gateway, HELLO);
  assert.equal(gateway.counted("rejected_total", { reason: "unknown_name" }), 5);
  assert.equal(loggedResults(gateway, "connection_refused").length, 1);
});

Deno.test("a plugin that fails lets nobody in, and the next one is not asked", async () => {
  const next = recording(() => ({ kind: "reject", reason: "forbidden" }));
  const broken: Plugin = { route: () => Promise.reject(new Error("The database is down")) };
  await using gateway = new TestPlane({ plugins: [broken, next.plugin] });
  assert.match(await askText(gateway, HTTP), /^HTTP\/1\.1 502 /);
  assert.deepEqual([...await ask(gateway, HELLO)], INTERNAL_ERROR);
  assert.deepEqual(next.asked, []);
  assert.equal(gateway.counted("rejected_total", { reason: "plugin_failed" }), 2);
  const faults = gateway.events.filter(({ event }) => event === "plugin_fault");
  assert.deepEqual(faults.map(({ fields }) => [fields.plugin, fields.reason]), [
    ["plugin-0", "The database is down"],
    ["plugin-0", "The database is down"],
  ]);
});

Deno.test("a plugin that does not answer in time is 504, and its signal is aborted", async () => {
  let signal: AbortSignal | undefined;
  const slow: Plugin = {
    route: (_, options) => {
      signal = options.signal;
      return new Promise(() => {});
    },
  };
  await using gateway = new TestPlane({ plugins: [slow], traits: { routeTimeoutMs: 50 } });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  const answer = await readExactly(client, 12);
  assert.equal(new TextDecoder().decode(answer), "HTTP/1.1 504");
  assert.equal(signal?.aborted, true, "before the client has left");
  assert.equal(gateway.counted("rejected_total", { reason: "timeout" }), 1);
});

Deno.test("a hook that throws ends nothing and leaks nothing", async () => {
  await using echo = startEcho();
  const thrower = () => {
    throw new Error("A bug in the hook");
  };
  const plugin = forwardAll(echo.address.port, { dialed: thrower, closed: thrower });
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  assert.deepEqual(await readExactly(client, HTTP.length), bytes(HTTP));
  client.close();
  await empty(gateway);
  const faults = gateway.events.filter(({ event }) => event === "plugin_fault");
  assert.deepEqual(faults.map(({ fields }) => fields.hook), ["dialed", "closed"]);
});

// --- Reject and handle

Deno.test("a plugin's reject is told to the client, its detail only to the log", async () => {
  const { plugin, closed } = recording(() => ({
    kind: "reject",
    reason: "forbidden",
    detail: "not in team 7",
  }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  const answer = await askText(gateway, HTTP);
  assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
  assert.doesNotMatch(answer, /team/);
  await empty(gateway);
  assert.deepEqual(closed.map(({ result }) => result), ["forbidden"]);
  const [refused] = gateway.events.filter(({ event }) => event === "connection_refused");
  assert.deepEqual([refused?.fields.detail, refused?.fields.plugin], ["not in team 7", "plugin-0"]);
});

Deno.test("a refused client keeps its answer though it goes on sending", async () => {
  await using gateway = new TestPlane({});
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await writeAll(client, new Uint8Array(50_000));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^HTTP\/1\.1 404 [^]*\n$/);
});

Deno.test("a refused client that does not leave is closed after a moment", async () => {
  await using gateway = new TestPlane({});
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readToEnd(client);
  assert.equal(gateway.plane.size, 1, "it may still be taking its answer");
  await empty(gateway);
});

Deno.test("a plugin that handles a stream gets every byte from the first, and its counts are kept", async () => {
  const { plugin, closed } = recording(() => ({ kind: "handle" }), {
    async handle(stream, connection) {
      const request = await readToEnd(stream);
      await writeAll(stream, bytes(`${connection.protocol} `, request.toReversed()));
      stream.close();
    },
  });
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes("GET /abc"));
  await client.closeWrite();
  assert.equal(new TextDecoder().decode(await readToEnd(client)), "http cba/ TEG");
  await empty(gateway);
  assert.deepEqual(closed.map(({ result, bytesIn, bytesOut }) => [result, bytesIn, bytesOut]), [[
    "ok",
    8,
    13,
  ]]);
  assert.equal(gateway.counted("bytes_total", { direction: "in" }), 8);
});

Deno.test("a stream that a plugin is handling ends with the connection: its signal and its reads", async () => {
  let signal: AbortSignal | undefined;
  let failure: unknown;
  const { plugin, closed } = recording(() => ({ kind: "handle" }), {
    async handle(stream, _, options) {
      signal = options.signal;
      await stream.read(new Uint8Array(1000));
      failure = await stream.read(new Uint8Array(1)).catch((error) => error);
    },
  });
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await until(() => signal, { what: "the plugin to handle" });
  const [row] = gateway.plane.rows(1);
  assert.equal(row?.state, "handling");
  assert.ok(gateway.plane.closeConnection(row?.id ?? ""));
  assert.equal(signal?.aborted, true);
  await empty(gateway);
  assert.ok(failure instanceof Deno.errors.Interrupted);
  assert.deepEqual(closed.map(({ result }) => result), ["closed_by_admin"]);
});

Deno.test("a plugin that fails while it handles a stream is logged, and the connection is over", async () => {
  const { plugin } = recording(() => ({ kind: "handle" }), {
    handle: () => Promise.reject(new Error("A bug")),
  });
  await using gateway = new TestPlane({ plugins: [plugin] });
  await ask(gateway, bytes(HTTP)).catch((error) => assert.ok(error instanceof Deno.errors.ConnectionReset));
  await empty(gateway);
  assert.deepEqual(
    gateway.events.filter(({ event }) => event === "connection_error").map(({ fields }) => fields.reason),
    ["A bug"],
  );
});

Deno.test("a plugin that answers handle and cannot is refused", async () => {
  await using gateway = new TestPlane({ plugins: [{ route: () => ({ kind: "handle" }) }] });
  assert.match(await askText(gateway, HTTP), /^HTTP\/1\.1 501 /);
});

// --- Terminating TLS

/** A gateway with a certificate for `app.example.com`, whose plugin answers as given. */
async function terminating(answer: (connection: ConnectionInfo) => Decision | undefined, options = {}) {
  const { material } = await testCertificate();
  const recorded = recording(answer);
  const gateway = new TestPlane({ plugins: [recorded.plugin], certificates: [material], ...options });
  return { ...recorded, gateway, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

function thenForward(to: string): () => Terminate {
  return () => ({ kind: "terminate", then: { kind: "forward", to } });
}

Deno.test("terminate, then forward: the upstream gets what was inside the TLS", async () => {
  await using upstream = serveTcp(async (conn) => {
    const request = await readToEnd(conn);
    await writeAll(conn, request.toReversed());
  });
  await using behind = await terminating(thenForward(upstream.target));
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes("abcdef"));
  await client.closeWrite();
  assert.deepEqual(await readToEnd(client), bytes("fedcba"));
  await empty(behind.gateway);
  assert.equal(behind.asked.length, 1);
  assert.deepEqual(behind.closed.map(({ result, bytesIn, bytesOut }) => [result, bytesIn, bytesOut]), [[
    "ok",
    6,
    6,
  ]]);
});

Deno.test("terminate alone: the same plugin is asked again, with what the handshake has shown", async () => {
  await using echo = startEcho();
  await using behind = await terminating(({ terminated }) =>
    terminated ? { kind: "forward", to: echo.target } : { kind: "terminate", minVersion: "TLSv1.3" }
  );
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes("ping"));
  assert.deepEqual(await readExactly(client, 4), bytes("ping"));
  const [first, second] = behind.asked;
  assert.deepEqual(second, { ...first, terminated: { version: "TLSv1.3" } });
  assert.equal(behind.gateway.counted("connections_active"), 1);
});

Deno.test("PostgreSQL behind terminated TLS is plain for the upstream", async () => {
  await using upstream = recordingServer();
  await using behind = await terminating(thenForward(upstream.target));
  using client = await connectTls(behind.gateway, await connectPostgres(behind.gateway));
  await writeAll(client, STARTUP);
  await client.closeWrite();
  await readToEnd(client);
  await empty(behind.gateway);
  assert.deepEqual(upstream.seen, [STARTUP]);
});

const INNER: readonly { name: string; decision: () => Decision; answer: RegExp }[] = [
  {
    name: "a target that refuses",
    decision: () => thenForward(`127.0.0.1:${freePort()}`)(),
    answer: /^HTTP\/1\.1 502 /,
  },
  {
    name: "a plugin's timeout",
    decision: () => ({ kind: "terminate", then: { kind: "reject", reason: "timeout" } }),
    answer: /^HTTP\/1\.1 504 /,
  },
  {
    name: "forbidden",
    decision: () => ({ kind: "terminate", then: { kind: "reject", reason: "forbidden" } }),
    answer: /^HTTP\/1\.1 403 /,
  },
];

for (const { name, decision, answer } of INNER) {
  Deno.test(`${name} behind terminated TLS is told in HTTP within it`, async () => {
    await using behind = await terminating(decision);
    using client = await connectTls(behind.gateway);
    await writeAll(client, bytes(HTTP));
    assert.match(new TextDecoder().decode(await readToEnd(client)), answer);
  });
}

Deno.test("PostgreSQL behind terminated TLS is refused by an error packet within it", async () => {
  await using behind = await terminating(thenForward(`127.0.0.1:${freePort()}`));
  using client = await connectTls(behind.gateway, await connectPostgres(behind.gateway));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^E[^]*C08006/);
});

Deno.test("a plugin that takes the connection no more behind the handshake has forbidden it", async () => {
  await using behind = await terminating(({ terminated }) => terminated ? undefined : { kind: "terminate" });
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes(HTTP));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^HTTP\/1\.1 403 /);
  client.close();
  await empty(behind.gateway);
  assert.equal(behind.closed.length, 1);
});

Deno.test("a plugin that answers terminate for ever is refused", async () => {
  await using behind = await terminating(() => ({ kind: "terminate" }));
  using client = await connectTls(behind.gateway);
  await writeAll(client, bytes(HTTP));
  assert.match(new TextDecoder().decode(await readToEnd(client)), /^HTTP\/1\.1 501 /);
});

for (const leave of ["stays silent", "leaves", "resets"] as const) {
  Deno.test(`a client that is refused within its TLS and ${leave} does no harm`, async () => {
    await using behind = await terminating(thenForward(`127.0.0.1:${freePort()}`));
    const { gateway } = behind;
    const conn = leave === "resets" ? await relayedByNode(gateway.port) : undefined;
    using client = await connectTls(gateway, conn?.near ?? await gateway.connect());
    await until(() => gateway.counted("rejected_total", { reason: "connect_failed" }) === 1, {
      what: "the refusal",
    });
    if (leave === "leaves") client.close();
    conn?.reset();
    await empty(gateway);
    assert.deepEqual(behind.closed.map(({ result }) => result), ["connect_failed"]);
    conn?.close();
    // The gateway is still there for others.
    assert.deepEqual([...await ask(gateway, HELLO)], UNRECOGNIZED_NAME);
  });
}

/** A connection to `port` by way of a node socket, which can be reset. */
async function relayedByNode(port: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const middle = await listener.accept();
  listener.close();
  const far = connectNode(port, "127.0.0.1");
  far.on("error", () => {});
  far.on("data", (chunk) => void writeAll(middle, chunk).catch(() => {}));
  (async () => {
    const buffer = new Uint8Array(4096);
    for (let n; (n = await middle.read(buffer)) !== null;) far.write(buffer.slice(0, n));
  })().catch(() => {});
  return {
    near,
    reset: () => far.resetAndDestroy(),
    close() {
      middle.close();
    },
  };
}

Deno.test("there is no certificate for a name that the gateway was given none for", async () => {
  await using behind = await terminating(() => ({ kind: "terminate" }));
  assert.deepEqual([...await ask(behind.gateway, HELLO)], UNRECOGNIZED_NAME);
  assert.deepEqual([...await ask(behind.gateway, NO_NAME_HELLO)], UNRECOGNIZED_NAME);
  assert.equal(behind.gateway.counted("rejected_total", { reason: "unknown_name" }), 1);
  assert.equal(behind.gateway.counted("rejected_total", { reason: "no_server_name" }), 1);
});

Deno.test("what has no TLS cannot be terminated", async () => {
  await using behind = await terminating(() => ({ kind: "terminate" }));
  assert.match(await askText(behind.gateway, HTTP), /^HTTP\/1\.1 501 /);
});

for (
  const { name, version, issued, told, result } of [
    {
      name: "no certificate",
      version: "TLSv1.3",
      issued: false,
      told: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
      result: "tls_no_certificate",
    },
    {
      name: "a certificate of another CA",
      version: "TLSv1.2",
      issued: true,
      told: "ALERT_UNKNOWN_CA",
      result: "tls_bad_certificate",
    },
    {
      name: "a certificate of another CA",
      version: "TLSv1.3",
      issued: true,
      told: "HTTP/1.1 403 ",
      result: "tls_bad_certificate",
    },
  ] as const
) {
  Deno.test(`a client with ${name} (${version}) is told so, is counted as ${result}, and reaches nothing`, async () => {
    const { authority } = await testCertificate();
    await using upstream = recordingServer();
    await using behind = await terminating(() => ({
      ...thenForward(upstream.target)(),
      clientCertificate: { mode: "require", ca: authority.certificate },
    }));
    const stranger = issued ? await (await createAuthority()).issue({ usage: "client" }) : undefined;
    const heard = await new Promise<string>((resolve) => {
      const socket = connectNodeTls({
        port: behind.gateway.port,
        host: "127.0.0.1",
        servername: "app.example.com",
        ca: authority.certificate,
        maxVersion: version,
        ...(stranger && { cert: stranger.certificate, key: stranger.key }),
      }, () => socket.write(HTTP));
      let text = "";
      socket.on("data", (chunk: Uint8Array) => text += new TextDecoder().decode(chunk));
      socket.on("error", (error: Error & { code?: string }) => text += error.code ?? error.message);
      socket.on("close", () => resolve(text));
      socket.on("end", () => socket.end());
    });
    assert.ok(heard.includes(told), heard);
    await empty(behind.gateway);
    assert.equal(upstream.accepted, 0);
    assert.deepEqual(behind.closed.map((event) => event.result), [result]);
    assert.equal(behind.gateway.counted("rejected_total", { reason: result }), 1);
    assert.deepEqual(loggedResults(behind.gateway, "connection_refused"), [result]);
  });
}

Deno.test("a CA that is no CA is the plugin's fault: the client gets an alert, and nobody gets in", async () => {
  const clientCertificate = { mode: "require" as const, ca: "not a certificate" };
  await using behind = await terminating(() => ({ kind: "terminate", clientCertificate }));
  const hello = inRecords(helloMessage({
    extensions: [Uint8Array.fromHex("0000001400120000" + "0f" + bytes("app.example.com").toHex())],
  }));
  assert.deepEqual([...await ask(behind.gateway, hello)], INTERNAL_ERROR);
  assert.equal(behind.gateway.events.filter(({ event }) => event === "plugin_fault").length, 1);
});

// --- Ending connections from outside

Deno.test("closing a relayed connection by its id ends both sides of it and nothing else", async () => {
  await using echo = startEcho();
  const { plugin, closed } = recording(() => ({ kind: "forward", to: echo.target }));
  await using gateway = new TestPlane({ plugins: [plugin] });
  using doomed = await gateway.connect();
  using spared = await gateway.connect();
  for (const client of [doomed, spared]) {
    await writeAll(client, bytes(HTTP));
    await readExactly(client, HTTP.length);
  }
  const row = gateway.plane.rows(10).find(({ source }) => source.endsWith(`:${doomed.localAddr.port}`));
  assert.equal(gateway.plane.closeConnection("no such id"), false);
  assert.equal(gateway.plane.closeConnection(row?.id ?? ""), true);
  assert.equal(await doomed.read(new Uint8Array(1)), null);
  await until(() => echo.open === 1, { what: "the upstream's side to be closed" });
  assert.deepEqual(closed.map(({ result }) => result), ["closed_by_admin"]);
  await writeAll(spared, bytes("still here"));
  assert.deepEqual(await readExactly(spared, 10), bytes("still here"));
});

Deno.test("a connection can be closed while a plugin thinks about it: the signal says so, and nothing is dialed", async () => {
  await using echo = startEcho();
  let signal: AbortSignal | undefined;
  const answer = Promise.withResolvers<Decision>();
  const dialed: DialEvent[] = [];
  const plugin: Plugin = {
    route(_, options) {
      signal = options.signal;
      return answer.promise;
    },
    dialed: (event) => void dialed.push(event),
  };
  await using gateway = new TestPlane({ plugins: [plugin] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await until(() => signal, { what: "the plugin to be asked" });
  gateway.plane.closeConnection(gateway.plane.rows(1)[0]?.id ?? "");
  assert.equal(signal?.aborted, true);
  await empty(gateway);
  answer.resolve({ kind: "forward", to: echo.target });
  assert.equal(await client.read(new Uint8Array(1)), null);
  assert.deepEqual(dialed, []);
  assert.equal(gateway.counted("rejected_total"), 0, "no refusal, and no fault of the plugin");
});

Deno.test("a connection can be closed before it has said anything", async () => {
  await using gateway = new TestPlane({});
  using client = await gateway.connect();
  await until(() => gateway.plane.size === 1, { what: "the connection" });
  const [row] = gateway.plane.rows(1);
  assert.equal(row?.state, "preface");
  gateway.plane.closeConnection(row?.id ?? "");
  assert.equal(await client.read(new Uint8Array(1)), null);
  await empty(gateway);
  assert.equal(gateway.counted("connections_total", { plugin: "none", result: "closed_by_admin" }), 1);
});

Deno.test("draining: nothing new comes in, what is open goes on to its own end, and all who wait are told", async () => {
  await using echo = startEcho();
  await using gateway = new TestPlane({ plugins: [forwardAll(echo.address.port)] });
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readExactly(client, HTTP.length);
  gateway.plane.stopAccepting();
  let told = 0;
  const waiting = [gateway.plane.whenEmpty(), gateway.plane.whenEmpty()].map((one) => one.then(() => told++));
  await assert.rejects(
    gateway.connect(),
    (error) => error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.ConnectionReset,
  );
  await writeAll(client, bytes("more"));
  assert.deepEqual(await readExactly(client, 4), bytes("more"));
  assert.equal(told, 0);
  client.close();
  await Promise.all(waiting);
  await gateway.plane.whenEmpty();
});

Deno.test("close() ends all at once, in whatever state, and may be called again", async () => {
  await using echo = startEcho();
  const { plugin, closed } = recording(({ protocol }) => ({
    kind: "forward",
    to: protocol === "http" ? echo.target : "127.0.0.1:1",
  }));
  const gateway = new TestPlane({ plugins: [plugin] });
  const [relaying, silent, justNow] = [
    await gateway.connect(),
    await gateway.connect(),
    await gateway.connect(),
  ];
  await writeAll(relaying, bytes(HTTP));
  await readExactly(relaying, HTTP.length);
  const drained = gateway.plane.whenEmpty();
  await Promise.all([gateway.plane.close(), gateway.plane.close(), drained]);
  await gateway.plane.close();
  for (const client of [relaying, silent, justNow]) {
    assert.equal(await client.read(new Uint8Array(1)).catch(() => null), null);
    client.close();
  }
  assert.equal(gateway.plane.size, 0);
  assert.deepEqual(closed.map(({ result }) => result), ["drained"]);
});

// --- Accepting

Deno.test("clients that reset before they are accepted do not hold up the others", async () => {
  await using echo = startEcho();
  await using gateway = new TestPlane({ plugins: [forwardAll(echo.address.port)] });
  const strangers = Array.from({ length: 100 }, () => {
    const socket = connectNode(gateway.port, "127.0.0.1", () => socket.resetAndDestroy());
    socket.on("error", () => {});
    return new Promise((resolve) => socket.on("close", resolve));
  });
  await Promise.all(strangers);
  const before = performance.now();
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readExactly(client, HTTP.length);
  assert.ok(performance.now() - before < 1000, "each of them would cost 50 ms");
  assert.deepEqual(gateway.events.filter(({ event }) => event === "accept_failed"), []);
  client.close();
  await empty(gateway);
});

Deno.test("accepting goes on after the system is out of file descriptors, which is logged once", async () => {
  const listen = Deno.listen;
  let failures = 3;
  const stub = (options: Deno.TcpListenOptions & { transport?: "tcp" }) => {
    const listener = listen(options);
    const accept = listener.accept.bind(listener);
    listener.accept = () =>
      failures-- > 0 ? Promise.reject(new Error("Too many open files (os error 24)")) : accept();
    return listener;
  };
  await using echo = startEcho();
  Deno.listen = stub as typeof Deno.listen;
  const gateway = new TestPlane({ plugins: [forwardAll(echo.address.port)] });
  Deno.listen = listen;
  await using _gateway = gateway;
  using client = await gateway.connect();
  await writeAll(client, bytes(HTTP));
  await readExactly(client, HTTP.length);
  const logged = gateway.events.filter(({ event }) => event === "accept_failed");
  assert.deepEqual(logged.map(({ fields }) => fields.reason), ["Too many open files (os error 24)"]);
});
