import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { echo, respond } from "../../support/test_agent.ts";
import { until } from "../../support/until.ts";
import { connection, tlsConnection } from "../connection.ts";
import {
  BOTH,
  encode,
  get,
  portConnection,
  readText,
  readTextUntil,
  roundTrip,
  TestGateway,
  tokenEntry,
  TOKENS,
} from "./harness.ts";

const HTTP = { kind: "terminate", alpn: ["h2", "http/1.1"], then: { kind: "handle" } } as const;

Deno.test("a tcp service: port, stream header, bytes both ways, half-close", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const registered = await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  assert.equal(registered.url, "tcp://example.com:30003");
  assert.equal(registered.remotePort, 30_003);
  const client = await gateway.connectPort(30_003);
  await writeAll(client, encode("ping"));
  await client.closeWrite();
  assert.equal(await readText(client), "ping");
  const [header] = agent.streams;
  assert.equal(header?.source.address, "192.0.2.7");
  assert.equal(header?.destination.port, 30_003);
  assert.equal(header?.name, undefined);
  assert.equal(header?.serviceId, registered.serviceId);
});

Deno.test("a service that speaks first is heard before the client has said anything", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({
    serve: async (stream) => await writeAll(stream, encode("220 ready\r\n")),
  });
  await agent.serve({ name: "smtp", protocol: "tcp", remotePort: 30_003 });
  const client = await gateway.connectPort(30_003);
  assert.equal(await readTextUntil(client, (text) => text.endsWith("\n")), "220 ready\r\n");
});

Deno.test("a tls service gets the client's bytes as they are, and the name", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  assert.equal((await agent.serve({ name: "db", protocol: "tls" })).url, "tls://db.example.com:8443");
  const client = await gateway.connectTls("db.example.com");
  assert.equal(await roundTrip(client, "hello"), "hello");
  assert.equal(agent.streams[0]?.name, "db.example.com");
});

Deno.test("a tls service takes PostgreSQL clients with TLS; an http service does not", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.serve({ name: "db", protocol: "tls" });
  await agent.serve({ name: "web", protocol: "http" });
  const asked = (name: string) => gateway.route({ ...tlsConnection(name), protocol: "postgres" });
  assert.equal((await asked("db.example.com"))?.kind, "open");
  assert.equal((await asked("web.example.com"))?.kind, "reject");
  assert.equal(await asked("nobody.example.com"), undefined);
});

Deno.test("an http service: address, decision, requests over one stream, access log, metrics", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({ serve: respond("hello") });
  assert.equal((await agent.serve({ name: "demo", protocol: "http" })).url, "https://demo.example.com:8443");
  assert.deepEqual(await gateway.route(tlsConnection("demo.example.com")), HTTP);
  const client = gateway.http("demo.example.com");
  for (const path of ["/one?secret=1", "/two"]) {
    assert.match(await get(client, "demo.example.com", path), /^HTTP\/1\.1 200 OK\r\n[^]*hello$/);
  }
  assert.equal(agent.streams.length, 1);
  const lines = await until(() => {
    const found = gateway.events.filter(({ event }) => event === "http_request");
    return found.length === 2 && found;
  }, { what: "two lines of the access log" });
  assert.deepEqual(
    lines.map(({ fields }) => [fields["method"], fields["host"], fields["path"], fields["status"]]),
    [
      ["GET", "demo.example.com", "/one", 200],
      ["GET", "demo.example.com", "/two", 200],
    ],
  );
  assert.equal(gateway.metric("http_requests_total", { code: "200" }), 2);
  assert.equal(gateway.metric("http_request_seconds"), 2);
  assert.equal(gateway.metric("tunnel_streams_active"), 1);
});

Deno.test("a request for another host than that of the connection is misdirected", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({ serve: respond("hello") });
  await agent.serve({ name: "demo", protocol: "http" });
  await agent.serve({ name: "other", protocol: "http" });
  assert.match(await get(gateway.http("demo.example.com"), "other.example.com"), /^HTTP\/1\.1 421 /);
  assert.equal(agent.streams.length, 0);
});

Deno.test("a name that nobody registered: 404, until somebody does, on the same connection", async () => {
  await using gateway = new TestGateway();
  assert.deepEqual(await gateway.route(tlsConnection("demo.example.com")), HTTP);
  const client = gateway.http("demo.example.com");
  assert.match(await get(client, "demo.example.com"), /^HTTP\/1\.1 404 /);
  const agent = await gateway.agent({ serve: respond("hello") });
  await agent.serve({ name: "demo", protocol: "http" });
  assert.match(await get(client, "demo.example.com"), /^HTTP\/1\.1 200 /);
});

const leftToOthers = [
  { name: "no server name", asked: tlsConnection() },
  { name: "a name outside of the domain", asked: tlsConnection("www.example.org") },
  { name: "the domain itself", asked: tlsConnection("example.com") },
  { name: "a name that only ends like the domain", asked: tlsConnection("badexample.com") },
  { name: "plain HTTP", asked: connection({ protocol: "http" }) },
  {
    name: "another protocol at a port of the range",
    asked: connection({ destination: { address: "::", port: 30_000 } }),
  },
];
for (const { name, asked } of leftToOthers) {
  Deno.test(`leaves to others: ${name}`, async () => {
    await using gateway = new TestGateway();
    assert.equal(gateway.route(asked), undefined);
  });
}

Deno.test("a full host name of another domain, when the token allows it", async () => {
  const tokens = tokenEntry("alice", TOKENS.alice, "allow: { hostnames: [api.customer.com] }");
  await using gateway = new TestGateway({ tokens });
  const agent = await gateway.agent({ serve: respond("hello") });
  const hostname = "API.Customer.com.";
  assert.equal(
    (await agent.serve({ name: "api", protocol: "http", hostname })).url,
    "https://api.customer.com:8443",
  );
  assert.deepEqual(await gateway.route(tlsConnection("api.customer.com")), HTTP);
  await gateway.reload({}, BOTH);
});

Deno.test("unregistering frees name and port at once", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const { serviceId } = await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  assert.equal(gateway.openPorts.size, 1);
  await agent.send({ type: "unregister", serviceId });
  await until(() => gateway.openPorts.size === 0, { what: "the port to be closed" });
  const other = await gateway.agent({ client: 2 });
  await other.serve({ name: "mine", protocol: "tcp", remotePort: 30_003 });
});

Deno.test("streams go to the connection of the agent with the fewest", async () => {
  await using gateway = new TestGateway();
  const agents = [await gateway.agent({ epoch: 1, slot: 0 }), await gateway.agent({ epoch: 1, slot: 1 })];
  for (const agent of agents) await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  for (let i = 0; i < 6; i++) await roundTrip(await gateway.connectPort(30_003), "x");
  assert.deepEqual(agents.map(({ streams }) => streams.length), [3, 3]);
});

Deno.test("a crowd that comes within one round trip of the agent gets through", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({ serve: echo });
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  const clients = await Promise.all(Array.from({ length: 400 }, () => gateway.connectPort(30_003)));
  assert.equal(agent.streams.length, 0); // it has not heard of any yet
  await Promise.all(clients.map((client) => roundTrip(client, "x")));
  assert.equal(gateway.metric("tunnel_streams_active"), 400);
});

Deno.test("limits.streamsPerTunnel: refused at once, with its name, until one ends", async () => {
  await using gateway = new TestGateway({ section: { limits: { streamsPerTunnel: 2 } } });
  const agent = await gateway.agent({ serve: echo });
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  await agent.serve({ name: "web", protocol: "http" });
  const first = await gateway.connectPort(30_003);
  await roundTrip(first, "x");
  await roundTrip(await gateway.connectPort(30_003), "x");
  assert.deepEqual(await gateway.route(portConnection(30_003)), {
    kind: "reject",
    reason: "over_limit",
    detail: "limits.streamsPerTunnel",
  });
  assert.match(await get(gateway.http("web.example.com"), "web.example.com"), /^HTTP\/1\.1 503 /);
  first.close();
  await until(async () => (await gateway.route(portConnection(30_003)))?.kind === "open", { what: "room" });
});

Deno.test("threads: a tunnel of another data plane is reached from all of them", async () => {
  await using gateway = new TestGateway({ nodes: 2 });
  const agent = await gateway.agent({ node: 1 });
  await agent.serve({ name: "db", protocol: "tls" });
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  await agent.serve({ name: "web", protocol: "http" });
  for (const name of ["db.example.com", "web.example.com"]) {
    const decision = await gateway.route(tlsConnection(name), 0);
    assert.deepEqual(decision, { kind: "handover", node: "data-plane-1" });
  }
  assert.equal(await roundTrip(await gateway.connectTls("db.example.com", 0), "hello"), "hello");
  // A port is opened where its tunnel is, and a connection that still comes in elsewhere gets there too.
  assert.deepEqual([...gateway.openPorts], [{ node: 1, port: 30_003 }]);
  assert.equal(await roundTrip(await gateway.connectPort(30_003, 0), "hello"), "hello");
});

Deno.test("threads: what was handed over is never handed over again, but it follows an agent that has moved", async () => {
  await using gateway = new TestGateway({ nodes: 2, section: { reconnectGrace: "0s" } });
  const agent = await gateway.agent({ node: 1 });
  await agent.serve({ name: "db", protocol: "tls" });
  await agent.serve({ name: "web", protocol: "http" });
  const handedOver = { from: "data-plane-1" };
  const db = tlsConnection("db.example.com", { handedOver });
  assert.equal((await gateway.route(db, 0))?.kind, "open");
  assert.equal(await roundTrip(await gateway.connect(db, 0), "hello"), "hello");
  assert.equal((await gateway.route(tlsConnection("web.example.com", { handedOver }), 0))?.kind, "terminate");
  const opened = tlsConnection("db.example.com", {
    handedOver: { ...handedOver, purpose: "name:db.example.com" },
  });
  await assert.rejects(gateway.connect(opened, 0), "a stream between data planes goes no further");
  await gateway.reload({ reconnectGrace: "60s" });
  await assert.rejects(
    gateway.connect(opened, 0),
    "nor does it wait where its agent is not: it is known elsewhere",
  );
});

Deno.test("threads: a request whose tunnel has moved to another data plane follows it there", async () => {
  await using gateway = new TestGateway({ nodes: 2 });
  const before = await gateway.agent({ node: 0, epoch: 1, serve: respond("before") });
  await before.serve({ name: "web", protocol: "http" });
  const client = gateway.http("web.example.com", 0);
  assert.match(await get(client, "web.example.com"), /before$/);
  const after = await gateway.agent({ node: 1, epoch: 2, serve: respond("after") });
  await after.serve({ name: "web", protocol: "http" });
  await before.ended;
  assert.match(await get(gateway.http("web.example.com", 0), "web.example.com"), /after$/);
  assert.equal(after.streams[0]?.name, "web.example.com");
});

Deno.test("status, routes, tunnels: what is told of a tunnel", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({ epoch: 5 });
  await agent.serve({ name: "web", protocol: "http", target: "127.0.0.1:3000\u001b[2J" });
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  const [row, ...others] = gateway.plugin.tunnels();
  assert.equal(others.length, 0);
  assert.equal(row?.owner, "alice");
  assert.deepEqual(
    row?.services.map(({ name, protocol, url, target }) => ({ name, protocol, url, target })),
    [
      {
        name: "web",
        protocol: "http",
        url: "https://web.example.com:8443",
        target: "127.0.0.1:3000\u{FFFD}[2J",
      },
      { name: "ssh", protocol: "tcp", url: "tcp://example.com:30003", target: undefined },
    ],
  );
  assert.deepEqual(gateway.plugin.routes().map(({ match }) => match), ["web.example.com", "port 30003"]);
  assert.deepEqual(gateway.plugin.status().details, {
    tunnels: 1,
    services: 2,
    streams: 0,
    ports: 1,
    udpPorts: 0,
    udpFlows: 0,
    arriving: 0,
    waiting: 0,
  });
  assert.equal(gateway.metric("tunnels_active"), 1);
});

Deno.test("closeTunnel ends a tunnel, and says so to its agent", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const [row] = gateway.plugin.tunnels();
  assert.equal(gateway.plugin.closeTunnel("no-such-tunnel"), false);
  assert.equal(gateway.plugin.closeTunnel(row?.id ?? ""), true);
  assert.match((await agent.next("disconnect")).reason, /operator/);
  await agent.ended;
  assert.equal(gateway.plugin.tunnels().length, 0);
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "closed_by_admin");
});
