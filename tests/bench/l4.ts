import { parseArgs } from "node:util";
import { type Scenario, SCENARIOS, type Size } from "./scenarios.ts";
import { L4_GOALS } from "./goals.ts";
import { LoadGenerator, startBackends } from "./helper.ts";
import { type Peer, type PeerKind, PEERS } from "./peers.ts";
import {
  type Figures,
  formatTable,
  formatVerdicts,
  judge,
  metricsOf,
  type Round,
  summarize,
} from "./report.ts";
import { type Bench, describeMachine, positive } from "./bench.ts";
import { choose, measureRounds } from "./rounds.ts";

const OPTIONS = {
  only: { type: "string", default: "" },
  peers: { type: "string", default: "" },
  seconds: { type: "string", default: "3" },
  rounds: { type: "string", default: "3" },
  idle: { type: "string", default: "5000" },
  silent: { type: "string", default: "15000" },
} as const;

const FIGURES: Figures = {
  metrics: metricsOf(SCENARIOS),
  goals: L4_GOALS,
  ratios: [["haproxy"], ["haproxy", "nginx"]],
};

/** Postern beside other proxies that route by the name in the ClientHello, on loopback, in one run. */
export const l4: Bench = {
  name: "l4",
  usage: `l4 [--only ${SCENARIOS.map(({ name }) => name).join(",")}] [--peers ${
    PEERS.map(({ name }) => name).join(",")
  }]
     [--seconds 3] [--rounds 3] [--idle 5000] [--silent 15000]`,
  async run(args, say) {
    const { values } = parseArgs({ args: [...args], options: OPTIONS });
    const scenarios = choose(SCENARIOS, values.only);
    const kinds = choose(PEERS, values.peers).filter(({ available }) => available);
    const size: Size = {
      seconds: positive(values.seconds),
      idleConnections: positive(values.idle),
      silentConnections: positive(values.silent),
    };
    const rounds = await measure(kinds, scenarios, size, positive(values.rounds), say);
    const verdicts = judge(rounds, FIGURES);
    const table = formatTable(rounds, kinds.map(({ name }) => name), FIGURES);
    return {
      text: `\n${table}\n${formatVerdicts(verdicts, FIGURES)}`,
      json: {
        machine: await describeMachine(),
        size,
        medians: summarize(rounds, FIGURES),
        goals: verdicts,
        rounds,
      },
    };
  },
};

async function measure(
  kinds: readonly PeerKind[],
  scenarios: readonly Scenario[],
  size: Size,
  count: number,
  say: (line: string) => void,
): Promise<Round[]> {
  await using stack = new AsyncDisposableStack();
  const backends = stack.use(await startBackends(kinds.map(({ name }) => name)));
  const load = stack.use(new LoadGenerator());
  const peers = new Map<PeerKind, Peer>();
  for (const kind of kinds) peers.set(kind, stack.use(await kind.start(backends.portsOf(kind.name))));
  return await measureRounds(kinds, scenarios, count, async (scenario, kind) => {
    const peer = peers.get(kind);
    if (!peer || !scenario.measures(kind)) return undefined;
    return await scenario.run({ load, size, kind, peer, backends: backends.portsOf(kind.name) });
  }, say);
}
