import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import type { AccessAnswer, Grant } from "../../../../plugins/ws-agent/auth/grant.ts";
import type { ControlMessage } from "../../../../plugins/ws-agent/control/messages.ts";
import { encodeStreamHeader } from "../../../../plugins/ws-agent/stream_header.ts";
import type { TestAgent } from "../../../support/test_agent.ts";
import { until } from "../../../support/until.ts";
import { tlsConnection } from "../../connection.ts";
import {
  BOTH,
  encode,
  hasteOf,
  portConnection,
  readText,
  readTextUntil,
  roundTrip,
  TestGateway,
  type TestGatewayOptions,
  tokenEntry,
  TOKENS,
} from "../harness.ts";

const LOCAL = { address: "127.0.0.1", port: 40_001 };
const DB = { name: "db", protocol: "tcp", private: true } as const;
const NO_SUCH = /^no_such_service: There is no private service "[^"]*", or this token may not reach it$/;

type Answer = Extract<ControlMessage, { type: "accessGranted" | "accessFail" }>;

async function ask(accessor: TestAgent, service: string, ttlMs?: number): Promise<Answer> {
  await accessor.send({ type: "accessService", service, ...(ttlMs !== undefined && { ttlMs }) });
  return await accessor.next("accessGranted", "accessFail");
}

async function granted(accessor: TestAgent, service: string, ttlMs?: number) {
  const answer = await ask(accessor, service, ttlMs);
  return answer.type === "accessGranted" ? answer : assert.fail(answer.reason);
}

/** A connection over an access, of which the header is out. */
async function open(accessor: TestAgent, accessId: string): Promise<ByteStream> {
  const stream = accessor.yamux.open();
  const header = { source: LOCAL, destination: LOCAL, connectionId: "1", serviceId: accessId };
  await writeAll(stream, encodeStreamHeader(header));
  return stream;
}

async function isCut(stream: ByteStream): Promise<boolean> {
  try {
    for (const into = new Uint8Array(1024);;) if (await stream.read(into) === null) return true;
  } catch (error) {
    return error instanceof Deno.errors.ConnectionReset;
  }
}

/** Bob, with what his entry says more. */
function tokens(bob = ""): string {
  return tokenEntry("alice", TOKENS.alice) + tokenEntry("bob", TOKENS.bob, bob);
}

const ALLOWED = tokens("allow: { access: [alice/db] }");

/** Alice serves `db` from `node`, and somebody wants to reach it. */
async function start(
  stack: AsyncDisposableStack,
  { node = 0, who = "bob", ...options }: TestGatewayOptions & { node?: number; who?: "alice" | "bob" } = {},
) {
  const gateway = stack.use(new TestGateway({ tokens: ALLOWED, ...options }));
  const agent = await gateway.agent({ node });
  const { url, serviceId } = await agent.serve(DB);
  assert.equal(url, "private:alice/db");
  const accessor = await gateway.agent({ token: TOKENS[who], client: 2 });
  return { gateway, agent, accessor, serviceId };
}

for (const node of [0, 1]) {
  Deno.test(`an access carries bytes both ways, to an agent on data plane ${node}, and counts them`, async () => {
    await using stack = new AsyncDisposableStack();
    const { gateway, agent, accessor } = await start(stack, { node, nodes: 2 });
    const { accessId, service, protocol, until: end, ttlMs } = await granted(accessor, "alice/db");
    assert.deepEqual([service, protocol], ["alice/db", "tcp"]);
    assert.ok(ttlMs > 3_599_000 && ttlMs <= 3_600_000, "an hour");
    assert.ok(Math.abs(end - Date.now() - ttlMs) < 5000);
    const streams = await Promise.all([1, 2].map(() => open(accessor, accessId)));
    for (const stream of streams) assert.equal(await roundTrip(stream, "hello"), "hello");
    for (const stream of streams) {
      await writeAll(stream, encode(" and"));
      await stream.closeWrite(); // half-close goes all the way
      assert.equal(await readText(stream), " and");
      closeQuietly(stream);
    }
    assert.deepEqual(agent.streams.map(({ source }) => source.address), ["192.0.2.7", "192.0.2.7"]);
    assert.equal(gateway.metric("tunnel_accesses_active"), 1);
    await accessor[Symbol.asyncDispose]();
    const line = (await gateway.logged("access_ended")).fields;
    assert.deepEqual(
      [line["access"], line["owner"], line["principal"], line["source"], line["service"]],
      [accessId, "bob", "token:bob", "192.0.2.7", "alice/db"],
    );
    assert.deepEqual([line["connections"], line["bytesIn"], line["bytesOut"]], [2, 18, 18]);
    const first = (await gateway.logged("access_granted")).fields;
    assert.equal(first["until"], new Date(end).toISOString());
    assert.equal(gateway.metric("tunnel_accesses_active"), 0);
  });
}

Deno.test("first bytes that come with the header arrive once, and a service may speak first", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({
    serve: async (stream, _, rest) => {
      await writeAll(stream, encode("hi "));
      await writeAll(stream, rest);
      await stream.closeWrite();
      await readText(stream);
    },
  });
  await agent.serve(DB);
  const accessor = await gateway.agent({ client: 2 });
  const { accessId } = await granted(accessor, "db");
  const stream = accessor.yamux.open();
  const header = { source: LOCAL, destination: LOCAL, connectionId: "1", serviceId: accessId };
  await writeAll(stream, Uint8Array.of(...encodeStreamHeader(header), ...encode("you")));
  assert.equal(await readTextUntil(stream, (text) => text.length >= 6), "hi you");
  stream.close();
});

// Who may reach what: whatever is in no row that says so is refused.
const policies: readonly {
  readonly what: string;
  readonly bob?: string;
  readonly service: string;
  readonly as?: "alice";
  readonly may?: true;
}[] = [
  { what: "the owner, by the name alone", as: "alice", service: "db", may: true },
  { what: "the owner, by the whole name", as: "alice", service: "alice/db", may: true },
  { what: "another without a policy", service: "alice/db" },
  { what: "another by the name alone", bob: "allow: { access: [alice/db] }", service: "db" },
  { what: "another with that service", bob: "allow: { access: [alice/db] }", service: "alice/db", may: true },
  {
    what: "another with all of its owner",
    bob: "allow: { access: [alice/*] }",
    service: "alice/db",
    may: true,
  },
  {
    what: "another with a part of a name",
    bob: "allow: { access: ['*/d*'] }",
    service: "alice/db",
    may: true,
  },
  { what: "another with another service", bob: "allow: { access: [alice/dbx] }", service: "alice/db" },
  { what: "another with all of somebody else", bob: "allow: { access: ['alic/*'] }", service: "alice/db" },
  { what: "another with everything but accesses", bob: "allow: { subdomains: ['*'] }", service: "alice/db" },
  {
    what: "another with that service, in other letters",
    bob: "allow: { access: [alice/db] }",
    service: "alice/DB",
  },
  {
    what: "one with a policy for what is not there",
    bob: "allow: { access: ['*/*'] }",
    service: "alice/none",
  },
  { what: "the owner, for what is not there", as: "alice", service: "none" },
  { what: "a public service", bob: "allow: { access: ['*/*'] }", service: "alice/public" },
  { what: "a public service, by its owner", as: "alice", service: "public" },
  { what: "a name with a slash too many", bob: "allow: { access: ['*/*'] }", service: "alice//db" },
  { what: "nothing", bob: "allow: { access: ['*/*'] }", service: "/" },
];

for (const { what, bob = "", service, as, may = false } of policies) {
  Deno.test(`${what}: ${may ? "granted" : "refused, as what is not there"}`, async () => {
    await using stack = new AsyncDisposableStack();
    const { agent, accessor } = await start(stack, { tokens: tokens(bob), who: as ?? "bob" });
    await agent.serve({ name: "public", protocol: "tcp" });
    const answer = await ask(accessor, service);
    assert.equal(answer.type, may ? "accessGranted" : "accessFail");
    if (answer.type === "accessFail") assert.match(answer.reason, NO_SUCH);
  });
}

Deno.test("two tenants have services of the same name, and neither reaches or learns of the other's", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway } = await start(stack, { tokens: BOTH });
  const bob = await gateway.agent({ token: TOKENS.bob });
  assert.equal((await bob.serve(DB)).url, "private:bob/db");
  const twin = await gateway.agent({ client: 3 });
  const answer = await twin.register(DB);
  assert.match(answer.type === "registerFail" ? answer.reason : "", /^held: /, "two agents of one token");
});

for (
  const { what, service } of [
    { what: "by udp", service: { ...DB, protocol: "udp" } },
    { what: "with a host name", service: { ...DB, protocol: "http", hostname: "db.example.com" } },
    { what: "with a port", service: { ...DB, remotePort: 30_001 } },
  ] as const
) {
  Deno.test(`a private service ${what} is refused`, async () => {
    await using gateway = new TestGateway();
    const agent = await gateway.agent();
    const answer = await agent.register({ ...service, name: "other" });
    assert.match(answer.type === "registerFail" ? answer.reason : "", /^not_supported: /);
  });
}

Deno.test("nothing public leads to a private service", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway, agent } = await start(stack);
  await agent.serve({ name: "web", protocol: "http", private: true });
  await agent.serve({ name: "mail", protocol: "tls", private: true });
  assert.deepEqual([...gateway.openPorts], []);
  for (const name of ["db", "web", "mail"]) {
    const decision = await gateway.route(tlsConnection(`${name}.example.com`));
    assert.equal(decision?.kind, "terminate", "as any name below the domain, for a 404");
  }
  for (const name of ["private:alice/db", "alice/db"]) {
    assert.equal(await gateway.route(tlsConnection(name)), undefined);
  }
  for (const port of [0, 30_000]) {
    assert.equal((await gateway.route(portConnection(port)))?.kind, "reject");
  }
  assert.deepEqual(agent.streams, []);
});

Deno.test("a stream without an access is a stray, and one of an unknown access is reset", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway, agent, accessor, serviceId } = await start(stack);
  assert.ok(await isCut(await open(accessor, serviceId)));
  assert.equal(gateway.metric("tunnel_stray_streams_total"), 1);
  const { accessId } = await granted(accessor, "alice/db");
  for (const id of [serviceId, "00000000-0000-0000-0000-000000000000"]) {
    assert.ok(await isCut(await open(accessor, id)));
  }
  const other = await gateway.agent({ client: 3 });
  await granted(other, "db");
  assert.ok(await isCut(await open(other, accessId)), "an access is its session's alone");
  assert.equal(gateway.metric("tunnel_stray_streams_total"), 1);
  assert.deepEqual(agent.streams, []);
  const good = await open(accessor, accessId);
  assert.equal(await roundTrip(good, "x"), "x");
  closeQuietly(good);
});

for (const max of [{}, { access: { maxTtl: "1m" } }]) {
  Deno.test(`its time cuts an access, and says so, with ${JSON.stringify(max)}`, async () => {
    await using stack = new AsyncDisposableStack();
    const clock = hasteOf(1);
    let over = () => {};
    const { gateway, accessor } = await start(stack, {
      section: max,
      clock: {
        ...clock,
        after(ms, task) {
          if (ms === 60_000) over = task;
          return clock.after(ms, task);
        },
      },
    });
    const { accessId, ttlMs } = await granted(accessor, "alice/db", "access" in max ? 120_000 : 60_000);
    assert.ok(ttlMs > 59_000 && ttlMs <= 60_000);
    const stream = await open(accessor, accessId);
    assert.equal(await roundTrip(stream, "x"), "x");
    over();
    assert.ok(await isCut(stream));
    const told = await accessor.next("accessEnded");
    assert.deepEqual([told.accessId, told.reason], [accessId, "access_expired: Its time is over"]);
    assert.equal((await gateway.logged("access_ended")).fields["reason"], "access_expired");
    assert.ok(await isCut(await open(accessor, accessId)), "and opens nothing any more");
    assert.equal(gateway.metric("tunnel_stray_streams_total"), 0);
  });
}

Deno.test("an access ends with the token at the latest", async () => {
  await using stack = new AsyncDisposableStack();
  const expires = new Date(Date.now() + 90_000).toISOString();
  const { accessor } = await start(stack, {
    tokens: tokens(`expires: "${expires}", allow: { access: [alice/db] }`),
  });
  assert.equal((await granted(accessor, "alice/db")).until, Date.parse(expires));
});

Deno.test("the time is looked at for every stream, also when no timer has fired", async () => {
  await using stack = new AsyncDisposableStack();
  let now = () => Date.now();
  const { accessor } = await start(stack, { clock: { ...SYSTEM_CLOCK, wall: () => now() } });
  const { accessId } = await granted(accessor, "alice/db");
  now = () => Date.now() + 3_600_001;
  assert.ok(await isCut(await open(accessor, accessId)));
  assert.match((await accessor.next("accessEnded")).reason, /^access_expired: /);
});

for (
  const { what, change, word } of [
    { what: "a policy that is withdrawn", change: tokens(), word: "access_revoked" },
    { what: "a token that is revoked", change: tokens("revoked: true"), word: "token_revoked" },
  ]
) {
  Deno.test(`${what} cuts live connections, and says so`, async () => {
    await using stack = new AsyncDisposableStack();
    const { gateway, agent, accessor } = await start(stack);
    const { accessId } = await granted(accessor, "alice/db");
    const stream = await open(accessor, accessId);
    assert.equal(await roundTrip(stream, "x"), "x");
    await gateway.reload(undefined, change);
    assert.ok(await isCut(stream));
    const told = await accessor.next("accessEnded", "disconnect");
    assert.match(told.reason, new RegExp(`^${word}: `));
    assert.equal((await gateway.logged("access_ended")).fields["reason"], word);
    assert.equal(agent.received.some(({ type }) => type === "disconnect"), false, "the owner is untouched");
  });
}

Deno.test("a reload that changes nothing of it leaves an access alone", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway, accessor } = await start(stack);
  const { accessId } = await granted(accessor, "alice/db");
  const stream = await open(accessor, accessId);
  await gateway.reload(undefined, tokens("allow: { access: ['alice/*'] }"));
  assert.equal(await roundTrip(stream, "x"), "x");
  closeQuietly(stream);
});

for (
  const { what, leave } of [
    { what: "withdrawn", leave: (agent, id) => agent.send({ type: "unregister", serviceId: id }) },
    { what: "gone with its agent", leave: (agent) => Promise.resolve(agent.kill()) },
  ] satisfies { what: string; leave(agent: TestAgent, id: string): Promise<void> }[]
) {
  Deno.test(`a service that is ${what} ends accesses to it, and says so`, async () => {
    await using stack = new AsyncDisposableStack();
    const { agent, accessor, serviceId } = await start(stack, { section: { reconnectGrace: "50ms" } });
    const { accessId } = await granted(accessor, "alice/db");
    const stream = await open(accessor, accessId);
    assert.equal(await roundTrip(stream, "x"), "x");
    await leave(agent, serviceId);
    assert.ok(await isCut(stream));
    assert.equal((await accessor.next("accessEnded")).reason, "service_gone: The service has been withdrawn");
    const answer = await ask(accessor, "alice/db");
    assert.match(answer.type === "accessFail" ? answer.reason : "", NO_SUCH);
  });
}

Deno.test("an access outlives its service's agent, when that comes back in time", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway, agent, accessor } = await start(stack, { section: { reconnectGrace: "5s" } });
  const { accessId } = await granted(accessor, "alice/db");
  agent.kill();
  const waiting = await open(accessor, accessId);
  const echoed = roundTrip(waiting, "x");
  await (await gateway.agent()).serve(DB);
  assert.equal(await echoed, "x");
  closeQuietly(waiting);
});

Deno.test("what is open over an access goes on while the gateway drains, also when nobody holds the service any more", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway, accessor } = await start(stack);
  const { accessId } = await granted(accessor, "alice/db");
  const stream = await open(accessor, accessId);
  assert.equal(await roundTrip(stream, "before"), "before");
  gateway.plugin.drain();
  const registry = gateway.registry.at("data-plane-0");
  await until(() => registry.lookup("private:alice/db") === undefined, { what: "the end of the grace" });
  assert.equal(await roundTrip(stream, "after"), "after");
  closeQuietly(stream);
});

Deno.test("the streams of a token's own accesses do not count against its services", async () => {
  await using stack = new AsyncDisposableStack();
  const limited = tokenEntry("alice", TOKENS.alice, "limits: { streams: 1 }") + tokenEntry("bob", TOKENS.bob);
  const { accessor } = await start(stack, { who: "alice", tokens: limited });
  const { accessId } = await granted(accessor, "db");
  const stream = await open(accessor, accessId);
  assert.equal(await roundTrip(stream, "one"), "one");
  assert.ok(await isCut(await open(accessor, accessId)), "a second one is over the limit");
  closeQuietly(stream);
});

Deno.test("the operator ends an access by its tunnel", async () => {
  await using stack = new AsyncDisposableStack();
  const { gateway, accessor } = await start(stack);
  const { accessId } = await granted(accessor, "alice/db");
  const stream = await open(accessor, accessId);
  assert.equal(await roundTrip(stream, "x"), "x");
  const tunnel = String((await gateway.logged("access_granted")).fields["tunnel"]);
  assert.ok(gateway.plugin.closeTunnel(tunnel));
  assert.ok(await isCut(stream));
  assert.match((await accessor.next("disconnect")).reason, /^closed_by_admin: /);
  assert.equal((await gateway.logged("access_ended")).fields["reason"], "closed_by_admin");
});

Deno.test("streams and accesses of one session have limits", async () => {
  await using stack = new AsyncDisposableStack();
  const limits = { streamsPerTunnel: 3, servicesPerTunnel: 2 };
  const { gateway, accessor } = await start(stack, { section: { limits } });
  const { accessId } = await granted(accessor, "alice/db");
  await granted(accessor, "alice/db");
  const third = await ask(accessor, "alice/db");
  assert.match(third.type === "accessFail" ? third.reason : "", /^limit: .*servicesPerTunnel/);
  const streams: ByteStream[] = [];
  for (let i = 0; i < limits.streamsPerTunnel; i++) {
    const stream = await open(accessor, accessId);
    assert.equal(await roundTrip(stream, "x"), "x");
    streams.push(stream);
  }
  assert.ok(await isCut(await open(accessor, accessId)));
  for (const stream of streams) assert.equal(await roundTrip(stream, "y"), "y");
  for (const stream of streams) closeQuietly(stream);
  await until(() => gateway.sessions.every(({ streams }) => streams <= 1), { what: "the streams to end" });
});

Deno.test("a session with an access is not idle", async () => {
  await using stack = new AsyncDisposableStack();
  let later = 0;
  const ticks = new Set<() => void>();
  const { gateway, accessor } = await start(stack, {
    section: { idleTimeout: "1s" },
    clock: {
      ...SYSTEM_CLOCK,
      monotonic: () => performance.now() + later,
      every: (_, task) => {
        ticks.add(task);
        return () => ticks.delete(task);
      },
    },
  });
  await granted(accessor, "alice/db");
  later = 5000;
  for (const tick of ticks) tick();
  const rows = gateway.plugin.tunnels().map(({ owner }) => owner);
  assert.deepEqual(rows, ["bob"], "the owner's agent was idle, in this config");
});

Deno.test("whoever has to be asked about an access is asked one question at a time", async () => {
  const questions: PromiseWithResolvers<AccessAnswer>[] = [];
  let answersAtOnce: AccessAnswer | undefined = "may";
  const grant = (owner: string): Grant => ({
    owner,
    principal: `token:${owner}`,
    allows: () => undefined,
    stillGood: () => undefined,
    mayAccess() {
      if (answersAtOnce !== undefined) return answersAtOnce;
      const question = Promise.withResolvers<AccessAnswer>();
      questions.push(question);
      return question.promise;
    },
  });
  await using gateway = new TestGateway({
    grant: (token) => grant(token === TOKENS.alice ? "alice" : "bob"),
  });
  await (await gateway.agent()).serve(DB);
  const accessor = await gateway.agent({ token: TOKENS.bob, client: 2 });
  const { accessId } = await granted(accessor, "alice/db");
  answersAtOnce = undefined;
  for (const round of [1, 2]) {
    const streams = await Promise.all([1, 2, 3].map(() => open(accessor, accessId)));
    await until(() => questions.length >= round, { what: "the question" });
    await gateway.reload(); // everybody is asked about again
    await accessor.yamux.ping(); // the streams have come
    assert.equal(questions.length, round);
    questions[round - 1]?.resolve("may");
    for (const stream of streams) {
      assert.equal(await roundTrip(stream, "hello"), "hello");
      closeQuietly(stream);
    }
  }
  const last = await Promise.all([1, 2].map(() => open(accessor, accessId)));
  await until(() => questions.length === 3, { what: "the question" });
  questions[2]?.resolve("may_not");
  for (const stream of last) assert.ok(await isCut(stream));
  assert.match((await accessor.next("accessEnded")).reason, /^access_revoked: /);
  assert.equal(questions.length, 3);
});
