/** Several agents that serve one name or port together. */
import assert from "node:assert/strict";
import { closeQuietly } from "../../../core/byte_stream.ts";
import type { LocalRegistry } from "../../../core/registry/local.ts";
import type { NodeId } from "../../../core/registry/registry.ts";
import { RegistryReplica } from "../../../core/registry/replica.ts";
import type { RegisterService } from "../../../plugins/ws-agent/control/messages.ts";
import {
  respond,
  type ServeStream,
  type TestAgent,
  type TestAgentOptions,
} from "../../support/test_agent.ts";
import { until } from "../../support/until.ts";
import { tlsConnection } from "../connection.ts";
import {
  BOTH,
  get,
  portConnection,
  readTextUntil,
  TestGateway,
  type TestGatewayOptions,
  tokenEntry,
  TOKENS,
} from "./harness.ts";

const HOST = "web.example.com";
const WEB: RegisterService = { name: "web", protocol: "http", shared: true };
const DB: RegisterService = { name: "db", protocol: "tls", shared: true };
const SSH: RegisterService = { name: "ssh", protocol: "tcp", remotePort: 30_003, shared: true };
const MAY_SHARE = 'allow: { subdomains: ["*"], ports: "30000-30009", share: true }';
const SHARING = tokenEntry("alice", TOKENS.alice, MAY_SHARE) + tokenEntry("bob", TOKENS.bob, MAY_SHARE);

function gatewayOf(options: TestGatewayOptions = {}): TestGateway {
  return new TestGateway({ tokens: SHARING, ...options });
}

/** Says its name, and then nothing until the client has left. */
function say(text: string): ServeStream {
  return async (stream) => {
    await stream.write(new TextEncoder().encode(text));
    await stream.read(new Uint8Array(1));
  };
}

/** Agents `a`, `b`, … of one token, each of which answers by its letter. */
async function agents(
  gateway: TestGateway,
  service: RegisterService,
  more:
    readonly (TestAgentOptions & { readonly node?: number; readonly balance?: RegisterService["balance"] })[],
): Promise<TestAgent[]> {
  const started: TestAgent[] = [];
  for (const [i, { balance, ...options }] of more.entries()) {
    const letter = "abcdef"[i] ?? "z";
    const serve = service.protocol === "http" ? respond(letter) : say(letter);
    const agent = await gateway.agent({ client: i + 1, epoch: 1, serve, ...options });
    await agent.serve(balance === undefined ? service : { ...service, balance });
    started.push(agent);
  }
  return started;
}

/** Who answers one connection. */
async function ask(gateway: TestGateway, node = 0): Promise<string> {
  const client = gateway.http(HOST, node);
  const text = await get(client, HOST);
  closeQuietly(client);
  return text.startsWith("HTTP/1.1 200") ? text.at(-1) ?? "" : text;
}

/** Who answers a connection to a port, or by TLS, from a source; it is closed again. */
async function hear(gateway: TestGateway, info = portConnection(30_003), node = 0): Promise<string> {
  const client = await gateway.connect(info, node);
  const letter = await readTextUntil(client, (text) => text.length > 0);
  closeQuietly(client);
  return letter;
}

async function tally(times: number, one: (i: number) => Promise<string>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const who = await one(i);
    counts[who] = (counts[who] ?? 0) + 1;
  }
  return counts;
}

Deno.test("requests reach two agents under one name evenly", async () => {
  await using gateway = gatewayOf();
  await agents(gateway, WEB, [{}, {}]);
  assert.deepEqual(await tally(20, () => ask(gateway)), { a: 10, b: 10 });
});

Deno.test("connections to a port reach two agents evenly, and so do those by TLS", async () => {
  await using gateway = gatewayOf();
  const both = await agents(gateway, SSH, [{}, {}]);
  for (const agent of both) await agent.serve(DB);
  assert.deepEqual(await tally(10, () => hear(gateway)), { a: 5, b: 5 });
  const info = tlsConnection("db.example.com");
  assert.deepEqual(await tally(10, () => hear(gateway, info)), { a: 5, b: 5 });
});

Deno.test("a connection goes to the agent with the fewest streams, over all of its tunnels", async () => {
  await using gateway = gatewayOf();
  const hold = async () => {
    const client = await gateway.connectPort(30_003);
    return await readTextUntil(client, (text) => text.length > 0);
  };
  await agents(gateway, SSH, [{}]);
  const second = await gateway.agent({ client: 1, epoch: 1, slot: 1, serve: say("a") });
  await second.serve(SSH);
  for (let i = 0; i < 4; i++) assert.equal(await hold(), "a");
  assert.deepEqual(gateway.plugin.tunnels().map(({ streams }) => streams), [2, 2]);
  const late = await gateway.agent({ client: 2, epoch: 1, serve: say("b") });
  await late.serve(SSH);
  assert.deepEqual(await tally(4, hold), { b: 4 });
  assert.deepEqual(await tally(4, hold), { a: 2, b: 2 });
});

Deno.test("round-robin is by turns, whoever is busy", async () => {
  await using gateway = gatewayOf();
  await agents(gateway, SSH, [{}, {}].map((one) => ({ ...one, balance: "round-robin" as const })));
  const held = await gateway.connectPort(30_003); // a is busy from now on
  await readTextUntil(held, (text) => text.length > 0);
  assert.deepEqual(await tally(8, () => hear(gateway)), { a: 4, b: 4 });
});

Deno.test("by source-hash a client stays with its agent, on every data plane, also when another comes back", async () => {
  await using gateway = gatewayOf({ nodes: 2 });
  const balance = "source-hash" as const;
  const [, b] = await agents(gateway, SSH, [{ node: 0, balance }, { node: 1, balance }, {
    node: 1,
    balance,
  }]);
  const from = (i: number) => ({
    ...portConnection(30_003),
    source: { address: `192.0.2.${i}`, port: 1 + i },
  });
  const before: string[] = [];
  for (let i = 0; i < 24; i++) before.push(await hear(gateway, from(i), i % 2));
  assert.equal(new Set(before).size, 3);
  for (let i = 0; i < 24; i++) assert.equal(await hear(gateway, from(i), (i + 1) % 2), before[i]);
  b?.kill();
  await until(() => gateway.registry.lookup("port:30003")?.sessions.length === 2, { what: "its end" });
  for (let i = 0; i < 24; i++) {
    const now = await hear(gateway, from(i));
    if (before[i] === "b") assert.notEqual(now, "b");
    else assert.equal(now, before[i]);
  }
  const back = await gateway.agent({ client: 2, epoch: 2, node: 0, serve: say("b") });
  await back.serve({ ...SSH, balance });
  for (let i = 0; i < 24; i++) assert.equal(await hear(gateway, from(i), i % 2), before[i]);
});

Deno.test("an agent on another data plane has its part, of requests, of ports and of TLS", async () => {
  await using gateway = gatewayOf({ nodes: 2 });
  const both = await agents(gateway, WEB, [{ node: 0 }, { node: 1 }]);
  for (const node of [0, 1]) assert.deepEqual(await tally(10, () => ask(gateway, node)), { a: 5, b: 5 });
  assert.equal(both.length, 2);
});

Deno.test("three agents, two of them on another data plane: a third each", async () => {
  await using gateway = gatewayOf({ nodes: 2 });
  await agents(gateway, SSH, [{ node: 0 }, { node: 1 }, { node: 1 }]);
  assert.deepEqual(await tally(12, () => hear(gateway)), { a: 4, b: 4, c: 4 });
  const mixed = await tally(24, (i) => hear(gateway, portConnection(30_003), i % 2));
  assert.deepEqual(mixed, { a: 8, b: 8, c: 8 });
});

Deno.test("a dead agent is out at once, and has its part again when it is back", async () => {
  await using gateway = gatewayOf();
  const [a] = await agents(gateway, WEB, [{}, {}]);
  a?.kill();
  await gateway.logged("tunnel_closed");
  assert.deepEqual(await tally(10, () => ask(gateway)), { b: 10 });
  const back = await gateway.agent({ client: 1, epoch: 2, serve: respond("a") });
  await back.serve(WEB);
  assert.deepEqual(await tally(10, () => ask(gateway)), { a: 5, b: 5 });
});

Deno.test("requests on connections that are kept go on when the agent dies that they went to", async () => {
  await using gateway = gatewayOf({ nodes: 2 });
  const both = await agents(gateway, WEB, [{ node: 0 }, { node: 1 }]);
  const clients = [0, 1, 0, 1, 0, 1].map((node) => gateway.http(HOST, node));
  const letters = async () => {
    const texts = await Promise.all(clients.map((client) => get(client, HOST)));
    for (const text of texts) assert.ok(text.startsWith("HTTP/1.1 200"), text);
    return new Set(texts.map((text) => text.at(-1)));
  };
  assert.equal((await letters()).size, 2);
  both[1]?.kill();
  await gateway.logged("tunnel_closed");
  for (let i = 0; i < 3; i++) assert.deepEqual(await letters(), new Set(["a"]));
});

/** Views of a registry whose truth is asked at once, and whose events and answers come later, in order. */
class SlowViews implements AsyncDisposable {
  readonly replicas: RegistryReplica[] = [];
  readonly #lanes: (() => Promise<void>)[] = [];

  readonly of = (registry: LocalRegistry, node: NodeId): RegistryReplica => {
    let last = Promise.resolve();
    this.#lanes.push(() => last);
    const later = (task: () => void) => {
      const due = new Promise((resolve) => setTimeout(resolve, 200));
      last = last.then(() => due).then(task);
    };
    const ask = <T>(answer: T) => new Promise<T>((resolve) => later(() => resolve(answer)));
    const replica = new RegistryReplica(node, {
      open: (session) => ask(registry.open(session)),
      claim: (...claim) => ask(registry.claim(...claim)),
      release: (id, key) => ask(registry.release(id, key)),
      close: (id, graceMs) => ask(registry.close(id, graceMs)),
    });
    registry.listen((event) => later(() => replica.apply([event])));
    this.replicas.push(replica);
    return replica;
  };

  /** When everything has come. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const lane of this.#lanes) await lane();
  }
}

Deno.test("a request whose agent has died elsewhere is not sent there again, though the word of it is on its way", async () => {
  await using views = new SlowViews();
  await using gateway = gatewayOf({ nodes: 2, viewOf: views.of });
  const both = await agents(gateway, WEB, [0, 1].map((node) => ({ node, balance: "source-hash" as const })));
  await until(() => views.replicas.every((one) => one.lookup(`name:${HOST}`)?.sessions.length === 2), {
    what: "both data planes to know both",
  });
  const chosen = await ask(gateway) === "a" ? 0 : 1;
  const elsewhere = 1 - chosen;
  assert.equal(await ask(gateway, elsewhere), "ab"[chosen]);
  both[chosen]?.kill();
  await until(() => gateway.plugins[chosen]?.tunnels().length === 0, { what: "its end" });
  assert.equal(await ask(gateway, elsewhere), "ab"[elsewhere]);
});

Deno.test("a name is kept only when the last of its agents is gone", async () => {
  await using gateway = gatewayOf({ section: { reconnectGrace: "30s" } });
  const both = await agents(gateway, WEB, [{}, {}]);
  for (const agent of both) agent.kill();
  await until(() => gateway.registry.lookup(`name:${HOST}`)?.sessions.length === 0, { what: "their end" });
  const stranger = await gateway.agent({ token: TOKENS.bob, client: 9 });
  const refused = await stranger.register(WEB);
  assert.ok(refused.type === "registerFail" && refused.reason.startsWith("held: "));
  const client = gateway.http(HOST);
  const answer = get(client, HOST);
  await agents(gateway, WEB, [{ epoch: 2 }]);
  assert.match(await answer, /^HTTP\/1.1 200[^]*a$/);
});

const refusals: readonly {
  readonly name: string;
  readonly first?: Partial<RegisterService>;
  readonly second: Partial<RegisterService>;
  readonly token?: string;
  readonly reason: RegExp;
}[] = [
  { name: "of another token", second: {}, token: TOKENS.bob, reason: /^held: / },
  { name: "that does not share", second: { shared: false }, reason: /^held: / },
  { name: "beside one that does not share", first: { shared: false }, second: {}, reason: /^held: / },
  { name: "with another protocol", second: { protocol: "tls" }, reason: /^held: / },
  { name: "with another service of that name", second: { name: "other", hostname: HOST }, reason: /^held: / },
];

for (const { name, first = {}, second, token = TOKENS.alice, reason } of refusals) {
  Deno.test(`an agent ${name} is refused, and disturbs nobody`, async () => {
    await using gateway = gatewayOf();
    const holder = await gateway.agent({ client: 1, serve: respond("a") });
    await holder.serve({ ...WEB, ...first });
    const other = await gateway.agent({ client: 2, token, serve: respond("b") });
    const answer = await other.register({ ...WEB, ...second });
    assert.match(answer.type === "registerFail" ? answer.reason : answer.url, reason);
    assert.deepEqual(await tally(4, () => ask(gateway)), { a: 4 });
  });
}

Deno.test("an agent whose token does not say that it may share is told so", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const answer = await agent.register(WEB);
  assert.equal(
    answer.type === "registerFail" && answer.reason,
    "not_allowed: This token may not share services between agents (allow.share)",
  );
  const plain = await agent.register({ ...WEB, shared: false });
  assert.equal(plain.type, "serviceRegistered");
});

for (const protocol of ["tcp", "udp"] as const) {
  Deno.test(`a ${protocol} port that is shared is asked for by its number`, async () => {
    await using gateway = gatewayOf();
    const answer = await (await gateway.agent()).register({ name: "ssh", protocol, shared: true });
    assert.ok(answer.type === "registerFail" && answer.reason.startsWith("bad_port: "));
  });
}

Deno.test("agents that share leave when their token may not do so any more", async () => {
  await using gateway = gatewayOf();
  const [a, b] = await agents(gateway, WEB, [{}, {}]);
  await gateway.reload(undefined, BOTH);
  for (const agent of [a, b]) {
    assert.match((await agent?.next("disconnect"))?.reason ?? "", /^service_revoked: /);
  }
});
