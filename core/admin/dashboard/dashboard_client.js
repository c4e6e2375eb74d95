/*
 * Makes the pages live: numbers and charts by server-sent events, tables by loading the page again when something has
 * changed. Everything that is shown is on the page without it, too.
 */

/** Samples that the charts show: five minutes. */
const MAX_SAMPLES = 300;
/** At most one look at the tables in this time, and at least one in that, in milliseconds. */
const SOONEST_MS = 2000;
const LATEST_MS = 5000;
/** What a chart can tell apart; further reasons are one line together. */
const MAX_REASONS = 6;

const live = document.getElementById("live");
const samples = [];
let source;
let refreshedAt = performance.now();
let refreshing = false;
let changed = false;

/* Text */

const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

function bytesText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  for (; Math.abs(bytes) >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${unit === 0 ? Math.round(bytes) : bytes.toFixed(bytes < 10 ? 1 : 0)} ${units[unit]}`;
}

function sumOf(counts) {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

const TILES = {
  "connections.active": ({ connections }) => number.format(connections.active),
  "connections.total": ({ connections }) => number.format(connections.total),
  "tunnels": ({ tunnels }) => number.format(tunnels),
  "requests": ({ requests }) => number.format(requests),
  "bytes.in": ({ bytes }) => bytesText(bytes.in),
  "bytes.out": ({ bytes }) => bytesText(bytes.out),
  "refused": ({ rejected }) => number.format(sumOf(rejected)),
  "memory": ({ memory }) => bytesText(memory),
};

function showNumbers(sample) {
  for (const element of document.querySelectorAll("[data-live]")) {
    const text = TILES[element.dataset.live]?.(sample);
    if (text !== undefined && element.textContent !== text) element.textContent = text;
  }
}

/* Charts */

/** How fast a count went up from one sample to the next; a data plane that was started anew counts from 0. */
function rates(count) {
  return samples.map((sample, i) => {
    const before = samples[i - 1];
    if (before === undefined) return null;
    return Math.max(0, count(sample) - count(before)) / Math.max(0.001, (sample.time - before.time) / 1000);
  });
}

function reasons() {
  const last = samples.at(-1)?.rejected ?? {};
  return Object.entries(last).sort(([, a], [, b]) => b - a).map(([reason]) => reason).slice(0, MAX_REASONS);
}

const CHARTS = {
  connections: () => [{ label: "open", values: samples.map(({ connections }) => connections.active) }],
  throughput: () => [
    { label: "in", values: rates(({ bytes }) => bytes.in) },
    { label: "out", values: rates(({ bytes }) => bytes.out) },
  ],
  requests: () => [{ label: "requests", values: rates(({ requests }) => requests) }],
  refusals: () => {
    const named = reasons();
    const rest = ({ rejected }) =>
      sumOf(rejected) - named.reduce((sum, one) => sum + (rejected[one] ?? 0), 0);
    return [
      ...named.map((reason) => ({ label: reason, values: rates(({ rejected }) => rejected[reason] ?? 0) })),
      ...(named.length === 0 || named.length === MAX_REASONS
        ? [{ label: "other", values: rates(rest) }]
        : []),
    ];
  },
};

const LIGHT = ["#1f5fcc", "#c2410c", "#1a7037", "#8b2fc9", "#a16207", "#0e7490", "#59636e"];
const DARK = ["#7fb0ff", "#ffa36b", "#7bd694", "#d3a4ff", "#f0cd5b", "#67d8ea", "#9aa5b1"];
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Where the axis of bytes may have its lines. */
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, i) => 2 ** i);

/** The time of day where the browser is. */
function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

class Chart {
  #element;
  #series;
  #format;
  #plot;
  #labels = "";

  constructor(element) {
    this.#element = element;
    this.#series = CHARTS[element.dataset.chart];
    this.#format = element.dataset.chart === "throughput" ? bytesText : (value) => number.format(value);
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(element);
  }

  draw() {
    const series = this.#series();
    const labels = series.map(({ label }) => label).join("\n");
    const data = [samples.map(({ time }) => time / 1000), ...series.map(({ values }) => values)];
    if (this.#plot !== undefined && labels === this.#labels) {
      this.#plot.setData(data);
      return;
    }
    this.#labels = labels;
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(series), data, this.#element);
  }

  /** With other colors. */
  redraw() {
    this.#labels = "";
    if (samples.length > 0) this.draw();
  }

  #size() {
    return { width: Math.max(this.#element.clientWidth, 100), height: 160 };
  }

  #options(series) {
    const style = getComputedStyle(document.documentElement);
    const axis = {
      stroke: style.getPropertyValue("--muted"),
      grid: { stroke: style.getPropertyValue("--line") },
    };
    const colors = dark.matches ? DARK : LIGHT;
    const value = (_, raw) => raw === null || raw === undefined ? "–" : this.#format(raw);
    return {
      ...this.#size(),
      scales: { y: { range: (_, min, max) => [Math.min(0, min ?? 0), Math.max(1, (max ?? 0) * 1.1)] } },
      axes: [
        { ...axis, space: 80, values: (_, ticks) => ticks.map((tick) => clock(tick)) },
        {
          ...axis,
          size: 70,
          ...(this.#format === bytesText && { incrs: POWERS_OF_TWO }),
          values: (_, ticks) => ticks.map((tick) => this.#format(tick)),
        },
      ],
      series: [
        { value: (_, seconds) => seconds === null || seconds === undefined ? "–" : clock(seconds) },
        ...series.map(({ label }, i) => ({
          label,
          value,
          stroke: colors[i % colors.length],
          width: 1.5,
          points: { show: false },
        })),
      ],
    };
  }
}

const charts = Array.from(document.querySelectorAll("[data-chart]"), (element) => new Chart(element));
dark.addEventListener("change", () => charts.forEach((chart) => chart.redraw()));

/* Tables */

/** Somebody who is about to press a button, or marks a text, must not have it change under the hand. */
function inUse(section) {
  const { activeElement } = document;
  const selection = getSelection();
  return (section.contains(activeElement) && activeElement !== document.body) ||
    (selection !== null && !selection.isCollapsed && section.contains(selection.anchorNode));
}

async function refresh() {
  refreshing = true;
  changed = false;
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const section of document.querySelectorAll("[data-refresh]")) {
      const next = fresh.getElementById(section.id);
      if (next !== null && !inUse(section)) section.replaceChildren(...document.adoptNode(next).childNodes);
    }
  } catch {
    // The gateway is away: the stream of events says so.
  } finally {
    refreshing = false;
    refreshedAt = performance.now();
  }
}

function refreshIfDue() {
  if (refreshing || document.querySelector("[data-refresh]") === null) return;
  if (performance.now() - refreshedAt >= (changed ? SOONEST_MS : LATEST_MS)) void refresh();
}

/* The stream */

function say(text) {
  if (live !== null && live.textContent !== text) live.textContent = text;
}

function take(sample) {
  const before = samples.at(-1);
  if (before !== undefined && before.time >= sample.time) return;
  samples.push(sample);
  if (samples.length > MAX_SAMPLES) samples.shift();
  changed ||= before !== undefined && before.tunnels !== sample.tunnels;
}

function listen() {
  source = new EventSource("/api/v1/events");
  source.addEventListener("open", () => say("live"));
  source.addEventListener("error", () => {
    say(
      source.readyState === EventSource.CLOSED
        ? "not live: reload the page"
        : "not live: the gateway is away",
    );
  });
  source.addEventListener("history", ({ data }) => JSON.parse(data).forEach(take));
  source.addEventListener("sample", ({ data }) => {
    const sample = JSON.parse(data);
    take(sample);
    showNumbers(sample);
    charts.forEach((chart) => chart.draw());
    refreshIfDue();
  });
  source.addEventListener("happened", () => changed = true);
}

/** A tab that nobody looks at costs the gateway nothing. */
function followVisibility() {
  source?.close();
  source = undefined;
  if (document.visibilityState === "visible") listen();
  else say("");
}

document.addEventListener("visibilitychange", followVisibility);
followVisibility();

/* Actions */

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question !== undefined && !confirm(question)) event.preventDefault();
});
