import type { MetricSample, PluginStatus, RouteInfo } from "./reports.ts";
import type { PluginReport } from "./running.ts";

/** Levels of a status's details; people look at them. */
const MAX_DEPTH = 16;

type Fields = Readonly<Record<string, unknown>>;

/**
 * What of a plugin's report is as its types say: the rest would break what is made of all reports together.
 *
 * Nothing but plain data comes out, which crosses to other workers and can be written as JSON.
 */
export function soundReport(report: unknown): PluginReport {
  const { status, routes, metrics } = isObject(report) ? report : {};
  return {
    status: soundStatus(status),
    routes: Array.isArray(routes) ? routes.flatMap((route) => soundRoute(route) ?? []) : [],
    metrics: Array.isArray(metrics) ? metrics.flatMap((sample) => soundSample(sample) ?? []) : [],
  };
}

function soundStatus(status: unknown): PluginStatus {
  if (!isObject(status) || typeof status["ready"] !== "boolean") {
    return { ready: false, reason: "Its status cannot be shown" };
  }
  const { ready, reason } = status;
  const details = plainDetails(status["details"]);
  return { ready, ...(typeof reason === "string" && { reason }), ...(details && { details }) };
}

function plainDetails(details: unknown): Fields | undefined {
  try {
    const plain: unknown = JSON.parse(JSON.stringify(details) ?? "null");
    return isObject(plain) && isShallow(plain, MAX_DEPTH) ? plain : undefined;
  } catch {
    return undefined; // a BigInt, or an object that is in itself
  }
}

/** Whoever writes it again has less of a stack, perhaps. */
function isShallow(value: unknown, depth: number): boolean {
  return !isObject(value) || (depth > 0 && Object.values(value).every((one) => isShallow(one, depth - 1)));
}

function soundRoute(route: unknown): RouteInfo | undefined {
  if (!isObject(route)) return undefined;
  const { match, action, targets } = route;
  if (typeof match !== "string" || typeof action !== "string") return undefined;
  return { match, action, ...(Array.isArray(targets) && { targets: targets.flatMap(soundTarget) }) };
}

function soundTarget(row: unknown): NonNullable<RouteInfo["targets"]> {
  const { target, healthy, connections } = isObject(row) ? row : {};
  const isSound = typeof target === "string" && typeof healthy === "boolean" && isNumber(connections);
  return isSound ? [{ target, healthy, connections }] : [];
}

function soundSample(sample: unknown): MetricSample | undefined {
  if (!isObject(sample)) return undefined;
  const { name, type, value, merge, sum, count } = sample;
  const labels = soundLabels(sample["labels"]);
  if (typeof name !== "string" || labels === undefined) return undefined;
  const identity = { name, help: typeof sample["help"] === "string" ? sample["help"] : "", labels };
  if (type === "histogram") {
    const buckets = soundBuckets(sample["buckets"]);
    return buckets && isNumber(sum) && isNumber(count)
      ? { ...identity, type, buckets, sum, count }
      : undefined;
  }
  if ((type !== "counter" && type !== "gauge") || !isNumber(value)) return undefined;
  return { ...identity, type, value, ...((merge === "min" || merge === "max") && { merge }) };
}

function soundLabels(labels: unknown): Readonly<Record<string, string>> | undefined {
  if (!isObject(labels)) return undefined;
  const entries = Object.entries(labels);
  const isSound = entries.every(([, value]) => typeof value === "string" || isNumber(value));
  return isSound ? Object.fromEntries(entries.map(([name, value]) => [name, String(value)])) : undefined;
}

function soundBuckets(buckets: unknown): { readonly le: number; readonly count: number }[] | undefined {
  if (!Array.isArray(buckets)) return undefined;
  const sound = buckets.flatMap((bucket: unknown) => {
    const { le, count } = isObject(bucket) ? bucket : {};
    return isNumber(le) && isNumber(count) ? [{ le, count }] : [];
  });
  return sound.length === buckets.length ? sound : undefined;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}
