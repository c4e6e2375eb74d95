import { DATA_PLANE_METRICS } from "../data_plane/metrics.ts";
import type {
  CertificateRow,
  GatewayStatus,
  HistogramSample,
  MetricsSnapshot,
} from "../data_plane/snapshot.ts";
import type { DistributionSample, MetricSample } from "../plugin/reports.ts";

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

/** Lines that plugins may add to one page: a plugin that labels by connection must not make Prometheus choke. */
const MAX_PLUGIN_LINES = 5_000;
/** Of one histogram; the usual choice is about a dozen. */
const MAX_BUCKETS = 64;

/** The names that the text format has; `__` is Prometheus's own. */
const METRIC_NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/;
const LABEL_NAME = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,63}$/;

/** What the names of a histogram's lines end with, and nothing: that name is the family's. */
const HISTOGRAM_PARTS = ["", "_bucket", "_sum", "_count"];

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
  for (const sample of firstLines(plugins, MAX_PLUGIN_LINES)) page.addForeign(sample);
  return page.render();
}

/** As many samples from the start as come to `limit` lines. */
function firstLines(samples: readonly MetricSample[], limit: number): readonly MetricSample[] {
  let lines = 0;
  const end = samples.findIndex((sample) => (lines += linesOf(sample)) > limit);
  return end === -1 ? samples : samples.slice(0, end);
}

/** A histogram has one more bucket, its sum and its count. */
function linesOf(sample: MetricSample): number {
  return sample.type === "histogram" && Array.isArray(sample.buckets) ? sample.buckets.length + 3 : 1;
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
  addCertificates(page, status.certificates ?? []);
}

/** By one name each, the first that no other one is told by: it may have a hundred, and all expire at once. */
function addCertificates(page: Page, certificates: readonly CertificateRow[]): void {
  const told = new Set<string>();
  for (const { names, source, state, notAfter } of certificates) {
    const count = "Certificates for clients, by where they are from and whether they are of use.";
    page.add("gauge", "certificates", count, { source, state }, 1);
    const expires = Date.parse(notAfter) / 1000;
    if (!Number.isFinite(expires)) continue;
    const name = names.find((one) => !told.has(`${source} ${one}`));
    for (const one of names) told.add(`${source} ${one}`);
    if (name === undefined) continue; // another one serves all of its names
    page.add(
      "gauge",
      "certificate_expiry_timestamp_seconds",
      "When a certificate expires, Unix time; by the first of its names that no other has.",
      { name, source },
      expires,
    );
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
  /** Every name that stands in a line, by the family that it stands in. */
  readonly #taken = new Map<string, string>();
  #closed: ReadonlySet<string> = new Set();

  /** A sample of our own. */
  add(kind: Kind, name: string, help: string, labels: Labels, value: number): void {
    const family = this.#family(name, () => new Family(kind, help));
    if (family instanceof Family && family.kind === kind) family.add(cleaned(labels), value);
  }

  addHistogram(help: string, sample: HistogramSample): void {
    const family = this.#family(sample.name, () => new HistogramFamily(sample.name, help));
    if (family instanceof HistogramFamily) family.add({ ...sample, labels: cleaned(sample.labels) });
  }

  /** From here on nobody adds to what is there: a plugin can't count up the gateway's own numbers. */
  closeFamilies(): void {
    this.#closed = new Set(this.#families.keys());
  }

  /** A sample of somebody else. Left out when it would break the page. */
  addForeign(sample: MetricSample): void {
    const { name, help, type, labels } = sample;
    if (this.#closed.has(name) || !METRIC_NAME.test(name)) return;
    if (!Object.keys(labels).every((label) => LABEL_NAME.test(label))) return;
    if (type === "counter" || type === "gauge") {
      if (Number.isFinite(sample.value)) this.add(type, name, oneLine(help), labels, sample.value);
    } else if (type === "histogram" && isSound(sample)) {
      this.addHistogram(oneLine(help), uncumulated(sample));
    }
  }

  /** `undefined` when a name of its lines stands in another family already. */
  #family(name: string, make: () => Family | HistogramFamily): Family | HistogramFamily | undefined {
    const known = this.#families.get(name);
    if (known !== undefined) return known;
    const family = make();
    const names = family.kind === "histogram" ? HISTOGRAM_PARTS.map((part) => name + part) : [name];
    if (names.some((one) => this.#taken.has(one))) return undefined;
    for (const one of names) this.#taken.set(one, name);
    this.#families.set(name, family);
    return family;
  }

  render(): MetricsPage {
    const families = [...this.#families].map(([name, family]) => writeFamily(PREFIX + name, family));
    return { contentType: "text/plain; version=0.0.4; charset=utf-8", body: families.join("\n") };
  }
}

/** Whether it makes a histogram as Prometheus has it: bounds and counts rise, and all is counted in the end. */
function isSound({ labels, buckets, sum, count }: DistributionSample): boolean {
  if (!Array.isArray(buckets) || buckets.length > MAX_BUCKETS || Object.hasOwn(labels, "le")) return false;
  const bounds = buckets.map((bucket) => bucket?.le);
  const counts = [0, ...buckets.map((bucket) => bucket?.count), count];
  return [sum, ...bounds, ...counts].every(Number.isFinite) &&
    bounds.every((bound, i) => bound > (bounds[i - 1] ?? -Infinity)) &&
    counts.every((value, i) => value >= (counts[i - 1] ?? 0));
}

function uncumulated({ name, labels, buckets, sum, count }: DistributionSample): HistogramSample {
  const cumulated = [...buckets.map((bucket) => bucket.count), count];
  return {
    name,
    labels,
    bounds: buckets.map(({ le }) => le),
    counts: cumulated.map((value, i) => value - (cumulated[i - 1] ?? 0)),
    sum,
  };
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
