import type { Goal } from "./goals.ts";
import { median } from "./statistics.ts";

/** Values by the name of what was measured. */
export type Values = Readonly<Record<string, number>>;

export interface MetricInfo {
  readonly unit: string;
  readonly better: "more" | "less";
}

/** One round: what each peer did, by its name. */
export type Round = Readonly<Record<string, Values>>;

export interface Verdict extends Goal {
  /** The median over the rounds; absent when something it needs was not measured. */
  readonly value?: number;
  readonly met?: boolean;
}

/** What a bench measures, and how that is judged. */
export interface Figures {
  /** In the order of the rows. */
  readonly metrics: Readonly<Record<string, MetricInfo>>;
  readonly goals: readonly Goal[];
  /** The table has a column with Postern's ratio to the better of each of these. */
  readonly ratios: readonly (readonly string[])[];
}

/** The metrics of all scenarios, in their order. */
export function metricsOf(
  scenarios: readonly { readonly metrics: Readonly<Record<string, MetricInfo>> }[],
): Readonly<Record<string, MetricInfo>> {
  return Object.assign({}, ...scenarios.map(({ metrics }) => metrics));
}

/** Medians by metric and peer. */
export function summarize(
  rounds: readonly Round[],
  { metrics }: Pick<Figures, "metrics">,
): Record<string, Record<string, number>> {
  const summary: Record<string, Record<string, number>> = {};
  for (const metric of Object.keys(metrics)) {
    for (const peer of new Set(rounds.flatMap(Object.keys))) {
      const values = rounds.flatMap((round) => round[peer]?.[metric] ?? []);
      if (values.length > 0) (summary[metric] ??= {})[peer] = median(values);
    }
  }
  return summary;
}

/** Ratios are taken within a round, where the machine was in the same mood, and only then the median of them. */
export function judge(rounds: readonly Round[], { goals, metrics }: Omit<Figures, "ratios">): Verdict[] {
  return goals.map((goal) => {
    const values = rounds.flatMap((round) => valueOf(goal, round, metrics) ?? []);
    if (values.length === 0) return goal;
    const value = median(values);
    return {
      ...goal,
      value,
      met: value >= (goal.atLeast ?? -Infinity) && value <= (goal.atMost ?? Infinity),
    };
  });
}

/** A row for each metric, a column for each peer, and Postern's ratios to others. */
export function formatTable(rounds: readonly Round[], peers: readonly string[], figures: Figures): string {
  const { metrics, ratios } = figures;
  const head = [
    "",
    ...peers,
    ...ratios.map((than) => `÷ ${than.length > 1 ? "best of " : ""}${than.join(", ")}`),
  ];
  const rows = Object.entries(summarize(rounds, figures)).map(([metric, values]) => [
    `${metric}${unitOf(metrics[metric])}`,
    ...peers.map((peer) => format(values[peer])),
    ...ratios.map((than) => format(ratio(rounds, { metric, peer: "postern", than }, metrics))),
  ]);
  return align([head, ...rows]);
}

/** A line for each goal that this run could tell about. */
export function formatVerdicts(verdicts: readonly Verdict[], { metrics }: Pick<Figures, "metrics">): string {
  return align(
    verdicts.filter(({ met }) => met !== undefined).map((verdict) => {
      const { metric, peer, than, atLeast, atMost, value, met, note } = verdict;
      const bound = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
      const outcome = met ? "reached" : "MISSED";
      const what = than ? `${peer} ÷ ${than.join(" or ")}` : `${peer}${unitOf(metrics[metric])}`;
      return [outcome, metric, what, format(value), bound, note ?? ""];
    }),
  );
}

function ratio(rounds: readonly Round[], goal: Goal, metrics: Figures["metrics"]): number | undefined {
  const values = rounds.flatMap((round) => valueOf(goal, round, metrics) ?? []);
  return values.length === 0 ? undefined : median(values);
}

function valueOf(
  { metric, peer, than }: Goal,
  round: Round,
  metrics: Figures["metrics"],
): number | undefined {
  const own = round[peer]?.[metric];
  if (own === undefined || !than) return own;
  const others = than.flatMap((other) => round[other]?.[metric] ?? []);
  if (others.length < than.length) return undefined;
  return own / (metrics[metric]?.better === "less" ? Math.min(...others) : Math.max(...others));
}

function unitOf(info: MetricInfo | undefined): string {
  return info?.unit ? ` [${info.unit}]` : "";
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
