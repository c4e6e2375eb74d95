import { parseArgs } from "node:util";
import { owning, temporaryFolder } from "../support/processes.ts";
import { type Bench, describeMachine, positive, UsageError } from "./bench.ts";
import { TUNNEL_GOALS } from "./goals.ts";
import { buildGoProgram } from "./go_program.ts";
import {
  type Figures,
  formatTable,
  formatVerdicts,
  judge,
  metricsOf,
  type Round,
  summarize,
  type Values,
} from "./report.ts";
import { choose, measureRounds } from "./rounds.ts";
import type { Site, TunnelKind, TunnelPeer } from "./tunnel_kinds.ts";
import { startClients, startServices } from "./tunnel_load.ts";
import { bore, chisel, direct, frp, rathole } from "./tunnel_peers.ts";
import { farAway, nearBy, type Place } from "./tunnel_place.ts";
import { postern } from "./tunnel_postern.ts";
import {
  TUNNEL_SCENARIOS,
  type TunnelContext,
  type TunnelScenario,
  type TunnelSize,
  waitUntilReady,
} from "./tunnel_scenarios.ts";

const OPTIONS = {
  only: { type: "string", default: "" },
  peers: { type: "string", default: "" },
  seconds: { type: "string", default: "3" },
  rounds: { type: "string", default: "3" },
  tunnels: { type: "string", default: "1000" },
  streams: { type: "string", default: "1000" },
} as const;

/** In the order of the columns. */
const KINDS: readonly TunnelKind[] = [
  postern("postern", "wss"),
  postern("postern-ws", "ws"),
  frp("frp", true),
  frp("frp-plain", false),
  chisel,
  rathole("rathole", "tcp"),
  rathole("rathole-noise", "noise"),
  bore,
  direct,
];

const FIGURES: Figures = {
  metrics: metricsOf(TUNNEL_SCENARIOS),
  goals: TUNNEL_GOALS,
  // Those that protect what is between gateway and agent, as Postern does.
  ratios: [["frp"], ["chisel"], ["rathole-noise"]],
};

/** Tunnels beside those of others, gateway and agent as processes of their own, in one run. */
export const tunnel: Bench = {
  name: "tunnel",
  usage: `tunnel [--only ${TUNNEL_SCENARIOS.map(({ name }) => name).join(",")}]
     [--peers ${KINDS.map(({ name }) => name).join(",")}]
     [--seconds 3] [--rounds 3] [--tunnels 1000] [--streams 1000]
     Peers are looked for in the folder that POSTERN_BENCH_PEERS names, and on PATH.`,
  async run(args, say) {
    const { values } = parseArgs({ args: [...args], options: OPTIONS });
    const chosen = choose(KINDS, values.peers);
    for (const { name, missing } of chosen) {
      if (missing.length > 0) say(`without ${name}: ${missing.join(" and ")} not found`);
    }
    const kinds = chosen.filter(({ missing }) => missing.length === 0);
    if (kinds.length === 0) throw new UsageError("None of these peers is installed");
    const wanted = choose(TUNNEL_SCENARIOS, values.only);
    for (const { name, missing = [] } of wanted) {
      if (missing.length > 0) say(`without ${name}: ${missing.join(" and ")} not found`);
    }
    const scenarios = wanted.filter(({ missing = [] }) => missing.length === 0);
    const size: TunnelSize = {
      seconds: positive(values.seconds),
      idleTunnels: positive(values.tunnels),
      idleStreams: positive(values.streams),
    };
    const rounds = await measure(kinds, scenarios, size, positive(values.rounds), say);
    const verdicts = judge(rounds, FIGURES);
    const table = formatTable(rounds, kinds.map(({ name }) => name), FIGURES);
    const legs = kinds.map(({ name, leg }) => `${name}: ${leg}`).join("; ");
    return {
      text: `\n${table}\nBetween gateway and agent: ${legs}\n\n${formatVerdicts(verdicts, FIGURES)}`,
      json: {
        machine: await describeMachine(),
        size,
        legs: Object.fromEntries(kinds.map(({ name, leg }) => [name, leg])),
        missing: [...chosen, ...wanted].flatMap(({ missing = [] }) => missing),
        medians: summarize(rounds, FIGURES),
        goals: verdicts,
        rounds,
      },
    };
  },
};

async function measure(
  kinds: readonly TunnelKind[],
  scenarios: readonly TunnelScenario[],
  size: TunnelSize,
  count: number,
  say: (line: string) => void,
): Promise<Round[]> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const program = await buildGoProgram("tunnel_load", folder);
  const near = await openBench(stack, nearBy, program);
  const peers = new Map<TunnelKind, TunnelPeer>();
  for (const kind of kinds) {
    if (scenarios.some(({ delayed }) => !delayed)) peers.set(kind, stack.use(await near.start(kind)));
  }
  return await measureRounds(kinds, scenarios, count, async (scenario, kind) => {
    try {
      if (scenario.delayed) return await runFarAway(scenario, kind, size, program);
      const peer = peers.get(kind);
      return peer && await scenario.run(near.context(kind, peer, size));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      say(`FAILED  ${scenario.name}  ${kind.name}  ${error.message}`); // a figure less: the others still tell
      return undefined;
    }
  }, say);
}

/** Both ends of the traffic in one place, and how to start what is between them. */
interface OpenBench {
  start(kind: TunnelKind, more?: Pick<Site, "spareAgents">): Promise<TunnelPeer>;
  context(kind: TunnelKind, peer: TunnelPeer, size: TunnelSize): TunnelContext;
}

async function openBench(
  stack: AsyncDisposableStack,
  placeOf: (stack: AsyncDisposableStack, program: string) => Place,
  program: string,
): Promise<OpenBench> {
  const services = await startServices(stack, program);
  const clients = startClients(stack, program);
  const start = (kind: TunnelKind, { spareAgents } = { spareAgents: 0 }) =>
    owning(async (stack) => {
      const peer = stack.use(await kind.start({ place: placeOf(stack, program), services, spareAgents }));
      await waitUntilReady(clients, peer).catch((cause) => {
        throw new Error(`"${kind.name}" does not carry anything`, { cause });
      });
      return peer;
    });
  return {
    start,
    context: (kind, peer, size) => ({
      clients,
      kind,
      peer,
      size,
      startFresh: (more) => start(kind, more),
    }),
  };
}

async function runFarAway(
  scenario: TunnelScenario,
  kind: TunnelKind,
  size: TunnelSize,
  program: string,
): Promise<Values | undefined> {
  await using stack = new AsyncDisposableStack();
  const bench = await openBench(stack, farAway, program);
  const peer = stack.use(await bench.start(kind));
  if (peer.gatewayPid === undefined) return undefined; // there is nothing to be far away from
  return await scenario.run(bench.context(kind, peer, size));
}
