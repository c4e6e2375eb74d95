import type { CounterSample, HistogramSample, MetricsSnapshot } from "./snapshot.ts";

type Labels = Readonly<Record<string, string>>;

/** A number that only grows. */
export interface Counter {
  add(n: number): void;
}

/** A number that goes both ways. */
export interface Gauge {
  add(n: number): void;
}

/** How values spread over fixed buckets. */
export interface Histogram {
  /** What is not finite is dropped: one would make the sum useless for good. */
  observe(seconds: number): void;
}

/** What the data planes count, for whoever prints it. `name` has no `postern_` prefix. */
export const DATA_PLANE_METRICS = {
  connections_total: "Connections that have ended, by listener, deciding plugin and result.",
  connections_active: "Connections that a plugin has decided on and that are still open.",
  bytes_total: "Bytes relayed: in is client to upstream, out is upstream to client.",
  preface_seconds: "From accept until enough of the first bytes were read.",
  route_seconds: "From asking a plugin until its decision.",
  connect_seconds: "One attempt to reach an upstream.",
  rejected_total: "Connections turned away, by reason.",
  tls_handshake_seconds: "TLS handshakes finished with clients.",
} as const;

/**
 * Values that one label of a metric may take before all further ones share `other`. Listeners, plugins and reasons
 * come from the config and from unions in the code, a dozen or two; the bound is for the day when one does not.
 */
export const MAX_LABEL_VALUES = 64;

/** The value that stands for every one past {@link MAX_LABEL_VALUES}. */
export const OTHER = "other";

/** The `plugin` label of a connection that ended before any plugin had decided on it. */
export const NO_PLUGIN = "none";

/** From 1 ms on loopback to the longest a preface, a dial or a handshake may take by default (10 s). */
const WAIT_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** An inline plugin answers in microseconds, an isolated one in tens of them, one that asks a database in milliseconds. */
const ROUTE_BOUNDS = [
  0.00001,
  0.000025,
  0.00005,
  0.000075,
  0.0001,
  0.00015,
  0.00025,
  0.0005,
  0.001,
  0.005,
  0.025,
  0.1,
  0.5,
  1,
  5,
];

/** A counter or a gauge: the registry that made it knows which. */
class Cell implements Counter, Gauge {
  value = 0;
  constructor(readonly name: string, readonly labels: Labels) {}

  add(n: number): void {
    this.value += n;
  }

  sample(): CounterSample {
    return { name: this.name, labels: this.labels, value: this.value };
  }
}

class Buckets implements Histogram {
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(readonly name: string, readonly labels: Labels, readonly bounds: readonly number[]) {
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    if (!Number.isFinite(seconds)) return;
    const bounds = this.bounds;
    let i = 0;
    while (i < bounds.length && seconds > bounds[i]!) i++;
    this.#counts[i]! += 1;
    this.#sum += seconds;
  }

  sample(): HistogramSample {
    return {
      name: this.name,
      labels: this.labels,
      bounds: this.bounds,
      counts: Array.from(this.#counts),
      sum: this.#sum,
    };
  }
}

/**
 * Counters, gauges and histograms of one data plane. Asking for a child builds a key, so that is done once and the
 * child kept; what runs for every connection is an addition on the child.
 */
export class MetricRegistry {
  readonly #counters = new Map<string, Cell>();
  readonly #gauges = new Map<string, Cell>();
  readonly #histograms = new Map<string, Buckets>();

  /** The one child of this name and these labels. */
  counter(name: string, labels: Labels): Counter {
    return child(this.#counters, name, labels, () => new Cell(name, labels));
  }

  /** The one child of this name and these labels. */
  gauge(name: string, labels: Labels): Gauge {
    return child(this.#gauges, name, labels, () => new Cell(name, labels));
  }

  /**
   * The one child of this name and these labels.
   *
   * @param bounds Upper bounds in seconds, each above the one before; the same for every child of one name.
   * @throws RangeError when the bounds do not rise.
   */
  histogram(name: string, labels: Labels, bounds: readonly number[]): Histogram {
    return child(this.#histograms, name, labels, () => {
      if (bounds.some((bound, i) => i > 0 && bound <= bounds[i - 1]!)) {
        throw new RangeError(`Histogram "${name}": bounds must rise`);
      }
      return new Buckets(name, labels, bounds);
    });
  }

  /** Everything as it stands, as plain data that shares nothing with the registry. */
  snapshot(): MetricsSnapshot {
    return {
      counters: Array.from(this.#counters.values(), (cell) => cell.sample()),
      gauges: Array.from(this.#gauges.values(), (cell) => cell.sample()),
      histograms: Array.from(this.#histograms.values(), (buckets) => buckets.sample()),
    };
  }
}

function child<T>(all: Map<string, T>, name: string, labels: Labels, make: () => T): T {
  const key = JSON.stringify([name, ...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))]);
  let found = all.get(key);
  if (found === undefined) all.set(key, found = make());
  return found;
}

/** The children of a metric by one label: a map lookup a call, and never more than a fixed number of them. */
class ByLabel<T> {
  readonly #children = new Map<string, T>();
  readonly #make: (value: string) => T;

  constructor(make: (value: string) => T) {
    this.#make = make;
  }

  get(value: string): T {
    return this.#children.get(value) ?? this.#add(value);
  }

  #add(value: string): T {
    if (this.#children.size >= MAX_LABEL_VALUES && value !== OTHER) return this.get(OTHER);
    const made = this.#make(value);
    this.#children.set(value, made);
    return made;
  }
}

/** The bytes of a connection that is still open: {@link DataPlaneMetrics.snapshot} adds them to the closed ones. */
export interface OpenBytes {
  readonly plugin?: string | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface Relayed {
  /** The label, which is `other` for plugins past the bound. */
  readonly plugin: string;
  readonly in: Counter;
  readonly out: Counter;
}

/** What one data plane counts. Times are in seconds. Every method is a few map lookups and additions. */
export class DataPlaneMetrics {
  readonly #registry = new MetricRegistry();
  readonly #total = new ByLabel((listener) =>
    new ByLabel((plugin) =>
      new ByLabel((result) => this.#registry.counter("connections_total", { listener, plugin, result }))
    )
  );
  readonly #active = new ByLabel((plugin) => this.#registry.gauge("connections_active", { plugin }));
  readonly #bytes = new ByLabel((plugin): Relayed => ({
    plugin,
    in: this.#registry.counter("bytes_total", { direction: "in", plugin }),
    out: this.#registry.counter("bytes_total", { direction: "out", plugin }),
  }));
  readonly #rejected = new ByLabel((reason) => this.#registry.counter("rejected_total", { reason }));
  readonly #preface = this.#registry.histogram("preface_seconds", {}, WAIT_BOUNDS);
  readonly #handshake = this.#registry.histogram("tls_handshake_seconds", {}, WAIT_BOUNDS);
  readonly #route = new ByLabel((plugin) =>
    this.#registry.histogram("route_seconds", { plugin }, ROUTE_BOUNDS)
  );
  readonly #connect = new ByLabel((plugin) =>
    this.#registry.histogram("connect_seconds", { plugin }, WAIT_BOUNDS)
  );

  /** `plugin` has decided on a connection. Goes with exactly one {@link connectionClosed} that names the same plugin. */
  connectionOpened(plugin: string): void {
    this.#active.get(plugin).add(1);
  }

  /**
   * A connection has ended, whatever became of it.
   *
   * @param plugin Who decided; absent when nobody had, and then {@link connectionOpened} was not called either.
   * @param result `ok`, or what ended it; one of a fixed set.
   */
  connectionClosed(
    listener: string,
    plugin: string | undefined,
    result: string,
    bytesIn: number,
    bytesOut: number,
  ): void {
    this.#total.get(listener).get(plugin ?? NO_PLUGIN).get(result).add(1);
    if (plugin === undefined) return;
    this.#active.get(plugin).add(-1);
    const relayed = this.#bytes.get(plugin);
    relayed.in.add(bytesIn);
    relayed.out.add(bytesOut);
  }

  /** A connection was turned away. @param reason One of a fixed set. */
  rejected(reason: string): void {
    this.#rejected.get(reason).add(1);
  }

  /** From accept until enough of the first bytes were read. */
  prefaceRead(seconds: number): void {
    this.#preface.observe(seconds);
  }

  /** From asking until the answer of the plugin that decided. */
  routed(plugin: string, seconds: number): void {
    this.#route.get(plugin).observe(seconds);
  }

  /** One attempt to reach an upstream, whether it connected or not. */
  dialed(plugin: string, seconds: number): void {
    this.#connect.get(plugin).observe(seconds);
  }

  /** A TLS handshake with a client was finished. */
  handshake(seconds: number): void {
    this.#handshake.observe(seconds);
  }

  /**
   * Everything as it stands.
   *
   * @param open The connections that are open now. Their bytes are counted for good only when they close, and a
   *   throughput chart would stand still for as long as a big transfer runs.
   */
  snapshot(open: Iterable<OpenBytes> = []): MetricsSnapshot {
    const live = new Map<string, { in: number; out: number }>();
    for (const { plugin, bytesIn, bytesOut } of open) {
      if (plugin === undefined) continue;
      const label = this.#bytes.get(plugin).plugin; // makes the child: a first connection shows before it ends
      const sum = live.get(label) ?? { in: 0, out: 0 };
      live.set(label, { in: sum.in + bytesIn, out: sum.out + bytesOut });
    }
    const snapshot = this.#registry.snapshot();
    return live.size === 0
      ? snapshot
      : { ...snapshot, counters: snapshot.counters.map((c) => withLive(c, live)) };
  }
}

function withLive(
  sample: CounterSample,
  live: ReadonlyMap<string, { readonly in: number; readonly out: number }>,
): CounterSample {
  const { plugin, direction } = sample.labels;
  const open = sample.name === "bytes_total" && plugin !== undefined ? live.get(plugin) : undefined;
  if (open === undefined) return sample;
  return { ...sample, value: sample.value + (direction === "in" ? open.in : open.out) };
}

/** The sums of a counter or gauge over all data planes, by the values of one of its labels. */
export function sumBy(
  snapshots: readonly MetricsSnapshot[],
  name: string,
  label: string,
): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { counters, gauges } of snapshots) {
    for (const sample of [...counters, ...gauges]) {
      const value = sample.name === name ? sample.labels[label] : undefined;
      if (value !== undefined) sums.set(value, (sums.get(value) ?? 0) + sample.value);
    }
  }
  return Object.fromEntries(sums);
}
