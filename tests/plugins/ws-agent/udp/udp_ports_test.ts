import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { until } from "../../../support/until.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import { Random } from "../../../fuzz/fuzz.ts";
import { readDatagrams } from "../../../../plugins/ws-agent/udp/datagram_stream.ts";
import type { ServeStream } from "../../../support/test_agent.ts";
import { hasteOf, TestGateway, tokenEntry, TOKENS } from "../harness.ts";
import { laggingView, nothingLags } from "../lagging_registry.ts";

const encode = (text: string) => new TextEncoder().encode(text);
/** In which a second is a matter of milliseconds. */
const HASTY: Clock = {
  ...hasteOf(20),
  every: (ms, task) => SYSTEM_CLOCK.every(ms / 20, task),
};
const game = { name: "game", protocol: "udp", remotePort: 30_001 } as const;

/** Time and timers that move by hand. */
class HandyClock implements Clock {
  readonly #ticks = new Set<() => void>();
  #later = 0;
  readonly wall = SYSTEM_CLOCK.wall;
  readonly after = SYSTEM_CLOCK.after;

  monotonic(): number {
    return performance.now() + this.#later;
  }

  every(_: number, task: () => void): () => void {
    this.#ticks.add(task);
    return () => this.#ticks.delete(task);
  }

  advance(ms: number): void {
    this.#later += ms;
    for (const tick of [...this.#ticks]) tick();
  }
}

/** Reads datagrams, and says of each, by its name, that it has it. */
function named(name: string): ServeStream {
  return async (stream, _, rest) => {
    const answer = new TextEncoder().encode(name);
    const frame = Uint8Array.of(0, answer.length, ...answer);
    await readDatagrams(stream, async () => void await writeAll(stream, frame), rest).catch(() => {});
  };
}

/** The data planes in which the port is open. */
function nodesOf(gateway: TestGateway): number[] {
  return [...gateway.udpPorts].map(({ node }) => node);
}

/** Sends a datagram to the port, wherever it is open, and waits for its echo. */
async function ask(gateway: TestGateway, fromPort: number, text: string): Promise<void> {
  await until(() => {
    const [port] = gateway.udpPorts;
    port?.deliver(encode(text), fromPort);
    return port?.sent.some(({ data, to }) => to === fromPort && new TextDecoder().decode(data) === text);
  }, { what: `the echo of ${text}` });
}

Deno.test("a udp port opens with its service and closes with it", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const { serviceId, url, remotePort } = await agent.serve(game);
  assert.deepEqual([url, remotePort], ["udp://example.com:30001", 30_001]);
  assert.deepEqual(nodesOf(gateway), [0]);
  assert.deepEqual(gateway.plugin.routes().map(({ match }) => match), ["UDP port 30001"]);
  await ask(gateway, 5, "hello");
  const [header] = agent.streams;
  assert.equal(header?.datagrams, true);
  assert.deepEqual(header?.source, { address: "192.0.2.9", port: 5 });
  assert.equal(gateway.metric("udp_flows"), 1);
  await agent.send({ type: "unregister", serviceId });
  await until(() => gateway.udpPorts.size === 0, { what: "the port's end" });
  assert.equal(gateway.metric("udp_flows"), 0);
});

Deno.test("a udp port that another program has is refused, and the tunnel goes on", async () => {
  await using gateway = new TestGateway({ clock: hasteOf(20) });
  gateway.portsInUse.add(30_001);
  const agent = await gateway.agent();
  const answer = await agent.register(game);
  assert.match(
    answer.type === "registerFail" ? answer.reason : "",
    /^port_in_use: Port 30001 cannot be opened/,
  );
  const { remotePort } = await agent.serve({ name: "game", protocol: "udp" });
  assert.notEqual(remotePort, 30_001);
});

Deno.test("an assigned port of udp is the same again, and may be one that tcp has", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const first = await agent.serve({ name: "same", protocol: "udp" });
  const tcp = await agent.serve({ name: "tcp", protocol: "tcp", remotePort: first.remotePort ?? 0 });
  assert.equal(tcp.remotePort, first.remotePort);
  const stranger = await gateway.agent({ client: 2 });
  const answer = await stranger.register({ name: "x", protocol: "udp", remotePort: first.remotePort ?? 0 });
  assert.match(answer.type === "registerFail" ? answer.reason : "", /^held: /);
  await agent.send({ type: "unregister", serviceId: first.serviceId });
  assert.equal((await agent.serve({ name: "same", protocol: "udp" })).remotePort, first.remotePort);
});

Deno.test("one data plane has the socket, reaches the tunnels of others, and another takes over", async () => {
  await using gateway = new TestGateway({ nodes: 2 });
  const first = await gateway.agent({ node: 0, epoch: 1, slot: 0 });
  const second = await gateway.agent({ node: 1, epoch: 1, slot: 1 });
  await first.serve(game);
  await second.serve(game);
  assert.deepEqual(nodesOf(gateway), [0]);
  await ask(gateway, 5, "by the first");
  first.kill();
  await until(() => nodesOf(gateway).join() === "1", { what: "the other one to have the port" });
  await ask(gateway, 5, "by the second");
  assert.equal(second.streams.length, 1);
});

Deno.test("an agent that was lost by one data plane and comes back by another has its port there", async () => {
  await using gateway = new TestGateway({ nodes: 2 });
  const before = await gateway.agent({ node: 0, epoch: 1 });
  await before.serve(game);
  before.kill();
  await until(() => gateway.plugins[0]?.tunnels().length === 0, { what: "the tunnel's end" });
  assert.deepEqual(nodesOf(gateway), [0], "kept for it");
  const after = await gateway.agent({ node: 1, epoch: 1 });
  await after.serve(game);
  await ask(gateway, 5, "hello");
  assert.deepEqual(nodesOf(gateway), [1]);
});

Deno.test("with several data planes, a port that another program has is public in none of them", async () => {
  await using gateway = new TestGateway({ nodes: 2, clock: hasteOf(20) });
  gateway.portsInUse.add(30_001);
  const agents = await Promise.all([0, 1].map((node) => gateway.agent({ node, epoch: 1, slot: node })));
  const answers = await Promise.all(agents.map((agent) => agent.register(game)));
  for (const answer of answers) {
    assert.match(answer.type === "registerFail" ? answer.reason : answer.type, /^port_in_use: /);
  }
  assert.equal(gateway.registry.lookup("udp:30001"), undefined);
  const chosen = await Promise.all(agents.map((agent) => agent.serve({ name: "any", protocol: "udp" })));
  assert.equal(chosen[0]?.remotePort, chosen[1]?.remotePort);
  await ask(gateway, 5, "there");
});

Deno.test("data planes that register at once, and hear of each other late, agree on who has the socket", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const random = new Random(seed);
    await using stack = new AsyncDisposableStack();
    stack.defer(nothingLags);
    const gateway = stack.use(
      new TestGateway({
        nodes: 3,
        section: { reconnectGrace: "60ms" },
        clock: { ...SYSTEM_CLOCK, every: HASTY.every },
        viewOf: (registry, node) => laggingView(registry, node, () => random.below(1000) / 1000),
      }),
    );
    const agents = await Promise.all(
      [0, 1, 2].map((node) => gateway.agent({ node, epoch: 1, slot: node })),
    );
    await Promise.all(agents.map((agent) => agent.serve(game)));
    for (const [i, agent] of agents.entries()) {
      await ask(gateway, 5 + i, `${seed} ${i}`);
      const [holder = -1] = nodesOf(gateway);
      await until(() => gateway.registry.lookup("udp:30001")?.value["socket"] === `data-plane-${holder}`, {
        what: `data plane ${holder} to say that it has the socket`,
      });
      agent.kill();
      await until(() => i === 2 || nodesOf(gateway)[0] !== i, { what: "another one to take over" });
    }
    await until(() => gateway.registry.leases().length === 0, { what: "the end of the grace" });
  }
});

Deno.test("a port that is open in one data plane is opened in no other, though a reload has changed the address", async () => {
  await using gateway = new TestGateway({ nodes: 2, section: { portsAddress: "127.0.0.1" } });
  const first = await gateway.agent({ node: 0, epoch: 1, slot: 0 });
  const second = await gateway.agent({ node: 1, epoch: 1, slot: 1 });
  await first.serve(game);
  await gateway.reload({ portsAddress: "127.0.0.2" });
  await second.serve(game);
  assert.deepEqual(nodesOf(gateway), [0]);
  await ask(gateway, 5, "by the first");
  first.kill();
  await until(() => nodesOf(gateway).join() === "1", { what: "the other one to have the port" });
  assert.deepEqual([...gateway.udpPorts].map(({ hostname }) => hostname), ["127.0.0.2"]);
});

Deno.test("of two data planes that open a port at different addresses at once, one gives way", async () => {
  const clock = new HandyClock();
  await using stack = new AsyncDisposableStack();
  stack.defer(nothingLags);
  const gateway = stack.use(
    new TestGateway({
      nodes: 2,
      section: { portsAddress: "127.0.0.1", reconnectGrace: "60ms" },
      clock,
      viewOf: (registry, node) => laggingView(registry, node, () => 0.99),
    }),
  );
  const agents = await Promise.all([0, 1].map((node) => gateway.agent({ node, epoch: 1, slot: node })));
  let claims = 0;
  stack.defer(gateway.registry.listen(({ kind }) => void (kind === "changed" && claims++)));
  await gateway.reload(
    { portsAddress: "127.0.0.2", reconnectGrace: "60ms" },
    undefined,
    gateway.plugins.slice(1),
  );
  await Promise.all(agents.map((agent) => agent.serve(game)));
  assert.deepEqual(nodesOf(gateway).toSorted(), [0, 1], "neither knew of the other");
  await nothingLags();
  const second = async () => {
    const before = claims;
    clock.advance(1000);
    await nothingLags();
    return claims - before;
  };
  for (let seconds = 1; gateway.udpPorts.size > 1; seconds++) {
    assert.ok(seconds < 10, "they do not agree");
    const count = await second();
    assert.ok(count <= 4, `${count} claims in second ${seconds}`);
  }
  assert.deepEqual(nodesOf(gateway), [0]);
  for (let seconds = 1; seconds <= 3; seconds++) await second();
  assert.equal(await second(), 0);
  assert.equal(gateway.registry.lookup("udp:30001")?.value["socket"], "data-plane-0");
  await ask(gateway, 5, "by the first");
  for (const agent of agents) agent.kill();
  await until(() => gateway.registry.leases().length === 0, { what: "the end of the grace" });
});

Deno.test("a port that another program takes while it changes hands is told of, and opened when it is free", async () => {
  await using gateway = new TestGateway({ nodes: 2, clock: HASTY });
  const first = await gateway.agent({ node: 0, epoch: 1, slot: 0 });
  const second = await gateway.agent({ node: 1, epoch: 1, slot: 1 });
  await first.serve(game);
  await second.serve(game);
  gateway.portsInUse.add(30_001);
  first.kill();
  const { fields } = await gateway.logged("tunnel_port_failed");
  assert.deepEqual([fields["port"], fields["protocol"]], [30_001, "udp"]);
  assert.deepEqual(nodesOf(gateway), []);
  gateway.portsInUse.delete(30_001);
  await ask(gateway, 5, "here");
});

Deno.test("agents that share a udp port have its sources in turns, and a source stays where it is", async () => {
  const share = `allow: { ports: "30000-30009", share: true }`;
  await using gateway = new TestGateway({ tokens: tokenEntry("alice", TOKENS.alice, share) });
  const agents = [];
  for (const client of [1, 2]) {
    const agent = await gateway.agent({ client, serve: named(`agent ${client}`) });
    await agent.serve({ ...game, shared: true });
    agents.push(agent);
  }
  const [port] = gateway.udpPorts;
  assert.ok(port !== undefined && gateway.udpPorts.size === 1);
  const answered = (from: number) =>
    port.sent.filter(({ to }) => to === from).map(({ data }) => new TextDecoder().decode(data));
  for (const round of [1, 2]) {
    for (const from of [1, 2, 3, 4]) {
      port.deliver(encode("hello"), from);
      await until(() => answered(from).length === round, { what: `answer ${round} to ${from}` });
    }
  }
  const by = [1, 2, 3, 4].map((from) => [...new Set(answered(from))]);
  assert.ok(by.every(({ length }) => length === 1), "a source stays with its agent");
  assert.deepEqual(by.flat().toSorted(), ["agent 1", "agent 1", "agent 2", "agent 2"]);
  const [gone, left] = agents;
  gone?.kill();
  await until(() => gateway.plugin.tunnels().length === 1, { what: "the end of one" });
  await until(() => {
    port.deliver(encode("hello"), 5);
    return answered(5).at(-1) === "agent 2";
  }, { what: "the other to serve" });
  assert.ok((left?.streams.length ?? 0) >= 3);
});

Deno.test("a token's bandwidth bounds its datagrams: what is too much is lost, and nobody waits for it", async () => {
  const tokens = tokenEntry("alice", TOKENS.alice, `limits: { bandwidth: "64KiB" }`) +
    tokenEntry("bob", TOKENS.bob);
  await using gateway = new TestGateway({ tokens });
  const slow = await gateway.agent();
  const fast = await gateway.agent({ token: TOKENS.bob, client: 2 });
  await slow.serve(game);
  await fast.serve({ name: "game", protocol: "udp", remotePort: 30_002 });
  const [one, other] = [...gateway.udpPorts].toSorted((a, b) => a.port - b.port);
  assert.ok(one && other);
  const large = new Uint8Array(10_000);
  for (let i = 0; i < 60; i++) one.deliver(large, 5);
  await until(() => gateway.metric("udp_datagrams_total", { direction: "in", result: "queue_full" }) > 0, {
    what: "datagrams that are dropped",
  });
  for (let answers = 1; answers <= 20; answers++) {
    other.deliver(large, 5);
    await until(() => other.sent.length === answers, { what: `answer ${answers} to the other` });
  }
  assert.ok(one.sent.length < 20, `${one.sent.length}`);
});

Deno.test("a gateway that drains waits for flows that have traffic, and for no others", async () => {
  const clock = new HandyClock();
  await using gateway = new TestGateway({ clock });
  const agent = await gateway.agent();
  await agent.serve(game);
  const [port] = gateway.udpPorts;
  assert.ok(port);
  for (const answers of [1, 2]) {
    port.deliver(encode("hello"), 5);
    await until(() => port.sent.length === answers, { what: `answer ${answers}` });
    gateway.plugin.drain();
    clock.advance(4000);
    assert.equal(gateway.plugin.tunnels().length, 1);
  }
  port.deliver(encode("a new one"), 6);
  await until(() => gateway.metric("udp_datagrams_total", { direction: "in", result: "over_limit" }) === 1, {
    what: "a source that is refused",
  });
  clock.advance(1000);
  assert.equal(gateway.metric("udp_flows"), 0);
  clock.advance(1000);
  await until(() => gateway.plugin.tunnels().length === 0, { what: "the tunnel's end" });
});
