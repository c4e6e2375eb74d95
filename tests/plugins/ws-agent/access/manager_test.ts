import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import {
  type AccessEvent,
  AccessManager,
  type AccessManagerOptions,
} from "../../../../plugins/ws-agent/access/mod.ts";
import { systemNetwork, TcpStream } from "../../../../plugins/ws-agent/agent/network.ts";
import { SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import { readToEnd, startSilent } from "../../../support/echo.ts";
import { until } from "../../../support/until.ts";
import { BOTH, encode, ENDPOINT, roundTrip, TestGateway, tokenEntry, TOKENS } from "../harness.ts";

Deno.test("a manager that is disposed of ends what it is about to start", async () => {
  await using silent = startSilent();
  const { hostname: host, port } = silent.address;
  const manager = new AccessManager({
    gateway: { secure: false, host, port, path: "/tunnel/v1" },
    token: "a-token",
    linkTimes: { connectMs: 600_000 },
  });
  const starting = assert.rejects(manager.startSession({ service: "db" }), { name: "AccessRefused" });
  await until(() => silent.accepted === 1, { what: "the connection" });
  await manager[Symbol.asyncDispose]();
  await starting;
});

const DB = { name: "db", protocol: "tcp", private: true } as const;

/** A manager whose every connection to the endpoint leads to the gateway of the test. */
function managerOf(gateway: TestGateway, options: Partial<AccessManagerOptions> = {}) {
  const events: AccessEvent[] = [];
  const sockets: Deno.TcpConn[] = [];
  const manager = new AccessManager({
    gateway: { secure: false, host: ENDPOINT, port: 80, path: "/tunnel/v1" },
    token: TOKENS.alice,
    reconnect: { minMs: 1, maxMs: 10 },
    onEvent: (event) => events.push(event),
    network: {
      ...systemNetwork(),
      connect: async () => {
        const socket = await gateway.dial();
        sockets.push(socket);
        return new TcpStream(socket);
      },
    },
    ...options,
  });
  return { manager, events, sockets };
}

function dial({ local }: { readonly local: { readonly host: string; readonly port: number } }) {
  return Deno.connect({ hostname: local.host, port: local.port });
}

Deno.test("AccessManager brings local connections to the service, counts them, and stops", async () => {
  await using gateway = new TestGateway();
  await (await gateway.agent()).serve(DB);
  const { manager, events } = managerOf(gateway);
  await using _ = manager;
  const session = await manager.startSession({ service: "db", ttlMs: 60_000 });
  assert.deepEqual([session.service, session.protocol, session.state], ["alice/db", "tcp", "connected"]);
  assert.equal(session.local.host, "127.0.0.1");
  assert.ok(session.remainingMs > 59_000 && session.remainingMs <= 60_000);
  using first = await dial(session), second = await dial(session);
  assert.equal(await roundTrip(first, "hello"), "hello");
  assert.equal(await roundTrip(second, "you"), "you");
  await second.closeWrite();
  assert.equal((await readToEnd(second)).length, 0);
  const now = await until(() => manager.listSessions().find(({ open }) => open === 1), {
    what: "one to end",
  });
  assert.deepEqual([now.connections, now.bytesIn, now.bytesOut], [2, 8, 8]);
  assert.equal(await manager.stopSession("nonsense"), false);
  assert.ok(await manager.stopSession(session.id));
  assert.equal((await readToEnd(first)).length, 0, "it is cut");
  await assert.rejects(dial(session), Deno.errors.ConnectionRefused);
  assert.equal(await manager.stopSession(session.id), false);
  assert.deepEqual(manager.listSessions().map(({ state, end }) => [state, end?.kind]), [[
    "ended",
    "stopped",
  ]]);
  assert.equal(manager.cleanupExpired(), 1);
  assert.deepEqual(manager.listSessions(), []);
  assert.deepEqual(events.map(({ kind }) => kind), ["connected", "ended"]);
});

Deno.test("AccessManager has several sessions, which do not disturb each other", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.serve(DB);
  await agent.serve({ ...DB, name: "other" });
  const { manager } = managerOf(gateway);
  await using _ = manager;
  const [one, two] = await Promise.all([
    manager.startSession({ service: "db" }),
    manager.startSession({ service: "alice/other" }),
  ]);
  assert.notEqual(one.id, two.id);
  await manager.stopSession(one.id);
  using client = await dial(two);
  assert.equal(await roundTrip(client, "x"), "x");
  await assert.rejects(manager.startSession({ service: "db", localPort: two.local.port }), {
    name: "GatewayError",
    code: "address-in-use",
  });
});

Deno.test("AccessManager says why the gateway refuses, and why it cannot be reached", async () => {
  await using gateway = new TestGateway();
  const { manager } = managerOf(gateway);
  await using _ = manager;
  await assert.rejects(manager.startSession({ service: "none" }), {
    name: "AccessRefused",
    message: 'There is no private service "none", or this token may not reach it',
  });
  const { manager: stranger } = managerOf(gateway, { token: "wrong-token" });
  await using _stranger = stranger;
  await assert.rejects(stranger.startSession({ service: "db" }), { message: "This token is not known" });
  const { manager: lost } = managerOf(gateway, {
    network: { ...systemNetwork(), connect: () => Promise.reject(new Deno.errors.ConnectionRefused("no")) },
  });
  await using _lost = lost;
  await assert.rejects(lost.startSession({ service: "db" }), { message: /^Cannot reach the gateway/ });
  assert.deepEqual(lost.listSessions(), []);
});

Deno.test("AccessManager comes back when its connection to the gateway is lost, for the rest of the time", async () => {
  await using gateway = new TestGateway();
  await (await gateway.agent()).serve(DB);
  let later = 0;
  const { manager, events, sockets } = managerOf(gateway, {
    clock: { ...SYSTEM_CLOCK, monotonic: () => performance.now() + later },
  });
  await using _ = manager;
  const session = await manager.startSession({ service: "db", ttlMs: 600_000 });
  using cut = await dial(session);
  assert.equal(await roundTrip(cut, "x"), "x");
  later = 500_000;
  for (const socket of sockets.splice(0)) closeQuietly(socket);
  assert.equal((await readToEnd(cut)).length, 0);
  using next = await dial(session); // at once: it waits for the gateway
  assert.equal(await roundTrip(next, "again"), "again");
  const kinds = () => events.map(({ kind }) => kind).join();
  await until(() => kinds() === "connected,disconnected,connected", { what: kinds });
  const [first, second] = gateway.events.filter(({ event }) => event === "access_granted");
  const untilOf = (line = first) => Date.parse(String(line?.fields["until"]));
  assert.ok(untilOf(second) < untilOf(first) - 400_000, "it asks for what is left");
});

Deno.test("its time ends a session by the gateway's word, and by its own clock when that is silent", async () => {
  for (const isSilent of [false, true]) {
    const timers: { ms: number; task: () => void }[] = [];
    const after = (ms: number, task: () => void) => {
      if (ms > 50_000) timers.push({ ms, task });
      return SYSTEM_CLOCK.after(ms, task);
    };
    const watched = { ...SYSTEM_CLOCK, after };
    await using gateway = new TestGateway(isSilent ? {} : { clock: watched });
    await (await gateway.agent()).serve(DB);
    const { manager, events } = managerOf(gateway, isSilent ? { clock: watched } : {});
    await using _ = manager;
    const session = await manager.startSession({ service: "db", ttlMs: 60_000 });
    using client = await dial(session);
    assert.equal(await roundTrip(client, "x"), "x");
    assert.equal(timers.length, 1, "one timer");
    timers[0]?.task();
    assert.equal((await readToEnd(client)).length, 0);
    await until(() => events.some(({ kind }) => kind === "ended"), { what: "the end" });
    const [{ end } = assert.fail()] = manager.listSessions();
    assert.deepEqual([end?.kind, end?.reason], ["expired", "Its time is over"]);
  }
});

for (
  const { what, change, kind, word } of [
    { what: "its token is revoked", change: "revoked: true", kind: "lost", word: "token_revoked" },
    { what: "its policy is withdrawn", change: "", kind: "lost", word: "access_revoked" },
  ]
) {
  Deno.test(`a session ends for good when ${what}`, async () => {
    const bob = (more: string) => tokenEntry("alice", TOKENS.alice) + tokenEntry("bob", TOKENS.bob, more);
    await using gateway = new TestGateway({ tokens: bob("allow: { access: ['alice/*'] }") });
    await (await gateway.agent()).serve(DB);
    const { manager, events } = managerOf(gateway, { token: TOKENS.bob });
    await using _ = manager;
    const session = await manager.startSession({ service: "alice/db" });
    using client = await dial(session);
    assert.equal(await roundTrip(client, "x"), "x");
    await gateway.reload(undefined, bob(change));
    assert.equal((await readToEnd(client)).length, 0);
    await until(() => events.some((event) => event.kind === "ended"), { what: "the end" });
    const [{ end } = assert.fail()] = manager.listSessions();
    assert.deepEqual([end?.kind, end?.word], [kind, word]);
  });
}

Deno.test("the operator's end of its tunnel is the end of a session: it does not come back", async () => {
  await using gateway = new TestGateway({ tokens: BOTH });
  await (await gateway.agent({ client: 9 })).serve(DB);
  const { manager, sockets } = managerOf(gateway);
  await using _ = manager;
  await manager.startSession({ service: "db" });
  gateway.plugin.closeTunnel(String((await gateway.logged("access_granted")).fields["tunnel"]));
  await until(() => manager.listSessions()[0]?.end, { what: "the end" });
  assert.equal(manager.listSessions()[0]?.end?.word, "closed_by_admin");
  assert.equal(sockets.length, 1);
});

Deno.test("a gateway that goes away is left for another connection, and what is open goes on", async () => {
  await using gateway = new TestGateway({ nodes: 2 });
  await (await gateway.agent({ node: 1 })).serve(DB);
  let node = 0;
  const { manager, events, sockets } = managerOf(gateway, {
    network: {
      ...systemNetwork(),
      connect: async () => {
        const socket = await gateway.dial(node);
        sockets.push(socket);
        return new TcpStream(socket);
      },
    },
  });
  await using _ = manager;
  const session = await manager.startSession({ service: "db" });
  using old = await dial(session);
  assert.equal(await roundTrip(old, "x"), "x");
  node = 1;
  gateway.plugins[0]?.drain();
  await until(() => events.some(({ kind }) => kind === "disconnected"), { what: "it to hear of that" });
  using client = await dial(session);
  assert.equal(await roundTrip(client, "y"), "y");
  assert.equal(await roundTrip(old, "z"), "z");
  assert.equal(sockets.length, 2);
  old.close();
  await writeAll(client, encode("w"));
  await until(() => gateway.sessions.filter(({ streams }) => streams > 1).length === 2, {
    what: "the old one's stream to end",
  });
});
