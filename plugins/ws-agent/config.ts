import { duration, namePattern, z } from "../../core/plugin/mod.ts";
import { parseAddress } from "../../core/net/address.ts";
import { type NodeTunnelConfig, nodeTunnelsConfig } from "./nodes/config.ts";

/** The plugin's section of the config, checked. Plain data; times in milliseconds. */
export interface WsAgentConfig {
  /** Http tunnels are `NAME.domain`; canonical. */
  readonly domain: string;
  /** Where agents connect: a canonical host name. */
  readonly endpoint: string;
  /** Starts with `/`. */
  readonly controlPath: string;
  /** The path of the token file as written; see `auth/token_file.ts`. */
  readonly tokens?: string | undefined;
  readonly jwt?: JwtConfig | undefined;
  readonly controller?: { readonly url: string; readonly timeoutMs: number } | undefined;
  readonly ports: { readonly first: number; readonly last: number };
  /** The address that tunnel ports are listened on. */
  readonly portsAddress: string;
  /** The port in the https addresses that agents are told; absent: the one that the agent itself connected to. */
  readonly publicPort?: number | undefined;
  readonly heartbeat: { readonly intervalMs: number; readonly timeoutMs: number };
  readonly reconnectGraceMs: number;
  readonly limits: TunnelLimits;
  /** Closes a tunnel without streams for so long; 0: never. */
  readonly idleTimeoutMs: number;
  /** Serves http tunnels over plain HTTP on listeners of `kind: http` too, instead of a redirect. @default false */
  readonly plainHttp: boolean;
  /** Lets agents connect without TLS (`ws://`) on listeners of `kind: http`. @default false */
  readonly plainEndpoint: boolean;
  /** What this gateway is called to those that its own tunnels lead to. */
  readonly node: string;
  /** Tunnels from here to other gateways. */
  readonly nodeTunnels: readonly NodeTunnelConfig[];
  /** Accesses to private services: the longest that one may last. */
  readonly access: { readonly maxTtlMs: number };
}

export type JwtConfig =
  & {
    /** The `iss` that a token must have. */
    readonly issuer?: string | undefined;
    /** The `aud` that a token must have if it has one. @default the domain */
    readonly audience?: string | undefined;
  }
  & ({ readonly secret: string } | { readonly jwks: string });

export interface TunnelLimits {
  readonly tunnels: number;
  readonly servicesPerTunnel: number;
  readonly streamsPerTunnel: number;
  readonly failedAuthPerMinute: number;
  /** Sources that talk to udp services, in each data plane: in all, to one port, and of one address (or /64 of IPv6). */
  readonly udpFlows: number;
  readonly udpFlowsPerPort: number;
  readonly udpFlowsPerSource: number;
}

/** RFC 7518 §3.2: a key for HS256 is at least as long as the hash. */
const MIN_SECRET_BYTES = 32;
/** More often, and heartbeats alone are a load; less often, and a dead agent holds its names for too long. */
const MIN_HEARTBEAT_MS = 100, MAX_HEARTBEAT_MS = 300_000;
/** For so long a name can be neither used nor taken by anybody else. */
const MAX_GRACE_MS = 300_000;
/** Shorter, and a tunnel that nobody asks for right now would come and go. */
const MIN_IDLE_MS = 1000;

/** Timers of the runtime end before 25 days. */
const MIN_ACCESS_MS = 1000, MAX_ACCESS_MS = 7 * 86_400_000;

const exactName = namePattern().refine(
  (name) => !name.includes("*"),
  'Expected a name such as "example.com", without a star',
);

const controlPath = z.string().max(255).regex(
  /^\/[\w\-.~/]*$/,
  'Expected a path such as "/tunnel/v1": a slash, then letters, digits, "-", ".", "_", "~" and slashes',
);

const secret = z.string().refine((text) => new TextEncoder().encode(text).length >= MIN_SECRET_BYTES, {
  error: `Expected at least ${MIN_SECRET_BYTES} bytes, as HS256 asks for (RFC 7518 §3.2)`,
});

const jwt = z.strictObject({
  issuer: z.string().min(1).optional(),
  audience: z.string().min(1).optional(),
  secret: secret.optional(),
  jwks: secureUrl().optional(),
}).transform(({ issuer, audience, secret, jwks }, context): JwtConfig => {
  if (secret !== undefined && jwks === undefined) return { issuer, audience, secret };
  if (jwks !== undefined && secret === undefined) return { issuer, audience, jwks };
  context.addIssue({ code: "custom", message: "Give either secret (HS256) or jwks (RS256, ES256)" });
  return z.NEVER;
});

const controller = z.strictObject({
  url: secureUrl(),
  timeout: duration({ min: 100, max: 30_000 }).prefault("2s"),
}).transform(({ url, timeout }) => ({ url, timeoutMs: timeout }));

const ports = z.union([z.int(), z.string()]).transform((given, context) => {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(given)) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (range.first >= 1 && range.first <= range.last && range.last <= 65_535) return range;
  const message = `Expected a range of ports from 1 to 65535 such as "30000-31000", got ${
    JSON.stringify(given)
  }`;
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});

const portsAddress = z.string().transform((text, context) => {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  context.addIssue({
    code: "custom",
    message: `Expected an IP address such as "0.0.0.0", got ${JSON.stringify(text)}`,
  });
  return z.NEVER;
});

const heartbeat = z.strictObject({
  interval: duration({ min: MIN_HEARTBEAT_MS, max: MAX_HEARTBEAT_MS }).prefault("15s"),
  timeout: duration({ min: MIN_HEARTBEAT_MS, max: 2 * MAX_HEARTBEAT_MS }).prefault("20s"),
}).superRefine(({ interval, timeout }, context) => {
  if (timeout > interval) return;
  const message = "Must be longer than interval: an agent that is well is heard once in an interval";
  context.addIssue({ code: "custom", path: ["timeout"], message });
}).transform(({ interval, timeout }) => ({ intervalMs: interval, timeoutMs: timeout }));

const limits = z.strictObject({
  tunnels: z.int().min(1).max(1_000_000).default(1000),
  servicesPerTunnel: z.int().min(1).max(10_000).default(50),
  streamsPerTunnel: z.int().min(1).max(100_000).default(1000),
  failedAuthPerMinute: z.int().min(0).max(100_000).default(10),
  udpFlows: z.int().min(1).max(1_000_000).default(10_000),
  udpFlowsPerPort: z.int().min(1).max(100_000).default(1000),
  udpFlowsPerSource: z.int().min(1).max(100_000).default(100),
});

const access = z.strictObject({
  maxTtl: duration({ min: MIN_ACCESS_MS, max: MAX_ACCESS_MS }).prefault("24h"),
}).transform(({ maxTtl }) => ({ maxTtlMs: maxTtl }));

const idleTimeout = duration().prefault(0).refine((ms) => ms === 0 || ms >= MIN_IDLE_MS, {
  error: "Expected 0, for never, or at least 1s",
});

/** Checks the section. `endpoint` is `tunnel.DOMAIN` unless it is given. */
export const wsAgentConfig: z.ZodType<WsAgentConfig> = z.strictObject({
  domain: exactName,
  endpoint: exactName.optional(),
  controlPath: controlPath.default("/tunnel/v1"),
  tokens: z.string().min(1).optional(),
  jwt: jwt.optional(),
  controller: controller.optional(),
  ports: ports.prefault("30000-31000"),
  portsAddress: portsAddress.prefault("0.0.0.0"),
  publicPort: z.int().min(1).max(65_535).optional(),
  heartbeat: heartbeat.prefault({}),
  reconnectGrace: duration({ max: MAX_GRACE_MS }).prefault("10s"),
  limits: limits.prefault({}),
  idleTimeout,
  plainHttp: z.boolean().default(false),
  plainEndpoint: z.boolean().default(false),
  node: z.string().regex(/^[\w.-]{1,100}$/, "Expected letters, digits, dots, hyphens and underscores")
    .optional(),
  nodeTunnels: nodeTunnelsConfig.prefault([]),
  access: access.prefault({}),
}).superRefine(({ domain, endpoint, tokens, jwt, controller }, context) => {
  if (endpoint === domain) {
    const message = 'Must not be the domain itself; "tunnel." before it is usual';
    context.addIssue({ code: "custom", path: ["endpoint"], message });
  }
  if (tokens === undefined && jwt === undefined && controller === undefined) {
    const message = "Give tokens, jwt or controller: without one of them no agent may connect";
    context.addIssue({ code: "custom", message });
  }
}).transform(({ endpoint, reconnectGrace, idleTimeout, node, ...rest }): WsAgentConfig => ({
  ...rest,
  node: node ?? rest.domain,
  endpoint: endpoint ?? `tunnel.${rest.domain}`,
  reconnectGraceMs: reconnectGrace,
  idleTimeoutMs: idleTimeout,
}));

/** Every file that the section names. */
export function filesOf({ tokens, nodeTunnels }: WsAgentConfig): string[] {
  const files = [tokens, ...nodeTunnels.map(({ caFile }) => caFile)].filter((file) => file !== undefined);
  return [...new Set(files)];
}

/** A URL whose answers nobody on the way can forge: https, or http to this machine itself. */
function secureUrl(): z.ZodType<string, string> {
  return z.string().transform((text, context) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname))) {
      return url.href;
    }
    const message = 'Expected a URL that begins with "https://"; "http://" only to this machine';
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d+){3}$/.test(hostname);
}
