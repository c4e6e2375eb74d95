import { duration, hostPort, namePattern, type Protocol, z } from "../../core/plugin/mod.ts";
import type { HealthCheckConfig } from "./health_check.ts";
import { type Balance, BALANCES } from "./target_group.ts";

/** The plugin's section of the config, checked. Plain data. */
export interface StaticConfig {
  readonly routes: readonly RouteConfig[];
}

export interface RouteConfig {
  /** Patterns in canonical form, for `parseNamePattern`. At least one of `sni` and `protocol` is there. */
  readonly sni?: readonly string[] | undefined;
  readonly protocol?: Protocol | undefined;
  readonly terminate: boolean;
  readonly alpn?: readonly string[] | undefined;
  /** `host:port` in canonical form, each once; at least one. */
  readonly to: readonly string[];
  readonly proxyProtocol: "off" | "v1" | "v2" | "pass";
  readonly balance: Balance;
  readonly healthCheck?: HealthCheckConfig | undefined;
}

/** Each order of the targets of a route is kept once it was needed, so memory grows with the square of this. */
const MAX_TARGETS = 256;
/** Shorter and the checks alone are a load. */
const MIN_INTERVAL_MS = 100;
const MIN_TIMEOUT_MS = 10;
const PROTOCOLS = ["tls", "postgres", "http", "ssh", "other"] as const satisfies readonly Protocol[];
const WITH_SERVER_NAME: ReadonlySet<Protocol | undefined> = new Set(["tls", "postgres", undefined] as const);

const healthCheck = z.strictObject({
  interval: duration({ min: MIN_INTERVAL_MS }).prefault("5s"),
  timeout: duration({ min: MIN_TIMEOUT_MS }).prefault("2s"),
  unhealthyAfter: z.int().min(1).max(100).default(2),
  healthyAfter: z.int().min(1).max(100).default(2),
}).transform(({ interval, timeout, unhealthyAfter, healthyAfter }): HealthCheckConfig => ({
  intervalMs: interval,
  timeoutMs: timeout,
  unhealthyAfter,
  healthyAfter,
}));

const route = z.strictObject({
  sni: oneOrMore(namePattern(), "Give at least one name, or leave sni out").optional(),
  protocol: z.enum(PROTOCOLS).optional(),
  terminate: z.boolean().default(false),
  // RFC 7301 §3.1: a protocol name has 1 to 255 bytes.
  alpn: z.array(z.string().regex(/^[\x21-\x7e]{1,255}$/, 'Expected an ALPN protocol such as "http/1.1"'))
    .optional(),
  to: oneOrMore(hostPort(), "Give at least one target").refine(
    (to) => to.length <= MAX_TARGETS,
    `Give at most ${MAX_TARGETS} targets`,
  ),
  proxyProtocol: z.enum(["off", "v1", "v2", "pass"]).default("off"),
  balance: z.enum(BALANCES).default("round-robin"),
  healthCheck: healthCheck.optional(),
}).superRefine(checkRoute);

/** Checks the section; `static:` with nothing behind it is a plugin without routes. */
export const staticConfig: z.ZodType<StaticConfig> = z.preprocess(
  (section) => section ?? {},
  z.strictObject({ routes: z.array(route).default([]).superRefine(checkRoutes) }),
);

function oneOrMore<T>(one: z.ZodType<T>, empty: string): z.ZodType<T[]> {
  return z.union([one.transform((value) => [value]), z.array(one)]).refine((list) => list.length > 0, empty);
}

type Report = (path: (string | number)[], message: string) => void;

function reporter(context: z.core.$RefinementCtx): Report {
  return (path, message) => context.addIssue({ code: "custom", path, message });
}

/** What the keys of one route rule out among each other. */
function checkRoute(route: RouteConfig, context: z.core.$RefinementCtx): void {
  const report = reporter(context);
  const { sni, protocol, terminate, alpn, to } = route;
  if (sni === undefined && protocol === undefined) {
    report([], "A route needs sni, protocol or both; a catch-all for TLS is written protocol: tls");
  }
  if (sni !== undefined && !WITH_SERVER_NAME.has(protocol)) {
    report(["sni"], `Clients of protocol ${protocol} send no server name; leave out sni or protocol`);
  }
  if (terminate && !WITH_SERVER_NAME.has(protocol)) {
    report(["terminate"], `There is no TLS to terminate with protocol ${protocol}`);
  } else if (terminate && sni === undefined) {
    report(["terminate"], "A route that terminates TLS needs sni: the certificate is chosen by name");
  }
  if (alpn !== undefined && !terminate) {
    report(["alpn"], "Without terminate, client and target agree on ALPN themselves; leave it out");
  } else if (alpn?.length === 0) {
    report(["alpn"], "Give at least one ALPN protocol, or leave alpn out");
  }
  for (const [i, target] of to.entries()) {
    if (to.indexOf(target) < i) report(["to", i], `The target "${target}" is given twice`);
  }
}

/** What routes rule out among each other. */
function checkRoutes(routes: readonly RouteConfig[], context: z.core.$RefinementCtx): void {
  const report = reporter(context);
  const taken = new Map<string, number>();
  const checked = new Map<string, { readonly by: number; readonly text: string }>();
  for (const [i, { sni, protocol, to, healthCheck }] of routes.entries()) {
    for (const name of sni ?? [undefined]) {
      const key = `${name ?? ""} ${protocol ?? ""}`;
      const by = taken.get(key);
      if (by === undefined) taken.set(key, i);
      else report([i, name === undefined ? "protocol" : "sni"], takenBy(name, protocol, by, i));
    }
    if (healthCheck === undefined) continue;
    const text = JSON.stringify(healthCheck);
    for (const target of to) {
      const other = checked.get(target);
      if (other === undefined) checked.set(target, { by: i, text });
      else if (other.text !== text) {
        report([i, "healthCheck"], `routes[${other.by}] checks the same target "${target}" in another way`);
      }
    }
  }
}

function takenBy(
  name: string | undefined,
  protocol: Protocol | undefined,
  by: number,
  route: number,
): string {
  const what = name === undefined ? `Protocol ${protocol}` : `The name "${name}"`;
  const also = name !== undefined && protocol !== undefined ? ` with protocol ${protocol}` : "";
  return by === route ? `${what} is given twice` : `${what}${also} is taken by routes[${by}] already`;
}
