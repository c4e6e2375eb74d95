import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import type { Forward, Plugin } from "../../../core/plugin/contract.ts";
import { readToEnd, serveTcp, startEcho, startReset, startSilent } from "../../support/echo.ts";
import { forwardAll, TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import {
  ask,
  askText,
  connectPostgres,
  HTTP,
  INTERNAL_ERROR,
  NO_NAME_HELLO,
  readExactly,
  UNRECOGNIZED_NAME,
} from "./clients.ts";
import { bytes, HELLO, PROXY_V1, proxyV2, SSL_REQUEST, STARTUP, V2_IPV4_BLOCK } from "./preface/samples.ts";
import { empty, freePort, loggedResults, recording, recordingServer } from "./recording.ts";

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

const REFUSED_CLIENTS: readonly { name: string; opening: Uint8Array; answer: RegExp | readonly number[] }[] =
  [
    { name: "TLS", opening: HELLO, answer: INTERNAL_ERROR },
    { name: "HTTP", opening: bytes(HTTP), answer: /^HTTP\/1\.1 502 Bad Gateway\r\n/ },
    { name: "PostgreSQL without TLS", opening: STARTUP, answer: /^E[^]*C08006/ },
    { name: "SSH", opening: bytes("SSH-2.0-x\r\n"), answer: /^The service cannot be reached\r\n$/ },
  ];

function check(answer: Uint8Array, expected: RegExp | readonly number[]): void {
  if (expected instanceof RegExp) assert.match(new TextDecoder().decode(answer), expected);
  else assert.deepEqual([...answer], expected);
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

const UNROUTED: readonly {
  name: string;
  opening: Uint8Array;
  answer: RegExp | readonly number[];
  reason: string;
}[] = [
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
  assert.deepEqual(
    faults.map(({ fields }) => [fields.plugin, fields.reason]),
    [["plugin-0", "The database is down"]],
    "one line a minute, however many strangers come",
  );
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
