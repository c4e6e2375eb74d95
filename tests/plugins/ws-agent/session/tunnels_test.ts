import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { encodeControl } from "../../../../plugins/ws-agent/control/codec.ts";
import type { Grant } from "../../../../plugins/ws-agent/auth/grant.ts";
import type { ControlMessage } from "../../../../plugins/ws-agent/control/messages.ts";
import { clientIdOf, echo, respond, type TestAgent } from "../../../support/test_agent.ts";
import { until } from "../../../support/until.ts";
import {
  BOTH,
  encode,
  get,
  portConnection,
  readText,
  roundTrip,
  TestGateway,
  tokenEntry,
  TOKENS,
} from "../harness.ts";

const WEB = { name: "web", protocol: "http" } as const;
const SSH = { name: "ssh", protocol: "tcp", remotePort: 30_003 } as const;
const QUICK = { interval: "100ms", timeout: "300ms" };

/** The tunnel's end, as it is logged. */
async function closed(gateway: TestGateway): Promise<string | undefined> {
  return (await gateway.logged("tunnel_closed")).fields["reason"]?.toString();
}

/** A public connection over which bytes flow until it is cut; resolves to how it was. */
async function flow(gateway: TestGateway): Promise<{ readonly cut: Promise<unknown> }> {
  const client = await gateway.connectPort(30_003);
  await roundTrip(client, "hello");
  const cut = (async () => {
    for (;;) await roundTrip(client, "more");
  })().catch((error) => error);
  return { cut };
}

Deno.test("heartbeats: sent once an interval; an agent that answers stays, and has a round trip", async () => {
  await using gateway = new TestGateway({ section: { heartbeat: QUICK } });
  const agent = await gateway.agent();
  for (let i = 0; i < 5; i++) await agent.next("heartbeat");
  const roundTripMs = gateway.plugin.tunnels()[0]?.roundTripMs;
  assert.ok(roundTripMs !== undefined && roundTripMs < 100, `${roundTripMs}`);
});

Deno.test("heartbeats: those of the agent are answered with its own time", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.send({ type: "heartbeat", time: 1_700_000_000_123 });
  assert.deepEqual(await agent.next("heartbeatAck"), { type: "heartbeatAck", time: 1_700_000_000_123 });
});

Deno.test("heartbeats: an agent of which nothing is heard is dead after the timeout, although TCP says nothing", async () => {
  await using gateway = new TestGateway({ section: { heartbeat: QUICK } });
  const agent = await gateway.agent();
  await agent.serve(SSH);
  const { cut } = await flow(gateway);
  agent.transport.freeze();
  assert.equal(await closed(gateway), "heartbeat_timeout");
  assert.ok(await cut instanceof Deno.errors.ConnectionReset);
});

Deno.test("heartbeats: an agent that answers none but sends other bytes is alive", async () => {
  await using gateway = new TestGateway({ section: { heartbeat: QUICK } });
  const agent = await gateway.agent({ answersHeartbeats: false });
  await agent.serve(SSH);
  const client = await gateway.connectPort(30_003);
  const end = performance.now() + 600;
  while (performance.now() < end) {
    await roundTrip(client, "x");
    await agent.next("heartbeat");
  }
  assert.equal(gateway.plugin.tunnels().length, 1);
});

Deno.test("a token that expires cuts its tunnel and the streams in it", async () => {
  const expires = new Date(Date.now() + 1000).toISOString();
  await using gateway = new TestGateway({
    section: { heartbeat: QUICK },
    tokens: tokenEntry("alice", TOKENS.alice, `expires: "${expires}", allow: { ports: 30003 }`),
  });
  const agent = await gateway.agent();
  await agent.serve(SSH);
  const { cut } = await flow(gateway);
  assert.match((await agent.next("disconnect")).reason, /expired/);
  assert.equal(await closed(gateway), "token_expired");
  await cut;
});

Deno.test("a token that is revoked cuts its tunnels at once, bytes or not, and frees the names", async () => {
  const section = { reconnectGrace: "1m" };
  await using gateway = new TestGateway({ section });
  const agent = await gateway.agent({ leaves: false });
  await agent.serve(SSH);
  const other = await gateway.agent({ token: TOKENS.bob });
  const { cut } = await flow(gateway);
  const start = performance.now();
  await gateway.reload(section, tokenEntry("bob", TOKENS.bob));
  assert.match((await agent.next("disconnect")).reason, /no longer valid/);
  await agent.ended;
  await cut;
  assert.ok(performance.now() - start < 2000, "an agent that does not leave is cut off soon");
  assert.equal(await closed(gateway), "token_revoked");
  assert.equal((await other.register(SSH)).type, "serviceRegistered");
});

Deno.test("a grant is looked at for every stream, and not only now and then", async () => {
  let end: string | undefined = undefined;
  const grant: Grant = {
    owner: "mallory",
    principal: "token:mallory",
    allows: () => undefined,
    mayAccess: () => "may_not",
    stillGood: () => end,
  };
  await using gateway = new TestGateway({ grant });
  const agent = await gateway.agent();
  await agent.serve(SSH);
  await roundTrip(await gateway.connectPort(30_003), "x");
  assert.equal((await gateway.route(portConnection(30_003)))?.kind, "open");
  end = "Gone";
  await assert.rejects(gateway.connectPort(30_003), /gone/);
  assert.equal(await closed(gateway), "token_revoked");
  assert.equal(agent.streams.length, 1);
});

Deno.test("a token that may no longer have one of its services cuts the tunnel, and the rest comes back", async () => {
  const tokens = (subdomains: string) =>
    tokenEntry("alice", TOKENS.alice, `allow: { subdomains: ${subdomains} }`);
  await using gateway = new TestGateway({ tokens: tokens("[web, api]") });
  const before = await gateway.agent();
  await before.serve(WEB);
  await before.serve({ name: "api", protocol: "http" });
  await gateway.reload({}, tokens("[web]"));
  await before.ended;
  assert.equal(await closed(gateway), "service_revoked");
  const after = await gateway.agent();
  await after.serve(WEB);
  assert.equal((await after.register({ name: "api", protocol: "http" })).type, "registerFail");
});

Deno.test("a reload that changes nothing for them leaves tunnels and streams alone", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.serve(SSH);
  const client = await gateway.connectPort(30_003);
  await roundTrip(client, "hello");
  await gateway.reload({ domain: "example.net", endpoint: "tunnel.example.com", ports: "40000-40001" }, BOTH);
  assert.equal(await roundTrip(client, "again"), "again");
  assert.equal(await roundTrip(await gateway.connectPort(30_003), "new"), "new");
  // What is registered from now on goes by the new config.
  assert.equal((await agent.serve(WEB)).url, "https://web.example.net:8443");
  assert.equal(
    (await agent.register({ name: "x", protocol: "tcp", remotePort: 30_004 })).type,
    "registerFail",
  );
});

Deno.test("a token file that is broken leaves everything as it was", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await assert.rejects(gateway.reload({ limits: { streamsPerTunnel: 1 } }, "nonsense: ["));
  await agent.serve(SSH);
  await roundTrip(await gateway.connectPort(30_003), "x");
  await roundTrip(await gateway.connectPort(30_003), "x");
});

Deno.test("idleTimeout: a tunnel without streams is closed with that reason; one with a stream is not", async () => {
  await using gateway = new TestGateway({ section: { idleTimeout: "1s", heartbeat: QUICK } });
  const busy = await gateway.agent();
  await busy.serve(SSH);
  await roundTrip(await gateway.connectPort(30_003), "x");
  const idle = await gateway.agent({ client: 2 });
  assert.match((await idle.next("disconnect")).reason, /idleTimeout/);
  assert.equal(await closed(gateway), "idle_timeout");
  assert.equal(gateway.plugin.tunnels().length, 1);
});

Deno.test("drain: idle tunnels end, streams that are open go on to their end, and nobody new gets in", async () => {
  await using gateway = new TestGateway({ section: { heartbeat: QUICK } });
  const busy = await gateway.agent();
  await busy.serve(SSH);
  const idle = await gateway.agent({ client: 2 });
  const client = await gateway.connectPort(30_003);
  await roundTrip(client, "hello");
  gateway.plugin.drain();
  assert.match((await idle.next("disconnect")).reason, /going away/);
  await until(() => busy.yamux.peerGoesAway, { what: "the go-away" });
  await assert.rejects(gateway.agent({ client: 3 }), /503/);
  await writeAll(client, encode("still here"));
  await client.closeWrite();
  assert.equal(await readText(client), "still here");
  client.close();
  assert.match((await busy.next("disconnect")).reason, /going away/);
  await busy.ended;
  assert.equal(gateway.plugin.tunnels().length, 0);
});

Deno.test("drain: an agent that reconnects elsewhere does not cut the streams that it has here", async () => {
  await using gateway = new TestGateway({ nodes: 2 });
  const before = await gateway.agent({ epoch: 1, node: 0 });
  await before.serve(SSH);
  const client = await gateway.connectPort(30_003, 0);
  await roundTrip(client, "hello");
  gateway.plugins[0]?.drain();
  const after = await gateway.agent({ epoch: 1, node: 1 });
  await after.serve(SSH);
  assert.equal(await roundTrip(client, "still here"), "still here");
  assert.equal(await roundTrip(await gateway.connectPort(30_003, 1), "new"), "new");
  assert.equal(after.streams.length, 1);
});

Deno.test("the end of the gateway is told to agents; one that does not leave is cut off", async () => {
  const gateway = new TestGateway();
  const agent = await gateway.agent({ leaves: false });
  const start = performance.now();
  await gateway.plugin[Symbol.asyncDispose]();
  assert.ok(performance.now() - start < 2000);
  assert.match((await agent.next("disconnect")).reason, /going away/);
  await agent.ended;
  await gateway[Symbol.asyncDispose]();
});

const violations: {
  name: string;
  send: (agent: TestAgent) => Promise<void>;
  told: RegExp;
  reason?: string;
}[] = [
  {
    name: "a second Auth",
    send: (agent) => agent.send({ type: "auth", token: "x", clientId: clientIdOf(1) }),
    told: /does not send auth/,
  },
  ...(["authOk", "connectAck", "registerFail"] as const).map((type) => ({
    name: `a message that is not an agent's: ${type}`,
    send: (agent: TestAgent) => agent.send(notAnAgents(type)),
    told: new RegExp(`does not send ${type}`),
  })),
  {
    name: "an unknown type",
    send: (agent) => agent.sendBytes(Uint8Array.of(0xee, 0, 0, 0, 0)),
    told: /unknown type/,
  },
  {
    name: "a message over the limit",
    send: (agent) => agent.sendBytes(Uint8Array.of(0x13, 0, 1, 0, 0)),
    told: /65541 bytes/,
  },
  {
    name: "a payload that does not fit its length",
    send: (agent) => agent.sendBytes(Uint8Array.of(0x30, 0, 0, 0, 1, 0)),
    told: /Control message/,
  },
  {
    name: "JSON that is none",
    send: (agent) => agent.sendBytes(Uint8Array.of(0x13, 0, 0, 0, 1, 0x7b)),
    told: /JSON/,
  },
];

function notAnAgents(type: "authOk" | "connectAck" | "registerFail"): ControlMessage {
  if (type === "authOk") return { type, tunnelId: clientIdOf(1) };
  return type === "connectAck" ? { type, connectionId: clientIdOf(1) } : { type, reason: "no" };
}

for (const { name, send, told } of violations) {
  Deno.test(`breaking the protocol ends the tunnel, with the reason: ${name}`, async () => {
    await using gateway = new TestGateway();
    const agent = await gateway.agent();
    await send(agent);
    assert.match((await agent.next("disconnect")).reason, told);
    await agent.ended;
    assert.equal(await closed(gateway), "protocol_error");
    assert.equal(gateway.metric("tunnel_protocol_errors_total"), 1);
  });
}

Deno.test("an agent that floods its control stream is closed", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const one = encodeControl({ type: "heartbeat", time: 1 });
  const many = new Uint8Array(one.length * 1000);
  for (let i = 0; i < 1000; i++) many.set(one, i * one.length);
  await agent.sendBytes(many).catch(() => {});
  await agent.ended;
  assert.equal(await closed(gateway), "control_flood");
});

Deno.test("an agent that reads nothing of the control stream holds a bounded amount, and is closed in time", async () => {
  await using gateway = new TestGateway({ section: { limits: { servicesPerTunnel: 10_000 } } });
  const agent = await gateway.agent({ answersHeartbeats: false, stalls: true });
  // Each refusal is some hundred bytes that it does not take.
  const name = "x".repeat(64);
  const service = encodeControl({ type: "registerService", name, protocol: "http" });
  for (let i = 0; i < 9000 && gateway.plugin.tunnels().length > 0; i++) {
    await agent.sendBytes(service).catch(() => {});
  }
  assert.equal(await closed(gateway), "control_stalled");
});

Deno.test("an agent that leaves, ends its control stream, or resets it: its tunnel ends, its names are kept", async () => {
  const ways: { leave: (agent: TestAgent) => unknown; reason: string }[] = [
    { leave: (agent) => agent.send({ type: "disconnect", reason: "bye" }), reason: "agent_left" },
    { leave: (agent) => agent.control.closeWrite(), reason: "agent_left" },
    { leave: (agent) => agent.control.reset(), reason: "connection_lost" },
    { leave: (agent) => agent.yamux.close(), reason: "agent_left" },
    { leave: (agent) => agent.kill(), reason: "connection_lost" },
  ];
  for (const { leave, reason } of ways) {
    await using gateway = new TestGateway();
    const agent = await gateway.agent();
    await agent.serve(WEB);
    await leave(agent);
    assert.equal(await closed(gateway), reason);
    assert.deepEqual(gateway.registry.lookup("name:web.example.com")?.sessions, []);
  }
});

Deno.test("an agent that reads slowly holds back its own client, and nobody else", async () => {
  const done = Promise.withResolvers<void>();
  await using gateway = new TestGateway();
  const slow = await gateway.agent({ serve: () => done.promise });
  await slow.serve(SSH);
  const quick = await gateway.agent({ client: 2, serve: respond("quick") });
  await quick.serve(WEB);
  const client = await gateway.connectPort(30_003);
  let taken = 0;
  const chunk = new Uint8Array(64 * 1024);
  const sending = (async () => {
    while (taken < 64 * 1024 * 1024) taken += await client.write(chunk);
  })().catch(() => {});
  await until(async () => {
    const before = taken;
    await get(gateway.http("web.example.com"), "web.example.com");
    return taken > 0 && taken === before;
  }, { what: "the flow to stop" });
  assert.ok(taken < 8 * 1024 * 1024, `${taken} bytes are on their way to somebody who reads none`);
  client.close();
  await sending;
  done.resolve();
});

Deno.test("strangers' texts reach no log line as they came", async () => {
  const owner = "mal\\u202eice";
  await using gateway = new TestGateway({
    tokens: tokenEntry("alice", TOKENS.alice),
    section: { heartbeat: QUICK },
  });
  const agent = await gateway.agent({ serve: echo });
  await agent.register({ name: `evil\u001b]0;${owner}\u0007`, protocol: "http" });
  await agent.register({ name: "ok", protocol: "http", target: "a\nb\u202e", hostname: "x\r\ny" });
  await agent.send({ type: "disconnect", reason: "\u001b[31m" });
  await closed(gateway);
  assert.doesNotMatch(JSON.stringify(gateway.events), /\\u001b|\\u0007|\\r|\\n|\u202e/);
});
