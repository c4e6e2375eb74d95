import { DATA_PLANE_METRICS } from "../data_plane/metrics.ts";
import type { GatewayStatus, HistogramSample, MetricsSnapshot } from "../data_plane/snapshot.ts";
import type { MetricSample } from "../plugin/contract.ts";

/** Everything that `/metrics` is made of. */
export interface MetricSources {
  /** One of each data plane: what they count is added up. */
  readonly planes: readonly MetricsSnapshot[];
  /** Of the plugins; the ones of several instances of an inline plugin are added up. */
  readonly plugins: readonly MetricSample[];
  /** The admin side's own. */
  readonly own: readonly MetricSample[];
  readonly status: GatewayStatus;
}

/**
 * A page for Prometheus, in its text format 0.0.4.
 *
 * Written here: the numbers are kept in other threads, so a metrics library could only have formatted them, and the
 * usual one brings a megabyte of test data into every compiled binary.
 */
export interface MetricsPage {
  readonly contentType: string;
  readonly body: string;
}

const PREFIX = "postern_";

/** Samples that plugins may add to one page: a plugin that labels by connection must not make Prometheus choke. */
const MAX_PLUGIN_SAMPLES = 5_000;

/** The names that the text format has; `__` is Prometheus's own. */
const METRIC_NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/;
const LABEL_NAME = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,63}$/;

type Labels = Readonly<Record<string, string>>;
type Kind = "counter" | "gauge";

/** One line of a page. */
interface Line {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Merges what all parts of the gateway have counted. Never throws for what a plugin hands in: it leaves that out. */
export function renderMetrics({ planes, plugins, own, status }: MetricSources): MetricsPage {
  const page = new Page();
  for (const { counters, gauges, histograms } of planes) {
    for (const { name, labels, value } of counters) page.add("counter", name, helpOf(name), labels, value);
    for (const { name, labels, value } of gauges) page.add("gauge", name, helpOf(name), labels, value);
    for (const sample of histograms) page.addHistogram(helpOf(sample.name), sample);
  }
  addStatus(page, status);
  page.closeFamilies();
  for (const sample of own) page.addForeign(sample);
  for (const sample of plugins.slice(0, MAX_PLUGIN_SAMPLES)) page.addForeign(sample);
  return page.render();
}

function addStatus(page: Page, status: GatewayStatus): void {
  page.add("gauge", "build_info", "Always 1; the version is in the label.", { version: status.version }, 1);
  page.add(
    "gauge",
    "start_time_seconds",
    "When the gateway started, Unix time.",
    {},
    status.startedAt / 1000,
  );
  page.add("gauge", "resident_memory_bytes", "Resident memory of the whole process.", {}, status.memory);
  for (const { name: plugin, state, restarts } of status.plugins) {
    page.add("gauge", "plugin_up", "1 while the plugin runs.", { plugin }, state === "up" ? 1 : 0);
    page.add("counter", "plugin_restarts_total", "Times the plugin was started anew after a crash.", {
      plugin,
    }, restarts);
  }
}

function helpOf(name: string): string {
  const known: Readonly<Record<string, string>> = DATA_PLANE_METRICS;
  return Object.hasOwn(known, name) ? known[name]! : "Counted by the data planes.";
}

/** One metric with all its label sets. */
class Family {
  readonly #lines = new Map<string, { readonly labels: Labels; value: number }>();
  constructor(readonly kind: Kind, readonly help: string) {}

  add(labels: Labels, value: number): void {
    const key = keyOf(labels);
    const line = this.#lines.get(key);
    if (line === undefined) this.#lines.set(key, { labels, value });
    else line.value += value; // two lines with the same labels would make the whole page invalid
  }

  lines(): Line[] {
    return [...this.#lines.values()];
  }
}

/** One histogram with all its label sets. */
class HistogramFamily {
  readonly kind = "histogram";
  readonly #merged = new Map<
    string,
    { readonly sample: HistogramSample; readonly counts: number[]; sum: number }
  >();
  constructor(readonly name: string, readonly help: string) {}

  add(sample: HistogramSample): void {
    const key = keyOf(sample.labels);
    const merged = this.#merged.get(key);
    if (merged === undefined) {
      this.#merged.set(key, { sample, counts: [...sample.counts], sum: sample.sum });
      return;
    }
    if (keyOf(merged.sample.bounds) !== keyOf(sample.bounds)) return; // never from one build; a sum would be wrong
    sample.counts.forEach((count, i) => merged.counts[i]! += count);
    merged.sum += sample.sum;
  }

  lines(): Line[] {
    return [...this.#merged.values()].flatMap(({ sample, counts, sum }) => {
      const { labels, bounds } = sample;
      const name = PREFIX + this.name;
      let cumulated = 0;
      const buckets = counts.map((count, i): Line => ({
        metricName: `${name}_bucket`,
        labels: { ...labels, le: bounds[i] ?? "+Inf" },
        value: cumulated += count,
      }));
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: cumulated },
      ];
    });
  }
}

class Page {
  readonly #families = new Map<string, Family | HistogramFamily>();
  #closed: ReadonlySet<string> = new Set();

  /** A sample of our own. */
  add(kind: Kind, name: string, help: string, labels: Labels, value: number): void {
    let family = this.#families.get(name);
    if (family === undefined) this.#families.set(name, family = new Family(kind, help));
    if (family instanceof Family && family.kind === kind) family.add(cleaned(labels), value);
  }

  addHistogram(help: string, sample: HistogramSample): void {
    let family = this.#families.get(sample.name);
    if (family === undefined) {
      this.#families.set(sample.name, family = new HistogramFamily(sample.name, help));
    }
    if (family instanceof HistogramFamily) family.add(sample);
  }

  /** From here on nobody adds to what is there: a plugin can't count up the gateway's own numbers. */
  closeFamilies(): void {
    this.#closed = new Set(
      [...this.#families].flatMap(([name, { kind }]) =>
        kind === "histogram" ? ["", "_bucket", "_sum", "_count"].map((part) => name + part) : name
      ),
    );
  }

  /** A sample of somebody else. Left out when it would break the page. */
  addForeign({ name, help, type, labels, value }: MetricSample): void {
    if (this.#closed.has(name) || !METRIC_NAME.test(name) || !Number.isFinite(value)) return;
    if (type !== "counter" && type !== "gauge") return;
    if (!Object.keys(labels).every((label) => LABEL_NAME.test(label))) return;
    this.add(type, name, oneLine(help), labels, value);
  }

  render(): MetricsPage {
    const families = [...this.#families].map(([name, family]) => writeFamily(PREFIX + name, family));
    return { contentType: "text/plain; version=0.0.4; charset=utf-8", body: families.join("\n") };
  }
}

function writeFamily(name: string, family: Family | HistogramFamily): string {
  const lines = family.lines().map(({ metricName = name, labels, value }) =>
    `${metricName}${writeLabels(labels)} ${writeNumber(value)}\n`
  );
  return `# HELP ${name} ${escape(family.help)}\n# TYPE ${name} ${family.kind}\n${lines.join("")}`;
}

function writeLabels(labels: Line["labels"]): string {
  const written = Object.entries(labels).map(([name, value]) =>
    `${name}="${escape(String(value)).replaceAll('"', '\\"')}"`
  );
  return written.length === 0 ? "" : `{${written.join(",")}}`;
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function writeNumber(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

function cleaned(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, oneLine(value)]));
}

/** Plain text of bounded length; what the format gives a meaning to is escaped when it is written. */
function oneLine(text: unknown): string {
  // deno-lint-ignore no-control-regex -- they are what is taken out
  return String(text).slice(0, 256).replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
}

function keyOf(labels: Labels | readonly number[]): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
