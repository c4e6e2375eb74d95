import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { echo, respond, type TestAgentOptions } from "../../../support/test_agent.ts";
import { until } from "../../../support/until.ts";
import { tlsConnection } from "../../connection.ts";
import { encode, get, portConnection, readText, roundTrip, TestGateway, TOKENS } from "../harness.ts";

const WEB = { name: "web", protocol: "http" } as const;
const SSH = { name: "ssh", protocol: "tcp", remotePort: 30_003 } as const;

interface Outcome {
  /** What the later one is answered. */
  readonly later: "authOk" | "authFail";
  /** Why the earlier one was ended; absent: it goes on. */
  readonly earlier?: "superseded" | "replaced";
  /** Whether the later one has the names. */
  readonly names: boolean;
}

const table: { name: string; earlier: TestAgentOptions; later: TestAgentOptions; outcome: Outcome }[] = [
  {
    name: "a newer run of the same agent takes over, in whatever slot",
    earlier: { epoch: 10, slot: 0 },
    later: { epoch: 11, slot: 1 },
    outcome: { later: "authOk", earlier: "superseded", names: true },
  },
  {
    name: "the same run in the same slot replaces its own half-open connection",
    earlier: { epoch: 10, slot: 0 },
    later: { epoch: 10, slot: 0 },
    outcome: { later: "authOk", earlier: "replaced", names: true },
  },
  {
    name: "the same run in another slot is another connection, and shares the names",
    earlier: { epoch: 10, slot: 0 },
    later: { epoch: 10, slot: 1 },
    outcome: { later: "authOk", names: true },
  },
  {
    name: "an older run is told that it is superseded, and leaves the newer alone",
    earlier: { epoch: 10, slot: 0 },
    later: { epoch: 9, slot: 0 },
    outcome: { later: "authFail", names: false },
  },
  {
    name: "an agent that says nothing of its run takes over from one that was there before",
    earlier: {},
    later: {},
    outcome: { later: "authOk", earlier: "superseded", names: true },
  },
  {
    name: "a stranger with another token does not get the names, whatever epoch it claims",
    earlier: { epoch: 10 },
    later: { epoch: 99, token: TOKENS.bob, client: 2 },
    outcome: { later: "authOk", names: false },
  },
  {
    name: "a stranger with another token and the same client id does not get the names",
    earlier: { epoch: 10, client: 1 },
    later: { epoch: 99, client: 1, token: TOKENS.bob },
    outcome: { later: "authOk", names: false },
  },
  {
    name: "another agent with the same token does not get the names",
    earlier: { epoch: 10, client: 1 },
    later: { epoch: 99, client: 2 },
    outcome: { later: "authOk", names: false },
  },
];
for (const { name, earlier, later, outcome } of table) {
  Deno.test(`takeover: ${name}`, async () => {
    await using gateway = new TestGateway({ nodes: 2 });
    const first = await gateway.agent({ ...earlier, node: 0 });
    await first.serve(WEB);
    await first.serve(SSH);
    await until(() => Date.now() > (gateway.events[0]?.time ?? 0), { what: "the clock to go on" });
    const second = await gateway.stranger({ ...later, node: 1 });
    const answer = await second.authenticate();
    assert.equal(answer.type, outcome.later);
    if (outcome.earlier !== undefined) {
      await first.ended;
      assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], outcome.earlier);
      const told = first.received.filter(({ type }) => type === "disconnect");
      assert.equal(told.length, outcome.earlier === "superseded" ? 1 : 0);
    } else {
      assert.equal(gateway.plugins[0]?.tunnels().length, 1);
      assert.equal(await roundTrip(await gateway.connectPort(30_003), "alive"), "alive");
    }
    if (answer.type !== "authOk") return;
    for (const service of [WEB, SSH]) {
      assert.equal(
        (await second.register(service)).type,
        outcome.names ? "serviceRegistered" : "registerFail",
      );
    }
  });
}

Deno.test("takeover: a connection that is half open keeps nobody waiting, and gives no byte of its streams away", async () => {
  await using gateway = new TestGateway();
  const before = await gateway.agent({ epoch: 1, serve: echo });
  await before.serve(SSH);
  const client = await gateway.connectPort(30_003);
  await roundTrip(client, "hello");
  before.transport.freeze();
  const start = performance.now();
  const after = await gateway.agent({ epoch: 2 });
  await after.serve(SSH);
  assert.equal(await roundTrip(await gateway.connectPort(30_003), "again"), "again");
  assert.ok(performance.now() - start < 1000, "it took as long as a heartbeat");
  await assert.rejects(client.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  assert.equal(gateway.plugin.tunnels().length, 1);
});

Deno.test("takeover: black-holed again and again, an agent has its names at once, and nothing is left behind", async () => {
  await using gateway = new TestGateway();
  for (let epoch = 1; epoch <= 50; epoch++) {
    const agent = await gateway.agent({ epoch });
    await agent.serve(WEB);
    await agent.serve(SSH);
    agent.transport.freeze();
  }
  await until(() => gateway.plugin.tunnels().length === 1, { what: "the others to be gone" });
  assert.equal(gateway.registry.size, 1);
  assert.equal(gateway.openPorts.size, 1);
  assert.equal(gateway.plugin.tunnels()[0]?.services.length, 2);
});

Deno.test("grace: a name is kept for its agent, from strangers too, and free afterwards", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.serve(WEB);
  await agent.serve(SSH);
  agent.kill();
  await gateway.logged("tunnel_closed");
  const stranger = await gateway.agent({ token: TOKENS.bob });
  assert.equal((await stranger.register(WEB)).type, "registerFail");
  assert.equal((await stranger.register(SSH)).type, "registerFail");
  assert.equal(gateway.openPorts.size, 1); // who connects now waits for the agent
  await until(() => gateway.openPorts.size === 0, { what: "the end of the grace" });
  assert.equal((await stranger.register(WEB)).type, "serviceRegistered");
  assert.equal((await stranger.register(SSH)).type, "serviceRegistered");
});

Deno.test("grace: an agent that comes back has the ports that it had, whether or not it asks for them", async () => {
  await using gateway = new TestGateway();
  const ports: (number | undefined)[] = [];
  for (const [epoch, remotePort] of [30_001, 30_006, 0, 0].entries()) {
    const agent = await gateway.agent({ epoch });
    ports.push((await agent.serve({ name: "ssh", protocol: "tcp", remotePort })).remotePort);
    const other = await agent.serve({ name: "other", protocol: "tcp" });
    ports.push(other.remotePort);
    agent.kill();
    await agent.ended;
  }
  const [first, other] = ports;
  assert.deepEqual(ports, [first, other, 30_006, other, 30_006, other, 30_006, other]);
});

Deno.test("grace: connections and requests wait for their agent, and get through", async () => {
  await using gateway = new TestGateway({ section: { reconnectGrace: "5s" } });
  const before = await gateway.agent({ epoch: 1 });
  const services = [WEB, SSH, { name: "db", protocol: "tls" }] as const;
  for (const service of services) await before.serve(service);
  before.kill();
  await gateway.logged("tunnel_closed");
  const port = gateway.connectPort(30_003);
  const tls = gateway.connectTls("db.example.com");
  const request = get(gateway.http("web.example.com"), "web.example.com");
  await until(() => gateway.plugin.status().details?.["waiting"] === 3, { what: "three that wait" });
  const after = await gateway.agent({
    epoch: 2,
    serve: (stream, header, rest) =>
      (header.name === "web.example.com" ? respond("back") : echo)(stream, header, rest),
  });
  for (const service of services) await after.serve(service);
  assert.equal(await roundTrip(await port, "hello"), "hello");
  assert.equal(await roundTrip(await tls, "hello"), "hello");
  assert.match(await request, /^HTTP\/1\.1 200 [^]*back$/);
  assert.equal(gateway.plugin.status().details?.["waiting"], 0);
});

Deno.test("grace: who waits for an agent that comes back elsewhere gets there too", async () => {
  await using gateway = new TestGateway({ nodes: 2, section: { reconnectGrace: "5s" } });
  const before = await gateway.agent({ epoch: 1, node: 0 });
  for (const service of [WEB, SSH]) await before.serve(service);
  before.kill();
  await gateway.logged("tunnel_closed");
  const port = gateway.connectPort(30_003, 0);
  const request = get(gateway.http("web.example.com", 0), "web.example.com");
  await until(() => gateway.plugins[0]?.status().details?.["waiting"] === 2, { what: "two that wait" });
  const after = await gateway.agent({
    epoch: 2,
    node: 1,
    serve: (stream, header, rest) =>
      (header.name === "web.example.com" ? respond("back") : echo)(stream, header, rest),
  });
  for (const service of [WEB, SSH]) await after.serve(service);
  assert.equal(await roundTrip(await port, "hello"), "hello");
  assert.match(await request, /back$/);
  // Its port is open where it is now, and there alone.
  assert.deepEqual([...gateway.openPorts], [{ node: 1, port: 30_003 }]);
});

Deno.test("grace: an agent that does not come back: 502, and an end for everybody else who waits", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  for (const service of [WEB, SSH, { name: "db", protocol: "tls" } as const]) await agent.serve(service);
  agent.kill();
  await gateway.logged("tunnel_closed");
  const [port, tls, request] = await Promise.all([
    gateway.route(portConnection(30_003)),
    gateway.route(tlsConnection("db.example.com")),
    get(gateway.http("web.example.com"), "web.example.com"),
  ]);
  assert.equal(port?.kind === "reject" && port.reason, "unavailable");
  assert.equal(tls?.kind === "reject" && tls.reason, "unavailable");
  assert.match(request, /^HTTP\/1\.1 502 /);
  // From now on nobody has it.
  assert.match(await get(gateway.http("web.example.com"), "web.example.com"), /^HTTP\/1\.1 404 /);
});

Deno.test("grace: a client that leaves waits no longer", async () => {
  await using gateway = new TestGateway({ section: { reconnectGrace: "5s" } });
  const agent = await gateway.agent();
  await agent.serve(SSH);
  agent.kill();
  await gateway.logged("tunnel_closed");
  const controller = new AbortController();
  const waiting = gateway.plugin.route(portConnection(30_003), controller);
  assert.equal(gateway.plugin.status().details?.["waiting"], 1);
  controller.abort();
  assert.equal((await waiting)?.kind, "reject");
  assert.equal(gateway.plugin.status().details?.["waiting"], 0);
});

Deno.test("an agent that says that it goes away, and has no streams any more, keeps its names no longer than one that is lost", async () => {
  await using gateway = new TestGateway({ section: { reconnectGrace: "0s" } });
  const agent = await gateway.agent();
  await agent.serve(SSH);
  const client = await gateway.connectPort(30_003);
  await roundTrip(client, "hello");
  agent.yamux.goAway();
  await until(() => gateway.plugin.routes()[0]?.targets?.[0]?.healthy === false, { what: "the go-away" });
  assert.equal(await roundTrip(client, "still"), "still");
  client.close();
  await agent.ended;
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "agent_left");
  assert.equal(gateway.registry.lookup("port:30003"), undefined);
});

Deno.test("an agent that says that it goes away gets no new streams, and those that are open go on", async () => {
  await using gateway = new TestGateway();
  const agents = [await gateway.agent({ epoch: 1, slot: 0 }), await gateway.agent({ epoch: 1, slot: 1 })];
  for (const agent of agents) await agent.serve(SSH);
  const clients = [await gateway.connectPort(30_003), await gateway.connectPort(30_003)];
  for (const client of clients) await roundTrip(client, "hello");
  agents[0]?.yamux.goAway();
  await until(() => gateway.plugin.routes()[0]?.targets?.some(({ healthy }) => !healthy), {
    what: "the go-away",
  });
  for (let i = 0; i < 3; i++) await roundTrip(await gateway.connectPort(30_003), "x");
  assert.deepEqual(agents.map(({ streams }) => streams.length), [1, 4]);
  for (const client of clients) {
    await writeAll(client, encode("bye"));
    await client.closeWrite();
    assert.equal(await readText(client), "bye");
  }
});

Deno.test("an agent that comes back from another address has its names and ports, and the old connection has not", async () => {
  await using gateway = new TestGateway({ section: { limits: { failedAuthPerMinute: 1 } } });
  const services = [
    WEB,
    { name: "any", protocol: "tcp" },
    { name: "game", protocol: "udp" },
    { name: "db", protocol: "tcp", private: true },
  ] as const;
  const places: unknown[] = [];
  for (const [epoch, address] of ["127.0.0.1", "127.0.0.2", "2001:db8::1"].entries()) {
    gateway.agentAddress = address;
    const agent = await gateway.agent({ epoch });
    const registered = [];
    for (const service of services) registered.push(await agent.serve(service));
    places.push(registered.map(({ url, remotePort }) => [url, remotePort]));
    assert.deepEqual(gateway.plugin.tunnels().map(({ source }) => source.address), [address]);
    const port = registered[1]?.remotePort ?? 0;
    assert.equal(await roundTrip(await gateway.connectPort(port), "hello"), "hello");
    await until(() => {
      const [udp] = gateway.udpPorts;
      udp?.deliver(encode("hello"), 1000 + epoch);
      return udp?.sent.some(({ to }) => to === 1000 + epoch);
    }, { what: "the echo of a datagram" });
    assert.equal(agent.streams.filter(({ datagrams }) => datagrams).length, 1);
  }
  assert.deepEqual(places[1], places[0]);
  assert.deepEqual(places[2], places[0]);
});
