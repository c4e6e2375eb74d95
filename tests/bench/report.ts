import { type Goal, GOALS } from "./goals.ts";
import { type MetricInfo, SCENARIOS, type Values } from "./scenarios.ts";
import { median } from "./statistics.ts";

/** One round: what each peer did, by its name. */
export type Round = Readonly<Record<string, Values>>;

export interface Verdict extends Goal {
  /** The median over the rounds; absent when something it needs was not measured. */
  readonly value?: number;
  readonly met?: boolean;
}

const METRICS: Readonly<Record<string, MetricInfo>> = Object.assign(
  {},
  ...SCENARIOS.map(({ metrics }) => metrics),
);

/** Medians by metric and peer. */
export function summarize(rounds: readonly Round[]): Record<string, Record<string, number>> {
  const summary: Record<string, Record<string, number>> = {};
  for (const metric of Object.keys(METRICS)) {
    for (const peer of new Set(rounds.flatMap(Object.keys))) {
      const values = rounds.flatMap((round) => round[peer]?.[metric] ?? []);
      if (values.length > 0) (summary[metric] ??= {})[peer] = median(values);
    }
  }
  return summary;
}

/** Ratios are taken within a round, where the machine was in the same mood, and only then the median of them. */
export function judge(rounds: readonly Round[]): Verdict[] {
  return GOALS.map((goal) => {
    const values = rounds.flatMap((round) => valueOf(goal, round) ?? []);
    if (values.length === 0) return goal;
    const value = median(values);
    return {
      ...goal,
      value,
      met: value >= (goal.atLeast ?? -Infinity) && value <= (goal.atMost ?? Infinity),
    };
  });
}

/** A row for each metric, a column for each peer, and Postern's ratio to HAProxy and to the better of the two. */
export function formatTable(rounds: readonly Round[], peers: readonly string[]): string {
  const summary = summarize(rounds);
  const head = ["", ...peers, "÷ haproxy", "÷ best of haproxy, nginx"];
  const rows = Object.entries(summary).map(([metric, values]) => [
    `${metric}${unitOf(metric)}`,
    ...peers.map((peer) => format(values[peer])),
    ...[["haproxy"], ["haproxy", "nginx"]].map((than) =>
      format(ratio(rounds, { metric, peer: "postern", than }))
    ),
  ]);
  return align([head, ...rows]);
}

/** A line for each goal that this run could tell about. */
export function formatVerdicts(verdicts: readonly Verdict[]): string {
  return align(
    verdicts.filter(({ met }) => met !== undefined).map((verdict) => {
      const { metric, peer, than, atLeast, atMost, value, met, note } = verdict;
      const bound = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
      const outcome = met ? "reached" : "MISSED";
      const what = than ? `${peer} ÷ ${than.join(" or ")}` : `${peer}${unitOf(metric)}`;
      return [outcome, metric, what, format(value), bound, note ?? ""];
    }),
  );
}

function ratio(rounds: readonly Round[], goal: Goal): number | undefined {
  const values = rounds.flatMap((round) => valueOf(goal, round) ?? []);
  return values.length === 0 ? undefined : median(values);
}

function valueOf({ metric, peer, than }: Goal, round: Round): number | undefined {
  const own = round[peer]?.[metric];
  if (own === undefined || !than) return own;
  const others = than.flatMap((other) => round[other]?.[metric] ?? []);
  if (others.length < than.length) return undefined;
  return own / (METRICS[metric]?.better === "less" ? Math.min(...others) : Math.max(...others));
}

function unitOf(metric: string): string {
  const unit = METRICS[metric]?.unit;
  return unit ? ` [${unit}]` : "";
}

function format(value: number | undefined): string {
  if (value === undefined) return "-";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** Columns as wide as their widest cell; all but the first to the right when they hold numbers. */
function align(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return /^[-\d.,]+$/.test(cell) ? cell.padStart(width) : cell.padEnd(width);
    }).join("  ").trimEnd() + "\n"
  ).join("");
}
