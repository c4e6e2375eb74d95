import { parseArgs } from "node:util";
import { type Bench, describeMachine, positive } from "./bench.ts";
import { MTLS_GOALS } from "./goals.ts";
import { startBackends } from "./helper.ts";
import {
  haproxy,
  makePki,
  type MtlsPeer,
  type MtlsPeerKind,
  postern,
  posternOverDatabase,
  stunnel,
} from "./mtls_peers.ts";
import { MTLS_SCENARIOS, type MtlsScenario } from "./mtls_scenarios.ts";
import {
  type Figures,
  formatTable,
  formatVerdicts,
  judge,
  metricsOf,
  type Round,
  summarize,
} from "./report.ts";
import { choose, measureRounds } from "./rounds.ts";
import { startTlsLoad } from "./tls_load.ts";

const OPTIONS = {
  only: { type: "string", default: "" },
  peers: { type: "string", default: "" },
  seconds: { type: "string", default: "3" },
  rounds: { type: "string", default: "3" },
} as const;

/** In the order of the columns. */
const PEERS: readonly MtlsPeerKind[] = [
  postern,
  haproxy,
  stunnel,
  posternOverDatabase("postern-db", "5s"),
  posternOverDatabase("postern-db-cold", "0s"),
];

const FIGURES: Figures = {
  metrics: metricsOf(MTLS_SCENARIOS),
  goals: MTLS_GOALS,
  ratios: [["haproxy"], ["stunnel"]],
};

/** Postern beside other proxies that terminate TLS and require a client certificate, on loopback, in one run. */
export const mtls: Bench = {
  name: "mtls",
  usage: `mtls [--only ${MTLS_SCENARIOS.map(({ name }) => name).join(",")}] [--peers ${
    PEERS.map(({ name }) => name).join(",")
  }]
     [--seconds 3] [--rounds 3]`,
  async run(args, say) {
    const { values } = parseArgs({ args: [...args], options: OPTIONS });
    const scenarios = choose(MTLS_SCENARIOS, values.only);
    const kinds = choose(PEERS, values.peers).filter(({ available }) => available);
    const seconds = positive(values.seconds);
    const rounds = await measure(kinds, scenarios, seconds, positive(values.rounds), say);
    const verdicts = judge(rounds, FIGURES);
    const table = formatTable(rounds, kinds.map(({ name }) => name), FIGURES);
    return {
      text: `\n${table}\n${formatVerdicts(verdicts, FIGURES)}`,
      json: {
        machine: await describeMachine(),
        seconds,
        medians: summarize(rounds, FIGURES),
        goals: verdicts,
        rounds,
      },
    };
  },
};

async function measure(
  kinds: readonly MtlsPeerKind[],
  scenarios: readonly MtlsScenario[],
  seconds: number,
  count: number,
  say: (line: string) => void,
): Promise<Round[]> {
  await using stack = new AsyncDisposableStack();
  const pki = await makePki();
  const load = await startTlsLoad(stack, pki.client);
  const backends = stack.use(await startBackends(kinds.map(({ name }) => name)));
  const peers = new Map<MtlsPeerKind, MtlsPeer>();
  for (const kind of kinds) peers.set(kind, stack.use(await kind.start(backends.portsOf(kind.name), pki)));
  return await measureRounds(kinds, scenarios, count, async (scenario, kind) => {
    const peer = peers.get(kind);
    if (!peer || !scenario.measures(kind)) return undefined;
    return await scenario.run({ load, peer, seconds });
  }, say);
}
