import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import { Outgoing } from "../../../../plugins/ws-agent/session/outgoing.ts";
import {
  canPlain,
  encodePlain,
  PlainAgent,
  type PlainAgentOptions,
  type PlainConnect,
  reasonOf,
  TYPE,
} from "../../../support/plain_agent.ts";
import { until } from "../../../support/until.ts";
import {
  encode,
  ENDPOINT,
  portConnection,
  readText,
  roundTrip,
  TestGateway,
  type TestGatewayOptions,
  tokenEntry,
  TOKENS,
} from "../harness.ts";

type AgentOptions = Partial<PlainAgentOptions> & { readonly node?: number };

function options(gateway: TestGateway, { node = 0, ...more }: AgentOptions = {}): PlainAgentOptions {
  const origin = `ws://127.0.0.1:${gateway.endpointPort(node)}`;
  return { origin, host: ENDPOINT, token: TOKENS.alice, ...more };
}

function start(gateway: TestGateway, more?: AgentOptions): Promise<PlainAgent> {
  return PlainAgent.start(options(gateway, more));
}

/** Registers a tcp service, and resolves to its public port. */
async function publicPort(gateway: TestGateway, agent: PlainAgent, name = "ssh"): Promise<number> {
  const answer = await agent.register(name);
  assert.ok("service" in answer, JSON.stringify(answer));
  const services = gateway.plugins.flatMap((plugin) => plugin.tunnels()).flatMap((row) => row.services);
  const { url = "" } = services.find((service) => service.id.replaceAll("-", "") === answer.service) ?? {};
  return Number(new URL(url.replace("tcp:", "http:")).port);
}

/** A clock whose timers run so many times faster once it is told to: letting an agent in may take its time before that. */
class LaterFast implements Clock {
  readonly monotonic = SYSTEM_CLOCK.monotonic;
  readonly wall = SYSTEM_CLOCK.wall;
  readonly every = SYSTEM_CLOCK.every;
  speed = 1;

  after(ms: number, task: () => void): () => void {
    return SYSTEM_CLOCK.after(ms / this.speed, task);
  }
}

/** A test that needs the WebSocket library. */
function plainTest(
  name: string,
  test: (gateway: TestGateway, clock: LaterFast) => Promise<void>,
  gatewayOptions?: TestGatewayOptions,
): void {
  Deno.test({
    name: `plain agents: ${name}`,
    ignore: !canPlain,
    async fn() {
      const clock = new LaterFast();
      await using gateway = new TestGateway({ clock, ...gatewayOptions });
      await test(gateway, clock);
    },
  });
}

const BULK = new Uint8Array(600_000).map((_, i) => i * 7);

/** Sends all of it to somebody who sends it back. */
async function bulkTrip(client: ByteStream): Promise<void> {
  const sending = writeAll(client, BULK);
  const back = new Uint8Array(BULK.length);
  for (let at = 0; at < back.length;) at += await client.read(back.subarray(at)) ?? assert.fail("too little");
  await sending;
  assert.deepEqual(back, BULK);
}

/** The status that a data WebSocket is refused with. */
function refusedWith(status: number): { readonly message: string } {
  return { message: `Unexpected server response: ${status}` };
}

const served = [
  { agent: 0, client: 0, data: 0 },
  { agent: 0, client: 1, data: 0 },
  { agent: 0, client: 0, data: 1 },
  { agent: 1, client: 2, data: 0 },
];
for (const nodes of served) {
  const where = `agent on data plane ${nodes.agent}, public on ${nodes.client}, data on ${nodes.data}`;
  plainTest(`served both ways; ${where}`, async (gateway) => {
    const { origin } = options(gateway, { node: nodes.data });
    await using agent = await start(gateway, {
      node: nodes.agent,
      onConnect(agent, connect) {
        agent.acknowledge(connect);
        agent.fetch(connect.id, origin).catch(() => {});
      },
    });
    const port = await publicPort(gateway, agent);
    const client = await gateway.connectPort(port, nodes.client);
    assert.equal(await roundTrip(client, "hello"), "hello");
    await bulkTrip(client);
    assert.deepEqual(agent.connects.map(({ client }) => client), ["192.0.2.7:40000"]);
    const [row] = gateway.plugins.flatMap((plugin) => plugin.tunnels());
    assert.equal(row?.agent, "plain");
    assert.equal(row?.owner, "alice");
    assert.equal(row?.streams, 1);
    assert.deepEqual([row?.bytesIn, row?.bytesOut], [BULK.length + 5, BULK.length + 5]);
    assert.equal(gateway.metric("tunnels_active", { agent: "plain" }), 1);
    agent.sockets[0]?.close(1000); // the service has ended
    assert.equal(await readText(client), "");
    client.close();
    await until(
      () => gateway.plugins.every((plugin) => plugin.tunnels().every(({ streams }) => streams === 0)),
      {
        what: "the stream to be over",
      },
    );
  }, { nodes: 3 });
}

plainTest("the first message is Auth; each answer is one message, in order", async (gateway) => {
  await using agent = await PlainAgent.connect(options(gateway));
  const auth = await agent.authenticate();
  assert.equal(auth.type, TYPE.authOk);
  assert.equal(auth.payload.length, 16);
  assert.equal(auth.payload.toHex(), gateway.plugin.tunnels()[0]?.id.replaceAll("-", ""));
  for (const name of ["a", "b", "no name!", "a", "c"]) agent.askFor(name);
  for (const expected of [undefined, undefined, "bad_name", "duplicate", undefined]) {
    const answer = await agent.registered();
    assert.equal("reason" in answer ? answer.reason.split(":")[0] : undefined, expected);
  }
  const times = Array.from({ length: 50 }, (_, i) => Uint8Array.of(0, 0, 0, 0, 1, 1, 1, i));
  for (const time of times) agent.send(TYPE.heartbeat, time);
  for (const time of times) assert.deepEqual((await agent.next(TYPE.heartbeatAck)).payload, time);
});

Deno.test("plain agents: messages that wait go out one by one", async () => {
  const written: string[] = [];
  const first = Promise.withResolvers<void>();
  const outgoing = new Outgoing({
    read: () => Promise.resolve(null),
    async write(data) {
      if (written.push(data.toHex()) === 1) await first.promise;
      return data.length;
    },
    closeWrite: () => Promise.resolve(),
    close() {},
  }, false);
  for (const byte of [1, 2, 3]) outgoing.send(Uint8Array.of(byte));
  first.resolve();
  await outgoing.finish();
  assert.deepEqual(written, ["01", "02", "03"]);
});

plainTest("ports: asked for, taken, outside, given back", async (gateway) => {
  await using agent = await start(gateway);
  const answer = await agent.register("ssh", { remotePort: 30_004 });
  assert.ok("service" in answer);
  assert.ok([...gateway.openPorts].some(({ port }) => port === 30_004));
  await using other = await start(gateway, { token: TOKENS.bob });
  const taken = await other.register("ssh", { remotePort: 30_004 });
  assert.match("reason" in taken ? taken.reason : "", /^held: /);
  const outside = await other.register("ssh", { remotePort: 22 });
  assert.match("reason" in outside ? outside.reason : "", /^bad_port: /);
  agent.send(TYPE.unregister, Uint8Array.fromHex(answer.service));
  await until(async () => "service" in await other.register("ssh", { remotePort: 30_004 }), {
    what: "the port to be free",
  });
});

plainTest("what the token may not is refused", async (gateway) => {
  await using agent = await start(gateway);
  const answer = await agent.register("ssh", { remotePort: 30_004 });
  assert.match("reason" in answer ? answer.reason : "", /^not_allowed: /);
}, { tokens: tokenEntry("alice", TOKENS.alice, 'allow: { ports: ["30001"] }') });

plainTest("a token that is not good: AuthFail, and counted against its source", async (gateway) => {
  await assert.rejects(start(gateway, { token: "pst_nonsense" }), { message: /^(bad_token|malformed): / });
  await assert.rejects(start(gateway), { message: /^blocked: / });
  assert.equal(gateway.plugin.tunnels().length, 0);
}, { section: { limits: { failedAuthPerMinute: 1 } } });

plainTest("as many tunnels of a token as it may have", async (gateway) => {
  await using _own = await gateway.agent();
  await assert.rejects(start(gateway), { message: /^limit: / });
}, { tokens: tokenEntry("alice", TOKENS.alice, "limits: { tunnels: 1 }") });

for (const node of [0, 1]) {
  plainTest(`a token in use is in use, on data plane ${node} as well`, async (gateway) => {
    await using agent = await start(gateway);
    await assert.rejects(start(gateway, { node }), { message: "Token already in use" });
    await using _other = await start(gateway, { node, token: TOKENS.bob });
    await using _own = await gateway.agent({ node }); // Postern's agents may have several
    assert.equal(agent.isClosed, false);
  }, { nodes: 2 });

  plainTest(`one that hangs gives way to the next, on data plane ${node}`, async (gateway, clock) => {
    await using lost = await start(gateway);
    const port = await publicPort(gateway, lost);
    lost.freeze();
    clock.speed = 10;
    await using back = await start(gateway, { node });
    assert.equal(await publicPort(gateway, back), port);
    const client = await gateway.connectPort(port);
    assert.equal(await roundTrip(client, "hello"), "hello");
    client.close();
    const rows = gateway.plugins.flatMap((plugin) => plugin.tunnels());
    assert.equal(rows.length, 1);
  }, { nodes: 2 });
}

plainTest("one that was killed gets its port back, and who asks meanwhile waits for it", async (gateway) => {
  await using lost = await start(gateway);
  const port = await publicPort(gateway, lost);
  const open = await gateway.connectPort(port);
  assert.equal(await roundTrip(open, "x"), "x");
  lost.kill();
  await gateway.logged("tunnel_closed");
  await assert.rejects(roundTrip(open, "y"));
  const waiting = gateway.connectPort(port);
  await using back = await start(gateway);
  assert.equal(await publicPort(gateway, back), port);
  const client = await waiting;
  assert.equal(await roundTrip(client, "hello"), "hello");
  client.close();
}, { section: { reconnectGrace: "5s" } });

plainTest("heartbeats: asked every interval, and given up on", async (gateway) => {
  await using alive = await start(gateway);
  await alive.next(TYPE.heartbeat);
  await until(() => gateway.plugin.tunnels()[0]?.roundTripMs !== undefined, { what: "a round trip" });
  await using dead = await start(gateway, { token: TOKENS.bob, answersHeartbeats: false });
  await until(() => dead.isClosed, { what: "it to be closed" });
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "heartbeat_timeout");
  assert.equal(alive.isClosed, false);
}, { section: { heartbeat: { interval: "200ms", timeout: "1s" } } });

plainTest(
  "the operator and the end of idle tunnels: Disconnect with the reason, then a close",
  async (gateway) => {
    await using agent = await start(gateway);
    const client = await gateway.connectPort(await publicPort(gateway, agent));
    assert.equal(await roundTrip(client, "hello"), "hello");
    gateway.plugin.closeTunnel(gateway.plugin.tunnels()[0]?.id ?? "");
    assert.match(reasonOf(await agent.next(TYPE.disconnect)), /^closed_by_admin: /);
    await until(() => agent.isClosed, { what: "it to be closed" });
    assert.equal(agent.closed?.[0], 1000);
    await assert.rejects(roundTrip(client, "more"));
    await using idle = await start(gateway);
    assert.match(reasonOf(await idle.next(TYPE.disconnect)), /^idle_timeout: /);
  },
  { section: { idleTimeout: "1s" } },
);

plainTest("the gateway goes away: Disconnect", async (gateway) => {
  await using agent = await start(gateway);
  gateway.plugin.drain();
  assert.match(reasonOf(await agent.next(TYPE.disconnect)), /^going_away: /);
  await until(() => agent.isClosed, { what: "it to be closed" });
  await assert.rejects(start(gateway), refusedWith(503));
});

plainTest("what is open when the gateway goes away is served to its end, and come for", async (gateway) => {
  const held = Promise.withResolvers<() => void>();
  await using agent = await start(gateway, {
    onConnect: (agent, { id }) => held.resolve(() => agent.fetch(id).catch(() => {})),
  });
  const opening = gateway.connectPort(await publicPort(gateway, agent));
  const fetch = await held.promise;
  gateway.plugin.drain();
  fetch(); // without an acknowledgement: to come is one
  const client = await opening;
  assert.equal(await roundTrip(client, "hello"), "hello");
  client.close();
  assert.match(reasonOf(await agent.next(TYPE.disconnect)), /^going_away: /);
});

plainTest("an agent that leaves", async (gateway) => {
  await using agent = await start(gateway);
  agent.leave();
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "agent_left");
});

plainTest(
  "an agent that does not take a connection: refused at once, with its reason in the log",
  async (gateway) => {
    await using agent = await start(gateway, {
      onConnect: (agent, connect) => agent.refuse(connect, "not now"),
    });
    const port = await publicPort(gateway, agent);
    await assert.rejects(gateway.connectPort(port), {
      name: "HttpRefusal",
      status: 502,
      message: /not now$/,
    });
    const [{ id } = { id: "" }] = agent.connects;
    await assert.rejects(agent.fetch(id), refusedWith(404));
    assert.equal(gateway.plugin.tunnels()[0]?.streams, 0);
  },
);

plainTest("a data WebSocket that never comes: given up on, and too late then", async (gateway, clock) => {
  await using agent = await start(gateway, { onConnect: (agent, connect) => agent.acknowledge(connect) });
  const port = await publicPort(gateway, agent);
  clock.speed = 100;
  await assert.rejects(gateway.connectPort(port), { name: "GatewayError", code: "dial-timeout" });
  clock.speed = 1;
  await assert.rejects(agent.fetch(agent.connects[0]?.id ?? ""), refusedWith(404));
  assert.equal(gateway.plugin.tunnels()[0]?.streams, 0);
});

plainTest("an id is good once, and not when its client or its agent has left", async (gateway) => {
  await using agent = await start(gateway, { onConnect: () => {} });
  const port = await publicPort(gateway, agent);
  const told = (count: number) =>
    until(() => agent.connects[count - 1], { what: `${count} connections to be told of` });
  const opening = gateway.connectPort(port);
  const first = await told(1);
  const last = first.id.at(-1) === "0" ? "1" : "0";
  await assert.rejects(agent.fetch(`${first.id.slice(0, -1)}${last}`), refusedWith(404));
  await agent.fetch(first.id.toUpperCase());
  await assert.rejects(agent.fetch(first.id), refusedWith(404));
  (await opening).close();
  const leaving = new AbortController();
  const info = portConnection(port);
  const left = gateway.plugin.open(info, { signal: leaving.signal });
  const second = await told(2);
  leaving.abort();
  await assert.rejects(left, { status: 502 });
  await assert.rejects(agent.fetch(second.id), refusedWith(404));
  const third = gateway.plugin.open(info, { signal: new AbortController().signal }).catch(() => {});
  const { id } = await told(3);
  await using other = await start(gateway, { token: TOKENS.bob });
  agent.kill();
  await gateway.logged("tunnel_closed");
  await assert.rejects(other.fetch(id), refusedWith(404));
  await third;
}, { section: { reconnectGrace: "50ms" } });

plainTest("nobody says for another agent that it does not take a connection", async (gateway) => {
  const told = Promise.withResolvers<PlainConnect>();
  await using agent = await start(gateway, { onConnect: (_, connect) => told.resolve(connect) });
  const opening = gateway.connectPort(await publicPort(gateway, agent));
  const connect = await told.promise;
  await using other = await start(gateway, { token: TOKENS.bob });
  other.refuse(connect, "mine");
  await other.register("x"); // answered behind that
  await agent.fetch(connect.id);
  const client = await opening;
  assert.equal(await roundTrip(client, "hello"), "hello");
  client.close();
});

plainTest("as many connections as a tunnel may have, those that wait among them", async (gateway) => {
  await using agent = await start(gateway, { onConnect: () => {} });
  const port = await publicPort(gateway, agent);
  const waiting = [1, 2].map(() => gateway.connectPort(port).catch((error) => error));
  await until(() => agent.connects.length === 2, { what: "both to be told of" });
  await assert.rejects(gateway.plugin.open(portConnection(port), { signal: new AbortController().signal }), {
    status: 503,
  });
  agent.kill();
  for (const error of await Promise.all(waiting)) assert.ok(error instanceof Error);
}, { section: { limits: { streamsPerTunnel: 2 }, reconnectGrace: "50ms" } });

plainTest("a hundred answers a second are no flood when they were asked for; others are", async (gateway) => {
  await using agent = await start(gateway, { onConnect: (agent, connect) => agent.refuse(connect, "no") });
  const port = await publicPort(gateway, agent);
  for (let i = 0; i < 300; i++) await gateway.connectPort(port).catch(() => {});
  assert.equal(agent.connects.length, 300);
  assert.equal(agent.isClosed, false);
  for (let i = 0; i < 300; i++) agent.refuse({ id: crypto.randomUUID(), service: "", client: "" }, "no");
  assert.match(reasonOf(await agent.next(TYPE.disconnect)), /^control_flood: /);
}, { section: { limits: { servicesPerTunnel: 5 } } });

plainTest("a service that reads nothing holds its client up, and nobody else", async (gateway) => {
  let stalled: { pause(): void; resume(): void } | undefined;
  await using agent = await start(gateway, {
    serve(socket) {
      if (stalled === undefined) {
        stalled = socket;
        socket.on("open", () => socket.pause());
      }
      socket.on("message", (data) => socket.send(data));
    },
  });
  const port = await publicPort(gateway, agent);
  const slow = await gateway.connectPort(port);
  let sent = 0;
  const blocked = (async () => {
    for (const piece = new Uint8Array(64 * 1024); sent < 64 * 1024 * 1024;) sent += await slow.write(piece);
  })().catch(() => {});
  const quick = await gateway.connectPort(port);
  let before = -1;
  await until(async () => {
    const isStill = before === sent;
    before = sent;
    assert.equal(await roundTrip(quick, "hello"), "hello");
    await bulkTrip(quick);
    return isStill;
  }, { what: "the stalled stream to stop" });
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes wait somewhere`);
  slow.close();
  await blocked;
  stalled?.resume();
  quick.close();
});

plainTest(
  "an answer to a request that ended with FIN gets through; a service that is silent then is told",
  async (gateway) => {
    await using agent = await start(gateway, {
      serve(socket) {
        socket.on("message", () => setTimeout(() => socket.send(encode("answer")), 20));
      },
    });
    const client = await gateway.connectPort(await publicPort(gateway, agent));
    await writeAll(client, encode("question"));
    await client.closeWrite();
    assert.equal(await readText(client), "answer"); // and the end: our close frame, and the agent's
    client.close();
  },
);

plainTest("udp: datagrams as in streams of Postern's agents, one WebSocket a source", async (gateway) => {
  await using agent = await start(gateway);
  const answer = await agent.register("dns", { udp: true });
  assert.ok("service" in answer, JSON.stringify(answer));
  const [port] = gateway.udpPorts;
  port?.deliver(encode("ping"), 4000);
  port?.deliver(encode("pong"), 4001);
  await until(() => port?.sent.length === 2, { what: "both to be sent back" });
  const sent = port?.sent.map(({ data, to }) => `${to} ${new TextDecoder().decode(data)}`);
  assert.deepEqual(sent?.sort(), ["4000 ping", "4001 pong"]);
  assert.equal(agent.sockets.length, 2);
});

const AUTH = encodePlain(TYPE.auth, Uint8Array.of(0, 1, 0x78, ...new Uint8Array(16)));
const wrong: readonly { name: string; sent: Uint8Array | string; closed: RegExp; beforeAuth?: boolean }[] = [
  {
    name: "another first message",
    sent: encodePlain(0x30, new Uint8Array(8)),
    closed: /^no_auth/,
    beforeAuth: true,
  },
  {
    name: "half a message",
    sent: encodePlain(0x30, new Uint8Array(8)).subarray(0, 9),
    closed: /protocol_error/,
  },
  {
    name: "two messages in one",
    sent: Uint8Array.of(...encodePlain(0x30, new Uint8Array(8)), ...encodePlain(0x30, new Uint8Array(8))),
    closed: /protocol_error/,
  },
  { name: "an empty message", sent: new Uint8Array(), closed: /protocol_error/ },
  { name: "a text message", sent: "hello", closed: /^1003 / },
  {
    name: "a message of 65,537 bytes",
    sent: encodePlain(0x41, new Uint8Array(65_532)),
    closed: /protocol_error/,
  },
  { name: "an unknown type", sent: encodePlain(0x77, new Uint8Array()), closed: /protocol_error/ },
  { name: "a second Auth", sent: AUTH, closed: /protocol_error/ },
  {
    name: "a message of the gateway's",
    sent: encodePlain(0x02, new Uint8Array(16)),
    closed: /protocol_error/,
  },
  {
    name: "a message of Postern's own agents",
    sent: encodePlain(0x13, encode(JSON.stringify({ name: "web", protocol: "http" }))),
    closed: /protocol_error/,
  },
  {
    name: "Register for an unknown protocol",
    sent: encodePlain(0x10, Uint8Array.of(1, 97, 2, 0, 1, 0, 0)),
    closed: /protocol_error/,
  },
];
for (const { name, sent, closed, beforeAuth } of wrong) {
  plainTest(`told and closed: ${name}`, async (gateway) => {
    await using other = await start(gateway, { token: TOKENS.bob });
    await using agent = beforeAuth ? await PlainAgent.connect(options(gateway)) : await start(gateway);
    agent.sendRaw(sent);
    agent.send(TYPE.heartbeat, new Uint8Array(8)); // what is empty shows when something follows
    await until(() => agent.isClosed, { what: "it to be closed" });
    const last = agent.received.findLast(({ type }) => type === TYPE.disconnect || type === TYPE.authFail);
    assert.match(last ? reasonOf(last) : agent.closed?.join(" ") ?? "", closed);
    assert.equal(gateway.plugin.tunnels().length, 1);
    assert.ok("service" in await other.register("still"));
    if (beforeAuth) return;
    assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "protocol_error");
  });
}

plainTest("a message in several frames, and of the greatest length, is one message", async (gateway) => {
  await using other = await start(gateway, { token: TOKENS.bob });
  const heartbeat = encodePlain(TYPE.heartbeat, new Uint8Array(8));
  [heartbeat.subarray(0, 3), heartbeat.subarray(3, 7)].forEach((part) => other.sendRaw(part, false));
  other.sendRaw(heartbeat.subarray(7));
  await other.next(TYPE.heartbeatAck);
  await using agent = await PlainAgent.connect(options(gateway));
  const token = "x".repeat(65_536 - 5 - 2 - 16);
  assert.match(reasonOf(await agent.authenticate(token)), /^(malformed|bad_token): /);
});

plainTest("the token is in no log", async (gateway) => {
  await using agent = await start(gateway);
  await publicPort(gateway, agent);
  assert.equal(JSON.stringify(gateway.events).includes(TOKENS.alice), false);
});
