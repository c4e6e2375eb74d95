import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import type { AgentEvent } from "../../../../plugins/ws-agent/agent/events.ts";
import { createAuthority } from "../../../support/certificates.ts";
import { readToEnd, startEcho, startReset } from "../../../support/echo.ts";
import { until } from "../../../support/until.ts";
import { FakeGateway, service, settingsFor, startAgent } from "./fake_gateway.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function kinds(events: readonly AgentEvent[]): string[] {
  return events.map(({ kind }) => kind);
}

Deno.test("an agent shows its token, registers its services, and brings public connections to their targets", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("echo", echo.target, { remotePort: 0 })]), {
    epoch: 1234,
  });
  const session = await gateway.registered(0);
  assert.match(session.head, /^GET \/tunnel\/v1 HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\n/);
  assert.match(session.head, /^Sec-WebSocket-Protocol: postern\.v1\r$/m);
  assert.match(session.head, /^Postern-Agent: epoch=1234; connection=0\r$/m);
  assert.equal(session.auth.token, "a-token");
  const [registered] = session.services.values();
  assert.deepEqual(registered, {
    type: "registerService",
    name: "echo",
    protocol: "tcp",
    target: echo.target,
    remotePort: 0,
  });
  const stream = await session.open("echo");
  await writeAll(stream, encode("hello"));
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "hello");
  stream.close();
  await until(() => running.events.length === 2, { what: "events" });
  assert.deepEqual(kinds(running.events), ["connected", "public"]);
  await until(() => running.agent.status.streams === 0, { what: "the stream to end" });
  assert.equal(running.agent.status.streamsTotal, 1);
  assert.equal(running.agent.status.connected, 1);
});

Deno.test("the client id follows from token and name, so that a restarted agent is the same one", async () => {
  await using gateway = new FakeGateway();
  const ids: string[] = [];
  for (const name of ["one", "one", "other"]) {
    await using _ = startAgent(settingsFor(gateway, [], { name }));
    ids.push((await gateway.session(ids.length)).auth.clientId);
  }
  assert.equal(ids[0], ids[1]);
  assert.notEqual(ids[0], ids[2]);
});

Deno.test("parallel connections have a slot each, and each serves every service", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  const settings = settingsFor(gateway, [service("a", echo.target), service("b", echo.target)], {
    connections: 3,
  });
  await using running = startAgent(settings);
  for (const index of [0, 1, 2]) await gateway.registered(index, 2);
  const slots = gateway.sessions.map(({ head }) => /connection=(\d+)/.exec(head)?.[1]).toSorted();
  assert.deepEqual(slots, ["0", "1", "2"]);
  assert.equal(new Set(gateway.sessions.map(({ auth }) => auth.clientId)).size, 1);
  assert.equal(running.agent.status.connected, 3);
  await until(() => running.events.length === 5, { what: "each service to be told once" });
});

Deno.test("a refused token ends the agent for good, whatever the other connections do", async () => {
  await using gateway = new FakeGateway({ authFail: () => "bad_token: The token is not known" });
  const running = startAgent(settingsFor(gateway, [], { connections: 2 }));
  assert.deepEqual(await running.agent.ended, { kind: "lost", reason: "The token is not known" });
  const { attempts } = gateway;
  await running.agent.stop();
  assert.equal(gateway.attempts, attempts);
});

Deno.test("a gateway that can't tell right now is asked again", async () => {
  let asked = 0;
  await using gateway = new FakeGateway({
    authFail: () => ++asked < 3 ? "controller_unavailable: Nobody knows" : undefined,
  });
  await using running = startAgent(settingsFor(gateway, []));
  await gateway.session(0);
  assert.equal(asked, 3);
  assert.deepEqual(kinds(running.events).slice(0, 2), ["disconnected", "disconnected"]);
});

Deno.test("a newer run takes over: the older one is lost for good", async () => {
  await using gateway = new FakeGateway();
  const running = startAgent(settingsFor(gateway, []));
  const session = await gateway.session(0);
  const reason = "A newer run of this agent has taken over";
  await session.send({ type: "disconnect", reason: `superseded: ${reason}` });
  assert.deepEqual(await running.agent.ended, { kind: "lost", reason });
});

Deno.test("after a goodbye for another reason it comes back, in the same slot", async () => {
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", 1)]));
  const first = await gateway.registered(0);
  await first.send({ type: "disconnect", reason: "closed_by_admin: Closed by the operator of the gateway" });
  const second = await gateway.registered(1);
  assert.match(second.head, /connection=0/);
  const lost = running.events.find(({ kind }) => kind === "disconnected");
  assert.ok(lost?.kind === "disconnected" && lost.wasConnected);
  assert.equal(lost.reason, "Closed by the operator of the gateway");
});

Deno.test("a gateway that fell silent is found by the heartbeat, and left for a new connection", async () => {
  await using gateway = new FakeGateway();
  const linkTimes = { heartbeatMs: 20, silenceMs: 100 };
  await using running = startAgent(settingsFor(gateway, [service("a", 1)]), { linkTimes });
  const first = await gateway.registered(0);
  await until(() => first.received.filter(({ type }) => type === "heartbeat").length > 8, {
    what: "heartbeats",
  });
  assert.equal(gateway.sessions.length, 1, "answers keep it up");
  first.freeze();
  const second = await gateway.registered(1);
  assert.match(second.head, /connection=0/);
  const lost = running.events.find(({ kind }) => kind === "disconnected");
  assert.match(
    lost?.kind === "disconnected" ? lost.reason : "",
    /^Nothing heard from the gateway for \d+ s$/,
  );
});

Deno.test("silence is noticed when it has lasted, and not only at the next heartbeat", async () => {
  await using gateway = new FakeGateway();
  const linkTimes = { heartbeatMs: 700, silenceMs: 800 };
  await using _ = startAgent(settingsFor(gateway, [service("a", 1)]), { linkTimes });
  const first = await gateway.registered(0);
  const since = performance.now();
  first.freeze();
  await gateway.registered(1);
  const took = performance.now() - since;
  assert.ok(took > 600 && took < 1300, `${took} ms`);
});

Deno.test("heartbeats of the gateway are answered with their own time", async () => {
  await using gateway = new FakeGateway();
  await using _ = startAgent(settingsFor(gateway, []));
  const session = await gateway.session(0);
  await session.send({ type: "heartbeat", time: 42 });
  await until(() => session.received.find((one) => one.type === "heartbeatAck" && one.time === 42), {
    what: "ack",
  });
});

Deno.test("a service that is refused is asked for again, and the others go on", async () => {
  let asked = 0;
  await using gateway = new FakeGateway({
    registerFail: ({ name }) =>
      name === "taken" && ++asked < 3 ? 'held: "taken" is held by another agent' : undefined,
  });
  await using running = startAgent(settingsFor(gateway, [service("taken", 1), service("free", 2)]));
  await gateway.registered(0, 2);
  assert.equal(asked, 3);
  await until(() => running.events.length === 4, { what: "events" });
  const refusals = running.events.filter(({ kind }) => kind === "refused");
  assert.equal(refusals.length, 1, "told once");
  const { retryMs: _, ...told } = refusals[0] as Extract<AgentEvent, { kind: "refused" }>;
  assert.deepEqual(told, {
    kind: "refused",
    service: "taken",
    word: "held",
    reason: '"taken" is held by another agent',
    isFinal: false,
  });
});

Deno.test("a gateway that goes away: the new connection is there before the old one's streams have ended", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("echo", echo.target)]));
  const first = await gateway.registered(0);
  await until(() => running.events.length === 2, { what: "the service to be public" });
  const stream = await first.open("echo");
  await writeAll(stream, encode("before "));
  first.yamux.goAway();
  const second = await gateway.registered(1);
  assert.match(second.head, /connection=1/, "not the old one's slot: that would evict it");
  await writeAll(stream, encode("after"));
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "before after");
  stream.close();
  await until(() => first.ended, { what: "the old connection to end" });
  assert.equal(second.ended, false);
  assert.deepEqual(kinds(running.events), ["connected", "public", "replacing", "connected"]);
});

Deno.test("a gateway that sends each connection away at once is asked ever more slowly", async () => {
  const waits: number[] = [];
  const clock: Clock = {
    ...SYSTEM_CLOCK,
    after(ms, then) {
      if (ms >= 1000 && ms <= 8000) waits.push(ms);
      return SYSTEM_CLOCK.after(ms >= 1000 && ms <= 8000 ? 1 : ms, then);
    },
  };
  await using gateway = new FakeGateway();
  const reconnect = { minMs: 1000, maxMs: 8000 };
  await using _ = startAgent(settingsFor(gateway, [], { reconnect }), { clock, random: () => 1 - 2 ** -53 });
  for (let i = 0; i < 5; i++) (await gateway.session(i)).yamux.goAway();
  await gateway.session(5);
  assert.deepEqual(waits, [2000, 4000, 8000, 8000, 8000]);
  await until(() => gateway.live.length === 1, { what: "the others to end" });
});

Deno.test("a connection is replaced before the JWT ends that it was made with, and nothing breaks off", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  const credentials = { jwt: { secret: "a-secret-of-some-length", expiresInMs: 2500 } };
  await using running = startAgent(settingsFor(gateway, [service("echo", echo.target)], { credentials }));
  const first = await gateway.registered(0);
  const stream = await first.open("echo");
  await writeAll(stream, encode("before "));
  const second = await gateway.registered(1);
  assert.notEqual(second.auth.token, first.auth.token);
  await writeAll(stream, encode("after"));
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "before after");
  stream.close();
  assert.ok(
    running.events.some((event) =>
      event.kind === "replacing" && event.reason === "Its token is about to expire"
    ),
  );
});

Deno.test("a reload registers what is new and takes back what is gone, without touching what stays", async () => {
  await using echo = startEcho();
  await using other = startEcho();
  await using gateway = new FakeGateway();
  const stays = service("stays", echo.target), goes = service("goes", echo.target);
  await using running = startAgent(settingsFor(gateway, [stays, goes]));
  const session = await gateway.registered(0, 2);
  await until(() => running.events.length === 3, { what: "the services to be public" });
  const stream = await session.open("stays");
  await writeAll(stream, encode("still "));
  running.agent.update(settingsFor(gateway, [stays, service("new", other.target)]));
  await until(() => [...session.services.values()].some(({ name }) => name === "new"), {
    what: "the new service",
  });
  assert.deepEqual([...session.services.values()].map(({ name }) => name), ["stays", "new"]);
  await writeAll(stream, encode("here"));
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "still here");
  stream.close();
  assert.equal(gateway.sessions.length, 1);
  assert.deepEqual(kinds(running.events), ["connected", "public", "public", "withdrawn", "public"]);
});

Deno.test("a service that only leads elsewhere than before stays registered", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", 1)]));
  const session = await gateway.registered(0);
  running.agent.update(settingsFor(gateway, [service("a", echo.target)]));
  const stream = await session.open("a");
  await writeAll(stream, encode("there"));
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "there");
  stream.close();
  assert.equal(session.received.filter(({ type }) => type === "registerService").length, 1);
});

Deno.test("another token makes the connections anew", async () => {
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, [service("a", 1)]));
  const first = await gateway.registered(0);
  running.agent.update(settingsFor(gateway, [service("a", 1)], { credentials: { token: "other" } }));
  const second = await gateway.registered(1);
  assert.equal(second.auth.token, "other");
  await until(() => first.ended, { what: "the first connection to end" });
});

Deno.test("more or fewer connections come and go on a reload", async () => {
  await using gateway = new FakeGateway();
  await using running = startAgent(settingsFor(gateway, []));
  await gateway.session(0);
  running.agent.update(settingsFor(gateway, [], { connections: 3 }));
  await until(() => gateway.live.length === 3, { what: "three connections" });
  running.agent.update(settingsFor(gateway, [], { connections: 1 }));
  await until(() => gateway.live.length === 1, { what: "one connection" });
  assert.equal(gateway.sessions.length, 3);
});

Deno.test("a stop gives the names back, lets streams finish, and says goodbye", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  const running = startAgent(settingsFor(gateway, [service("echo", echo.target)]));
  const session = await gateway.registered(0);
  await until(() => running.events.length === 2, { what: "the service to be public" });
  const stream = await session.open("echo");
  await writeAll(stream, encode("last words"));
  const stopping = running.agent.stop(5000);
  await until(() => session.services.size === 0, { what: "the names to be given back" });
  await stream.closeWrite();
  assert.equal(decode(await readToEnd(stream)), "last words");
  stream.close();
  assert.equal(await stopping, true);
  assert.deepEqual(await running.agent.ended, { kind: "stopped" });
  await until(() => session.ended, { what: "the session to end" });
  assert.ok(session.received.some(({ type }) => type === "disconnect"));
});

Deno.test("a stop does not wait for ever", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  const running = startAgent(settingsFor(gateway, [service("echo", echo.target)]));
  const session = await gateway.registered(0);
  const stream = await session.open("echo");
  await until(() => echo.accepted === 1, { what: "the target" });
  assert.equal(await running.agent.stop(50), false);
  await assert.rejects(readToEnd(stream));
});

Deno.test("over TLS the gateway's certificate is verified, with the extra CA beside those of the runtime", async () => {
  const root = await createAuthority();
  const tls = await root.issue({ names: ["tunnel.localhost"] });
  await using gateway = new FakeGateway({ tls });
  const at = { secure: true, host: "tunnel.localhost", port: gateway.port, path: "/tunnel/v1" };
  const cases = [
    {
      tls: { insecure: false },
      host: at.host,
      says: /certificate is not trusted; trust its CA with tls\.ca, or --ca/,
    },
    {
      tls: { insecure: false, extraCa: root.certificate },
      host: "other.localhost",
      says: /certificate is not for "other\.localhost"/,
    },
    { tls: { insecure: false, extraCa: root.certificate }, host: at.host },
    { tls: { insecure: true }, host: at.host },
  ];
  for (const { tls, host, says } of cases) {
    const running = startAgent(settingsFor(gateway, [], { gateway: { ...at, host }, tls }));
    const first = await until(() => running.events[0], { what: "an event" });
    if (says === undefined) assert.equal(first.kind, "connected");
    else assert.match(first.kind === "disconnected" ? first.reason : first.kind, says);
    await running.agent.stop();
  }
});

Deno.test("a gateway that accepts and says nothing is given up at one deadline", async () => {
  await using silent = startEchoOfNothing();
  await using running = startAgent(settingsFor(silent, []), { linkTimes: { connectMs: 50 } });
  const first = await until(() => running.events[0], { what: "an event" });
  assert.match(first.kind === "disconnected" ? first.reason : "", /did not answer in 0\.05 s$/);
});

Deno.test("503 with Retry-After is honoured, and its text shown", async () => {
  const response =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n" +
    "Connection: close\r\n\r\nBusy!\n";
  await using gateway = new FakeGateway({ refuse: () => response });
  await using running = startAgent(settingsFor(gateway, []));
  const first = await until(() => running.events[0], { what: "an event" });
  assert.ok(first.kind === "disconnected");
  assert.equal(first.reason, "The gateway answered 503: Busy!");
  assert.ok(first.retryMs >= 7000);
});

Deno.test("who is not there is told apart from who does not answer", async () => {
  await using reset = await startReset({ at: "accept" });
  const nowhere = { port: 1 };
  for (
    const [at, says] of [[nowhere, /nothing listens there$/], [{ port: reset.address.port }, /./]] as const
  ) {
    await using running = startAgent(settingsFor(at, []));
    const first = await until(() => running.events[0], { what: "an event" });
    assert.match(first.kind === "disconnected" ? first.reason : "", says);
  }
});

function startEchoOfNothing(): AsyncDisposable & { readonly port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) open.push(connection);
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of open) connection.close();
      await accepting;
    },
  };
}
