import { duration, hostPort, namePattern, z } from "../../core/plugin/mod.ts";
import { formatHostPort, parseAddress, parseHostPort } from "../../core/net/address.ts";
import { isTrustDomain } from "./spiffe.ts";

/** The plugin's section of the config, checked. Plain data. */
export interface MtlsConfig {
  /** In canonical form; clients ask for `<connectID>.<domain>`. */
  readonly domain: string;
  /** The SPIFFE trust domain that identities must be of. */
  readonly issuer: string;
  /** Paths of PEM files; at least one. */
  readonly caCertificates: readonly string[];
  readonly crls: readonly string[];
  readonly database: DatabaseConfig;
  readonly defaultPort: number;
  /** 0: every connection is a query. */
  readonly cacheTtlMs: number;
  readonly recheckIntervalMs: number;
  /** Failures of one source within a minute before it is turned away; 0: no limit. */
  readonly failuresPerMinute: number;
  readonly proxyProtocol: "off" | "v1" | "v2";
  /** TLS towards the targets; absent: they get what is inside of the client's. */
  readonly targetTls?: TargetTls | undefined;
  /** What the plugin's worker may read and write: the embedded database's folder, or nothing. */
  readonly folders: readonly string[];
}

/** Whom to believe over TLS: `ca` is the path of a PEM file, without which the system's CAs are meant. */
export interface DatabaseTls {
  readonly ca?: string | undefined;
}

export interface TargetTls extends DatabaseTls {
  /** What the certificate must be for, whatever the target's address. */
  readonly serverName?: string | undefined;
}

export type DatabaseConfig = PostgresConfig | EmbeddedConfig;

export interface PostgresConfig {
  readonly kind: "postgres";
  /** `host:port`, the one address that the plugin's worker may connect to. */
  readonly addresses: readonly [string];
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Absent: `PGPASSWORD`, if that is set. */
  readonly password?: string | undefined;
  readonly name: string;
  readonly tls: "off" | DatabaseTls;
  readonly poolSize: number;
  /** For a query, and for a connection to be made. */
  readonly queryTimeoutMs: number;
}

/** PGlite in the plugin's own worker. */
export interface EmbeddedConfig {
  readonly kind: "embedded";
  /** None: it needs no network. */
  readonly addresses: readonly [];
  /** A file of SQL that fills the tables; run at every start. */
  readonly seed?: string | undefined;
}

/** Where PGlite keeps its files, seen from where the gateway runs. */
export const EMBEDDED_FOLDER = ".postern/mtls-postgres";
/** Shorter than a connection takes to be set up, and a busy database is a dead one. */
const MIN_QUERY_TIMEOUT_MS = 50;
/** Somebody who lost access must not stay for long because of a mistyped unit. */
const MAX_RECHECK_MS = 3_600_000, MAX_CACHE_MS = 300_000;
/** Shorter, and the rechecks alone are a load. */
const MIN_RECHECK_MS = 100;
const MAX_CA_FILES = 64;

const file = z.string().min(1);
const port = z.int().min(1).max(65_535);
const exactName = namePattern().refine(
  (name) => !name.includes("*"),
  'Expected a name such as "connect.example.com", without a star',
);
const databaseTls = z.strictObject({ ca: file.optional() });
const targetTls = databaseTls.extend({ serverName: exactName.optional() });

const trustDomain = z.string().refine(isTrustDomain, {
  error:
    'Expected a SPIFFE trust domain such as "example.com": lower-case letters, digits, dots, "-" and "_"',
});

const postgres = z.strictObject({
  host: z.string().min(1),
  port: port.default(5432),
  user: z.string().min(1),
  password: z.string().min(1).optional(),
  name: z.string().min(1),
  tls: z.union([z.literal("off"), databaseTls]).optional(),
  poolSize: z.int().min(1).max(100).default(10),
  queryTimeout: duration({ min: MIN_QUERY_TIMEOUT_MS, max: 30_000 }).prefault("2s"),
}).superRefine(checkHost).transform(
  ({ host, port, tls = "off", queryTimeout, ...rest }): PostgresConfig => {
    const address = hostOf(host, port) ?? { host, port };
    return {
      kind: "postgres",
      addresses: [formatHostPort(address)],
      ...address,
      ...rest,
      tls,
      queryTimeoutMs: queryTimeout,
    };
  },
);

const embedded = z.literal("embedded").transform((): EmbeddedConfig => ({ kind: "embedded", addresses: [] }));

/** Checks the section, and derives what the declared permissions are filled in from. */
export const mtlsConfig: z.ZodType<MtlsConfig> = z.strictObject({
  domain: exactName,
  issuer: trustDomain,
  caCertificates: z.array(file).min(1).max(MAX_CA_FILES),
  crls: z.array(file).max(MAX_CA_FILES).default([]),
  database: z.union([embedded, postgres]),
  seed: file.optional(),
  defaultPort: port.default(22),
  cacheTtl: duration({ max: MAX_CACHE_MS }).prefault("5s"),
  recheckInterval: duration({ min: MIN_RECHECK_MS, max: MAX_RECHECK_MS }).prefault("30s"),
  failuresPerMinute: z.int().min(0).max(100_000).default(30),
  proxyProtocol: z.enum(["off", "v1", "v2"]).default("off"),
  targetTls: targetTls.optional(),
}).superRefine(({ seed, database }, context) => {
  if (seed === undefined || database.kind === "embedded") return;
  const message = 'Only the embedded database is seeded; of another, run the file with "psql -f"';
  context.addIssue({ code: "custom", path: ["seed"], message });
}).transform(({ cacheTtl, recheckInterval, seed, database, ...rest }): MtlsConfig => ({
  ...rest,
  database: database.kind === "embedded" ? { ...database, seed } : database,
  cacheTtlMs: cacheTtl,
  recheckIntervalMs: recheckInterval,
  folders: database.kind === "embedded" ? [EMBEDDED_FOLDER] : [],
}));

/** Every file that the section names, each once. */
export function filesOf({ caCertificates, crls, database, targetTls }: MtlsConfig): string[] {
  const tls = [targetTls, database.kind === "postgres" && database.tls !== "off" ? database.tls : undefined];
  const cas = tls.flatMap((one) => one?.ca ?? []);
  const seed = database.kind === "embedded" ? database.seed ?? [] : [];
  return [...new Set([...caCertificates, ...crls, ...cas].concat(seed))];
}

/** An answer over a network that anybody can forge decides nothing, unless somebody has said that this is fine. */
function checkHost(
  { host, port, tls }: { host: string; port: number; tls?: unknown },
  context: z.core.$RefinementCtx,
): void {
  const report = (path: string, message: string) =>
    context.addIssue({ code: "custom", path: [path], message });
  const address = hostOf(host, port);
  if (address === undefined) {
    report("host", 'Expected a host such as "10.0.0.5", "::1" or "db.internal", without a port');
  } else if (tls === undefined && !isLoopback(address.host)) {
    report("tls", 'The database is on another machine: write "tls: { ca: ca.pem }", or "tls: off"');
  }
}

function hostOf(host: string, port: number): { host: string; port: number } | undefined {
  const written = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const address = hostPort().safeParse(`${written}:${port}`);
  return address.success ? parseHostPort(address.data) : undefined;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || parseAddress(host) === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
