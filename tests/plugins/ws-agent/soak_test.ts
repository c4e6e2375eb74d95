/** Agents and clients that come, go and break off in every order leave nothing behind. */
import assert from "node:assert/strict";
import { type ByteStream, closeQuietly } from "../../../core/byte_stream.ts";
import { BALANCES, type RegisterService } from "../../../plugins/ws-agent/control/messages.ts";
import type { TestAgent } from "../../support/test_agent.ts";
import { until } from "../../support/until.ts";
import { tlsConnection } from "../connection.ts";
import { get, portConnection, roundTrip, TestGateway, tokenEntry, TOKENS } from "./harness.ts";
import { laggingView } from "./lagging_registry.ts";

const STEPS = 100;
const ACTORS = 8;
const NODES = 2;
const SERVICES: readonly RegisterService[] = [
  { name: "web", protocol: "http" },
  { name: "db", protocol: "tls" },
  { name: "ssh", protocol: "tcp", remotePort: 30_003 },
  { name: "any", protocol: "tcp" },
];

/** Both agents may share, and what goes through their tunnels is counted. */
const MAY_SHARE =
  'allow: { subdomains: ["*"], ports: "30000-30009", share: true }, limits: { bandwidth: 64KiB }';

/** Numbers that look random, and are the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

/** Counts the listeners that are on abort signals, by the signals themselves. */
class SignalListeners implements Disposable {
  readonly #add = AbortSignal.prototype.addEventListener;
  readonly #remove = AbortSignal.prototype.removeEventListener;
  readonly #bySignal = new Map<AbortSignal, Set<unknown>>();

  constructor() {
    const { add, remove } = { add: this.#add, remove: this.#remove };
    const listenersOf = (signal: AbortSignal) => {
      const known = this.#bySignal.get(signal) ?? new Set();
      this.#bySignal.set(signal, known);
      return known;
    };
    AbortSignal.prototype.addEventListener = function (this: AbortSignal, ...args: Parameters<typeof add>) {
      listenersOf(this).add(args[1]);
      add.apply(this, args);
    } as typeof add;
    AbortSignal.prototype.removeEventListener = function (
      this: AbortSignal,
      ...args: Parameters<typeof remove>
    ) {
      listenersOf(this).delete(args[1]);
      remove.apply(this, args);
    } as typeof remove;
  }

  /** Those on signals that may still come. */
  get left(): number {
    return [...this.#bySignal].reduce((sum, [signal, all]) => sum + (signal.aborted ? 0 : all.size), 0);
  }

  [Symbol.dispose](): void {
    AbortSignal.prototype.addEventListener = this.#add;
    AbortSignal.prototype.removeEventListener = this.#remove;
  }
}

/** Does one thing after another, of those that agents and clients do; whether it works out is not its business. */
class Actor {
  readonly #gateway: TestGateway;
  readonly #random: () => number;
  #agent: TestAgent | undefined;
  #services: string[] = [];

  constructor(gateway: TestGateway, random: () => number) {
    this.#gateway = gateway;
    this.#random = random;
  }

  async act(): Promise<void> {
    const acts = [
      this.#connect,
      this.#register,
      this.#register,
      this.#unregister,
      this.#visit,
      this.#visit,
      this.#end,
    ];
    await acts[this.#below(acts.length)]?.call(this).catch(() => {});
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async #connect(): Promise<void> {
    const options = {
      client: this.#below(2),
      epoch: this.#below(5),
      slot: this.#below(2),
      node: this.#below(NODES),
    };
    this.#services = [];
    this.#agent = await this.#gateway.agent(options);
  }

  async #register(): Promise<void> {
    const agent = this.#agent;
    const from = agent?.received.length ?? 0;
    const service = SERVICES[this.#below(SERVICES.length)] ?? assert.fail();
    const balance = BALANCES[this.#below(BALANCES.length)] ?? assert.fail();
    const sharing = this.#below(2) === 0 ? { shared: true, balance } : {};
    await agent?.send({ type: "registerService", ...service, ...sharing });
    if (this.#below(3) === 0) return; // and does not wait for the answer
    const answer = await until(
      () =>
        agent?.received.slice(from).find(({ type }) =>
          type === "serviceRegistered" || type === "registerFail"
        ),
      { what: "an answer", deadlineMs: 100 },
    );
    if (answer.type === "serviceRegistered") this.#services.push(answer.serviceId);
  }

  async #unregister(): Promise<void> {
    const serviceId = this.#services.pop();
    if (serviceId !== undefined) await this.#agent?.send({ type: "unregister", serviceId });
  }

  async #visit(): Promise<void> {
    const node = this.#below(NODES);
    const leaving = AbortSignal.timeout(this.#below(100));
    let client: ByteStream | undefined;
    const left = () => closeQuietly(client);
    leaving.addEventListener("abort", left);
    try {
      switch (this.#below(3)) {
        case 0:
          client = this.#gateway.http("web.example.com", node, leaving);
          await get(client, "web.example.com");
          break;
        case 1:
          client = await this.#gateway.connect(portConnection(30_003), node);
          await roundTrip(client, "hello");
          break;
        default:
          client = await this.#gateway.connect(tlsConnection("db.example.com"), node);
          await roundTrip(client, "hello");
      }
    } finally {
      leaving.removeEventListener("abort", left);
      closeQuietly(client);
    }
  }

  async #end(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    switch (this.#below(5)) {
      case 0:
        return agent?.kill();
      case 1:
        return agent?.transport.freeze();
      case 2:
        return agent?.yamux.goAway();
      case 3:
        return agent?.control.reset();
      default:
        await agent?.send({ type: "disconnect", reason: "" });
    }
  }
}

for (const seed of [1, 2]) {
  Deno.test(`agents and clients that come and go in any order leave nothing behind (seed ${seed})`, async () => {
    using listeners = new SignalListeners();
    const random = randomFrom(seed);
    const before = listeners.left;
    {
      await using gateway = new TestGateway({
        nodes: NODES,
        tokens: tokenEntry("alice", TOKENS.alice, MAY_SHARE),
        section: { reconnectGrace: "60ms", heartbeat: { interval: "200ms", timeout: "600ms" } },
        viewOf: (registry, node) => laggingView(registry, node, random),
      });
      const actors = Array.from({ length: ACTORS }, () => new Actor(gateway, random));
      await Promise.all(actors.map(async (actor) => {
        for (let i = 0; i < STEPS; i++) await actor.act();
      }));
      await last(gateway);
      for (const { id } of gateway.plugins.flatMap((plugin) => plugin.tunnels())) {
        gateway.plugins.some((plugin) => plugin.closeTunnel(id));
      }
      const left = () => ({
        leases: gateway.registry.leases(),
        sessions: gateway.registry.size,
        ports: [...gateway.openPorts],
        details: gateway.plugins.map((plugin) => plugin.status().details),
      });
      const nothing = {
        tunnels: 0,
        services: 0,
        streams: 0,
        ports: 0,
        udpPorts: 0,
        udpFlows: 0,
        arriving: 0,
        waiting: 0,
      };
      const expected = { leases: [], sessions: 0, ports: [], details: [nothing, nothing] };
      await until(() => JSON.stringify(left()) === JSON.stringify(expected), {
        what: () => JSON.stringify(left()),
      });
    }
    assert.equal(listeners.left, before);
  });
}

/** After all of that, one more agent gets everything, and is reached from everywhere. */
async function last(gateway: TestGateway): Promise<void> {
  const agents = [
    await gateway.agent({ epoch: 10, client: 0 }),
    await gateway.agent({ epoch: 10, client: 1, node: 1 }),
  ];
  await until(() => gateway.registry.leases().every(({ sessions }) => sessions.length === 0), {
    what: () => `the others' leases: ${JSON.stringify(gateway.registry.leases())}`,
  });
  await until(() => gateway.registry.leases().length === 0, { what: "the end of their grace" });
  const [agent] = agents;
  for (const service of SERVICES) await agent?.serve(service);
  for (let node = 0; node < NODES; node++) {
    await until(
      async () => await roundTrip(await gateway.connect(portConnection(30_003), node), "hello") === "hello",
      { what: "the port" },
    );
    assert.equal(
      await roundTrip(await gateway.connect(tlsConnection("db.example.com"), node), "hello"),
      "hello",
    );
  }
}
