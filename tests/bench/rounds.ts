import { UsageError } from "./bench.ts";
import type { Round, Values } from "./report.ts";

interface Named {
  readonly name: string;
}

/**
 * Every scenario meets all peers before the next one begins, in another order each round: what the machine does
 * beside then hits all of them alike.
 *
 * @param run Measures one peer, or tells by `undefined` that this scenario is not for it.
 * @param say Takes a line about each measurement.
 */
export async function measureRounds<Kind extends Named, Scenario extends Named>(
  kinds: readonly Kind[],
  scenarios: readonly Scenario[],
  count: number,
  run: (scenario: Scenario, kind: Kind) => Promise<Values | undefined>,
  say: (line: string) => void,
): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let index = 0; index < count; index++) {
    const round: Record<string, Values> = {};
    for (const scenario of scenarios) {
      for (const kind of rotate(kinds, index)) {
        const values = await run(scenario, kind);
        if (values === undefined) continue;
        round[kind.name] = { ...round[kind.name], ...values };
        say(`round ${index + 1}/${count}  ${scenario.name}  ${kind.name}  ${describe(values)}`);
      }
    }
    rounds.push(round);
  }
  return rounds;
}

/** Those that `list` names, separated by commas; all when it is empty. Throws {@link UsageError} for another name. */
export function choose<T extends Named>(all: readonly T[], list: string): T[] {
  if (list === "") return [...all];
  return list.split(",").map((name) => {
    const found = all.find((item) => item.name === name);
    if (!found) throw new UsageError(`"${name}" is none of ${all.map((item) => item.name).join(", ")}`);
    return found;
  });
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
