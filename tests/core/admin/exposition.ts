/** One line of a page in Prometheus's text format. */
export interface ExpositionSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ExpositionFamily {
  readonly type: string;
  readonly help: string;
  readonly samples: ExpositionSample[];
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y;

/**
 * Reads the text format 0.0.4 as strictly as its description has it, written for these tests alone: every line is
 * known, HELP and TYPE come once and before the samples, samples of one family stand together, no two have the same
 * labels, histograms rise to a `+Inf` that equals their count.
 */
export function parseExposition(page: string): Map<string, ExpositionFamily> {
  if (!page.endsWith("\n")) throw new Error("The last line has no end");
  const families = new Map<string, ExpositionFamily>();
  const helps = new Map<string, string>();
  const seen = new Set<string>();
  let current: string | undefined;
  for (const line of page.split("\n")) {
    if (line === "") continue;
    const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === "HELP") {
      if (helps.has(name)) throw new Error(`A second HELP for ${name}`);
      helps.set(name, rest);
    } else if (keyword === "TYPE") {
      if (families.has(name)) throw new Error(`A second TYPE for ${name}`);
      families.set(name, { type: rest, help: helps.get(name) ?? "", samples: [] });
      current = name;
    } else {
      const sample = parseSample(line);
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      if (seen.has(key)) throw new Error(`Twice: ${line}`);
      seen.add(key);
      if (current === undefined || !belongs(sample.name, current, families.get(current)!.type)) {
        throw new Error(`Not under its own TYPE: ${line}`);
      }
      families.get(current)!.samples.push(sample);
    }
  }
  for (const [name, family] of families) {
    if (family.type === "histogram") checkHistogram(name, family.samples);
  }
  return families;
}

function parseSample(line: string): ExpositionSample {
  const [, name, labelText = "", valueText = ""] = SAMPLE.exec(line) ?? [];
  if (name === undefined) throw new Error(`No sample: ${line}`);
  const labels: Record<string, string> = {};
  for (LABEL.lastIndex = 0; LABEL.lastIndex < labelText.length;) {
    const at = LABEL.lastIndex;
    const [, label, value] = LABEL.exec(labelText) ?? [];
    if (label === undefined || value === undefined) throw new Error(`Bad labels from ${at}: ${line}`);
    if (Object.hasOwn(labels, label)) throw new Error(`Label ${label} twice: ${line}`);
    labels[label] = value.replaceAll(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c);
  }
  const value = valueText === "+Inf" ? Infinity : Number(valueText);
  if (Number.isNaN(value)) throw new Error(`No number: ${line}`);
  return { name, labels, value };
}

function belongs(sample: string, family: string, type: string): boolean {
  if (type !== "histogram") return sample === family;
  return [`${family}_bucket`, `${family}_sum`, `${family}_count`].includes(sample);
}

function checkHistogram(name: string, samples: readonly ExpositionSample[]): void {
  const series = Map.groupBy(samples, ({ labels: { le: _, ...labels } }) => JSON.stringify(labels));
  for (const of of series.values()) {
    const buckets = of.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => labels.le === "+Inf" ? Infinity : Number(labels.le));
    if (bounds.some((bound, i) => !(bound > (bounds[i - 1] ?? -Infinity)))) {
      throw new Error(`${name}: bounds ${bounds}`);
    }
    const counts = buckets.map(({ value }) => value);
    if (counts.some((count, i) => count < (counts[i - 1] ?? 0))) {
      throw new Error(`${name}: not cumulated: ${counts}`);
    }
    if (bounds.at(-1) !== Infinity) throw new Error(`${name}: no +Inf`);
    const count = of.find((sample) => sample.name === `${name}_count`);
    if (count?.value !== counts.at(-1)) throw new Error(`${name}: count is not the +Inf bucket`);
    if (!of.some((sample) => sample.name === `${name}_sum`)) throw new Error(`${name}: no sum`);
  }
}
