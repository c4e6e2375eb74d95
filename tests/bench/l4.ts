import { parseArgs } from "node:util";
import { type Context, type Scenario, SCENARIOS, type Size, type Values } from "./scenarios.ts";
import { LoadGenerator, startBackends } from "./helper.ts";
import { type Peer, type PeerKind, PEERS } from "./peers.ts";
import { formatTable, formatVerdicts, judge, type Round, summarize } from "./report.ts";
import { type Bench, describeMachine, positive, UsageError } from "./bench.ts";

const OPTIONS = {
  only: { type: "string", default: "" },
  peers: { type: "string", default: "" },
  seconds: { type: "string", default: "3" },
  rounds: { type: "string", default: "3" },
  idle: { type: "string", default: "5000" },
  silent: { type: "string", default: "15000" },
} as const;

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
    const verdicts = judge(rounds);
    const table = formatTable(rounds, kinds.map(({ name }) => name));
    return {
      text: `\n${table}\n${formatVerdicts(verdicts)}`,
      json: {
        machine: await describeMachine(),
        size,
        medians: summarize(rounds),
        goals: verdicts,
        rounds,
      },
    };
  },
};

/**
 * Every scenario meets all peers before the next one begins, in another order each round: what the machine does
 * beside then hits all of them alike.
 */
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

  const rounds: Round[] = [];
  for (let index = 0; index < count; index++) {
    const round: Record<string, Values> = {};
    for (const scenario of scenarios) {
      for (const kind of rotate(kinds, index)) {
        const peer = peers.get(kind);
        if (!peer || !scenario.measures(kind)) continue;
        const context: Context = { load, size, kind, peer, backends: backends.portsOf(kind.name) };
        const values = await scenario.run(context);
        round[kind.name] = { ...round[kind.name], ...values };
        say(`round ${index + 1}/${count}  ${scenario.name}  ${kind.name}  ${describe(values)}`);
      }
    }
    rounds.push(round);
  }
  return rounds;
}

function describe(values: Values): string {
  return Object.entries(values).map(([metric, value]) => `${metric}: ${Math.round(value * 100) / 100}`).join(
    ", ",
  );
}

function rotate<T>(items: readonly T[], by: number): T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function choose<T extends { readonly name: string }>(all: readonly T[], list: string): T[] {
  if (list === "") return [...all];
  return list.split(",").map((name) => {
    const found = all.find((item) => item.name === name);
    if (!found) throw new UsageError(`"${name}" is none of ${all.map((item) => item.name).join(", ")}`);
    return found;
  });
}
