import { join, resolve } from "node:path";
import { z } from "zod";
import { LOG_LEVELS } from "../log.ts";
import { formatHostPort, isLoopback, parseHostPort } from "../net/address.ts";
import { acmeFaults, acmeSchema, toAcme } from "./acme.ts";
import type { AdminConfig, GatewayConfig, LimitsConfig, ListenerConfig, TlsConfig } from "./config.ts";
import { declarationsSchema } from "./declarations.ts";
import { cidr, duration, hostPort, size } from "./fields.ts";
import { type Checked, checkValue } from "./issues.ts";
import { type SchemaKey, schemaKeys } from "./schema_walk.ts";

/**
 * Checks a whole config file's value. Sections of plugins are opaque here: each plugin checks its own.
 *
 * @param base The config file's URL: modules in `declarations` are relative to it.
 */
export function checkConfig(value: unknown, base: URL): Checked<CheckedConfig> {
  return checkValue(configSchema(base), value);
}

/** Every key that a config file can have, for the reference in docs. */
export function configKeys(): SchemaKey[] {
  return schemaKeys(configSchema(new URL("file:///")));
}

/** The config file, key by key, with every default; `docs/configuration.md` says the same in prose. */
function configSchema(base: URL) {
  return z.strictObject({
    listeners: z.array(listenerSchema).superRefine(refuseDuplicates).prefault([]),
    limits: limitsSchema.prefault({}),
    tls: tlsSchema.prefault({}),
    admin: adminSchema.prefault({}),
    log: logSchema.prefault({}),
    plugins: z.record(z.string(), z.unknown()).prefault({}),
    declarations: declarationsSchema(base).prefault({}),
  }).superRefine(({ listeners, admin, tls }, context) => {
    for (const { path, message } of acmeFaults(tls.acme, listeners)) {
      context.addIssue({ code: "custom", path: ["tls", "acme", ...path], message });
    }
    const taken = listeners.findIndex(({ address }) => sameSocket(address, admin.address));
    if (taken >= 0) {
      const message = `Listens on the same address as listeners[${taken}]`;
      context.addIssue({ code: "custom", path: ["admin", "address"], message });
    }
  });
}

export type CheckedConfig = z.output<ReturnType<typeof configSchema>>;

const listenerSchema = z.strictObject({
  address: hostPort({ minPort: 0 }),
  kind: z.enum(["stream", "http"]).default("stream"),
  proxyProtocol: z.strictObject({ from: z.array(cidr()).min(1) }).optional(),
});

/** One millisecond: what has to end can't wait for ever, so 0 is no "never" here. */
const SOME_TIME = { min: 1 };

const limitsSchema = z.strictObject({
  maxConnections: z.int().min(1).prefault(10_000),
  maxConnectionsPerSource: z.int().min(0).prefault(0),
  maxAcceptRatePerSource: z.int().min(0).prefault(0),
  // From the smallest useful ClientHello to a bound on what a stranger can make the gateway keep.
  maxPrefaceBytes: size({ min: 512, max: 2 ** 20 }).prefault("64KiB"),
  prefaceTimeout: duration(SOME_TIME).prefault("10s"),
  connectTimeout: duration(SOME_TIME).prefault("5s"),
  idleTimeout: duration().prefault("1h"),
  drainTimeout: duration().prefault("30s"),
});

const file = z.string().min(1);
const tlsSchema = z.strictObject({
  certificates: z.array(z.strictObject({ cert: file, key: file })).prefault([]),
  acme: acmeSchema.optional(),
});

/** RFC 6750 §2.1 has less; every visible character passes through an Authorization header. */
const token = z.string().regex(/^[\x21-\x7e]+$/, {
  error: "Expected text of visible ASCII characters, without spaces",
});
const adminSchema = z.strictObject({
  address: hostPort({ minPort: 0 }).prefault("127.0.0.1:9090"),
  token: token.optional(),
  hosts: z.array(
    z.string().regex(/^[a-z0-9.\-[\]:]+$/i, {
      error: 'Expected a host name, with a port if clients write one, such as "admin.example.com:8443"',
    }),
  ).default([]),
}).superRefine((admin, context) => {
  if (admin.token === undefined && !isLoopback(parseHostPort(admin.address).host)) {
    const message = `An admin address that is not loopback (${admin.address}) needs "admin.token"`;
    context.addIssue({ code: "custom", path: ["address"], message });
  }
});

const logSchema = z.strictObject({
  level: z.enum(LOG_LEVELS).default("info"),
  format: z.enum(["pretty", "json"]).default("json"),
});

function refuseDuplicates(
  listeners: readonly { readonly address: string }[],
  context: z.RefinementCtx,
): void {
  for (const [i, { address }] of listeners.entries()) {
    const first = listeners.findIndex((other) => sameSocket(other.address, address));
    if (first >= 0 && first < i) {
      const message = `Listens on the same address as listeners[${first}]`;
      context.addIssue({ code: "custom", path: [i, "address"], message });
    }
  }
}

/** Both in canonical form. Port 0 gives each its own port. */
function sameSocket(a: string, b: string): boolean {
  return a === b && parseHostPort(a).port !== 0;
}

/** What the rest of the gateway works with, apart from its plugins. @param folder That of the config file. */
export function toGatewayConfig(checked: CheckedConfig, folder: string): Omit<GatewayConfig, "plugins"> {
  return {
    listeners: checked.listeners.map(toListener),
    limits: toLimits(checked.limits),
    tls: toTls(checked.tls, folder),
    admin: toAdmin(checked.admin),
    log: checked.log,
  };
}

function toListener({ address, kind, proxyProtocol }: CheckedConfig["listeners"][number]): ListenerConfig {
  const { host, port } = parseHostPort(address);
  return {
    address: formatHostPort({ host, port }),
    hostname: host,
    port,
    kind,
    proxyFrom: proxyProtocol?.from ?? [],
  };
}

function toLimits(limits: CheckedConfig["limits"]): LimitsConfig {
  const { prefaceTimeout, connectTimeout, idleTimeout, drainTimeout, ...counts } = limits;
  return {
    ...counts,
    prefaceTimeoutMs: prefaceTimeout,
    connectTimeoutMs: connectTimeout,
    idleTimeoutMs: idleTimeout,
    drainTimeoutMs: drainTimeout,
  };
}

function toTls({ certificates, acme }: CheckedConfig["tls"], folder: string): TlsConfig {
  const from = (path: string) => resolve("/", path) === path ? path : join(folder, path);
  return {
    certificates: certificates.map(({ cert, key }) => ({ cert: from(cert), key: from(key) })),
    ...(acme && { acme: toAcme(acme, from) }),
  };
}

function toAdmin({ address, token, hosts }: CheckedConfig["admin"]): AdminConfig {
  const { host, port } = parseHostPort(address);
  return { address, hostname: host, port, hosts, ...(token !== undefined && { token }) };
}
