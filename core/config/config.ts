import type { LogLevel } from "../log.ts";

/** The whole config, checked, with every default filled in. Times are in milliseconds, sizes in bytes. */
export interface GatewayConfig {
  readonly listeners: readonly ListenerConfig[];
  readonly limits: LimitsConfig;
  readonly tls: TlsConfig;
  readonly admin: AdminConfig;
  readonly log: LogConfig;
  /** In the order of the config, which is the order in which they are asked. */
  readonly plugins: readonly PluginConfig[];
}

export interface ListenerConfig {
  /** As written in the config, in canonical form: `0.0.0.0:443`, `[::]:443`, `127.0.0.1:0`. */
  readonly address: string;
  readonly hostname: string;
  readonly port: number;
  /** `stream` peeks and routes; `http` takes plain HTTP and sends it on to https. */
  readonly kind: "stream" | "http";
  /** CIDR ranges whose PROXY header is believed; empty: a PROXY header is refused. */
  readonly proxyFrom: readonly string[];
}

export interface LimitsConfig {
  readonly maxConnections: number;
  /** 0: no limit. */
  readonly maxConnectionsPerSource: number;
  /** New connections a second from one source. 0: no limit. */
  readonly maxAcceptRatePerSource: number;
  readonly maxPrefaceBytes: number;
  readonly prefaceTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** 0: never. */
  readonly idleTimeoutMs: number;
  readonly drainTimeoutMs: number;
}

export interface TlsConfig {
  /** Paths, absolute or relative to the working directory. */
  readonly certificates: readonly { readonly cert: string; readonly key: string }[];
  /** Absent: no certificate is asked for. */
  readonly acme?: AcmeConfig;
}

/** Which certificates are asked for, of whom, and how (RFC 8555). */
export interface AcmeConfig {
  readonly email?: string;
  /** URL of the directory, by https. */
  readonly directory: string;
  /** Path of a CA, PEM, that the directory's own certificate may lead to. */
  readonly ca?: string;
  /** Folder, absolute or relative to the working directory. */
  readonly cache: string;
  readonly challenges: readonly AcmeChallenge[];
  readonly dns01?: { readonly webhook: string; readonly propagationMs: number };
}

export type AcmeChallenge = "http-01" | "dns-01";

export interface AdminConfig {
  readonly address: string;
  readonly hostname: string;
  readonly port: number;
  readonly token?: string;
  /** Names beside its address under which the admin side is asked, as in a `Host` header. */
  readonly hosts: readonly string[];
}

export interface LogConfig {
  readonly level: LogLevel;
  readonly format: "pretty" | "json";
}

/** How a plugin's code is found and confined; from `plugins` of deno.json or `declarations` of the config file. */
export interface PluginDeclaration {
  /** An absolute `file:` URL. */
  readonly module: string;
  readonly isolation: "inline" | "worker";
  readonly permissions: DeclaredPermissions;
}

/** Deno's permission lists, or `true` for all of one kind. `{a.b}` is filled in from the plugin's own config. */
export type DeclaredPermissions = Readonly<
  Partial<
    Record<"net" | "read" | "write" | "env" | "run" | "sys" | "ffi" | "import", readonly string[] | boolean>
  >
>;

export interface PluginConfig {
  readonly name: string;
  readonly declaration: PluginDeclaration;
  /** The plugin's own section, as written (`${NAME}` filled in); the plugin checks it. */
  readonly section: unknown;
}
