import { dirname, resolve } from "node:path";
import type { EnvLookup } from "../../../core/config/env.ts";
import { type Checked, checkValue, type ConfigIssue } from "../../../core/config/issues.ts";
import type { ConfigPath } from "../../../core/config/path.ts";
import { type ConfigProblem, problemAt, sortProblems } from "../../../core/config/problem.ts";
import { type SchemaKey, schemaKeys } from "../../../core/config/schema_walk.ts";
import { type ConfigNode, locate, type MapNode, plainValue } from "../../../core/config/tree.ts";
import { readYaml } from "../../../core/config/yaml.ts";
import { canonicalName, duration, GatewayError, z } from "../../../core/plugin/mod.ts";
import { BALANCES } from "../control/messages.ts";
import { isServiceName } from "../names.ts";
import { parsed } from "../parsed.ts";
import { parseGateway } from "./gateway_address.ts";
import { parseProxy, type ProxyAddress } from "./proxy/proxy_address.ts";
import { type AgentService, type AgentSettings, type Credentials, MAX_CONNECTIONS } from "./settings.ts";
import { parseTarget, type Target } from "./target.ts";

/** What `agent.yaml` says. */
export interface AgentFile {
  /** All but what the file does not hold: the CA's text, and who this is when it has no name. */
  readonly settings: Omit<AgentSettings, "name" | "tls" | "proxy"> & { readonly name?: string };
  /** Absent: what the environment says. */
  readonly proxy?: ProxyAddress | "none";
  readonly tls: { readonly insecure: boolean; /** Absolute. */ readonly caFile?: string };
}

export type AgentFileResult =
  | { readonly ok: true; readonly value: AgentFile }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Every key that an agent's config can have, for the reference in docs. */
export function agentKeys(): SchemaKey[] {
  return schemaKeys(schema);
}

/**
 * Checks an agent's config. Never throws: everything wrong comes back together, with its place.
 *
 * @param source.file As the user named it; `tls.ca` is relative to its folder.
 */
export function parseAgentFile(
  source: { readonly text: string; readonly file: string },
  env: EnvLookup,
): AgentFileResult {
  const read = readYaml({
    text: source.text,
    env,
    locationOf(offset, lines) {
      const { line, col } = lines.linePos(offset);
      return { file: source.file, line: Math.max(1, line), column: Math.max(1, col) };
    },
  });
  if (!read.readable) return { ok: false, problems: read.problems };
  const root = rootOf(read.root, source.file);
  if (root.kind !== "map") {
    return { ok: false, problems: [problemAt(root.at, [], 'Expected keys such as "gateway:" at the top')] };
  }
  const checked = checkValue(schema, plainValue(root));
  const issues = checked.ok
    ? []
    : checked.issues.filter(({ path }) => !read.spoiled.some((one) => isWithin(path, one)));
  const problems = [...read.problems, ...issues.map((issue) => toProblem(root, issue))];
  if (!checked.ok || problems.length > 0) return { ok: false, problems: sortProblems(problems) };
  return { ok: true, value: toAgentFile(checked.value, dirname(source.file)) };
}

function rootOf(root: ConfigNode | undefined, file: string): ConfigNode {
  const isEmpty = root === undefined || (root.kind === "scalar" && root.value === null);
  return isEmpty ? { kind: "map", at: { file, line: 1, column: 1 }, entries: new Map() } : root;
}

function isWithin(path: ConfigPath, outer: ConfigPath): boolean {
  return outer.every((segment, i) => String(segment) === String(path[i]));
}

function toProblem(root: MapNode, { path, message, unknownKey }: ConfigIssue): ConfigProblem {
  return problemAt(locate(root, path, unknownKey ? "key" : "value"), path, message);
}

const PORT = z.int().min(0).max(65_535);

const serviceSchema = z.strictObject({
  name: z.string().refine(isServiceName, {
    error: "A service's name has 1 to 63 letters, digits, dots, hyphens and underscores",
  }),
  protocol: z.enum(["http", "tcp", "tls", "udp"]),
  target: parsed(
    z.union([z.string(), z.int()]),
    (value) => ({ value, target: parseTarget(value, { urls: true }) }),
  ),
  hostname: parsed(z.string(), toHostname).exactOptional(),
  remotePort: PORT.exactOptional(),
  private: z.boolean().exactOptional(),
  share: z.boolean().exactOptional(),
  balance: z.enum(BALANCES).exactOptional(),
  proxyProtocol: z.enum(["off", "v1", "v2", "simple"]).prefault("off"),
}).superRefine(({ protocol, target, hostname, remotePort, proxyProtocol, share, balance }, context) => {
  const wrong = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  const isNamed = protocol === "http" || protocol === "tls";
  if (hostname !== undefined && !isNamed) {
    wrong("hostname", `Only http and tls have host names, and this is ${protocol}`);
  }
  if (remotePort !== undefined && isNamed) {
    wrong("remotePort", `Only tcp and udp have ports of their own, and this is ${protocol}`);
  }
  if (share && !isNamed && !remotePort) {
    wrong(
      "remotePort",
      "Required with share: agents that serve a port together have to ask for the same one",
    );
  }
  if (balance !== undefined && !share) wrong("balance", "Only for a service with share: true");
  if (proxyProtocol === "v1" && protocol === "udp") wrong("proxyProtocol", "For udp it is v2 or simple");
  if (proxyProtocol === "simple" && protocol !== "udp") {
    wrong("proxyProtocol", `Only for udp, and this is ${protocol}`);
  }
  if (protocol !== "http" && String(target.value).includes("://")) {
    wrong("target", "Only http services have URLs as targets");
  }
});

const schema = z.strictObject({
  gateway: parsed(z.string(), parseGateway),
  name: z.string().min(1).max(200).exactOptional(),
  token: z.string().min(1).exactOptional(),
  jwt: z.strictObject({
    secret: z.string().min(1),
    issuer: z.string().min(1).exactOptional(),
    // A minute at least: what is over before the connection stands is of no use.
    expiresIn: duration({ min: 60_000 }).prefault("1h"),
  }).exactOptional(),
  tls: z.strictObject({
    ca: z.string().min(1).exactOptional(),
    insecure: z.boolean().prefault(false),
  }).prefault({}),
  proxy: parsed(z.string(), (text) => text === "none" ? text : parseProxy(text)).exactOptional(),
  connections: z.int().min(1).max(MAX_CONNECTIONS).prefault(2),
  reconnect: z.strictObject({
    min: duration({ min: 1 }).prefault("500ms"),
    max: duration({ min: 1 }).prefault("60s"),
  }).prefault({}).superRefine(({ min, max }, context) => {
    if (min > max) context.addIssue({ code: "custom", path: ["max"], message: "Less than reconnect.min" });
  }),
  services: z.array(serviceSchema).min(1).superRefine(refuseDuplicates),
}).superRefine(({ token, jwt }, context) => {
  const wrong = (key: string, message: string) => context.addIssue({ code: "custom", path: [key], message });
  if (token === undefined && jwt === undefined) wrong("token", "Required: a token, or jwt in its place");
  if (token !== undefined && jwt !== undefined) wrong("jwt", "Either a token or jwt, not both");
});

function refuseDuplicates(services: readonly { readonly name: string }[], context: z.RefinementCtx): void {
  for (const [i, { name }] of services.entries()) {
    if (!services.slice(0, i).some((before) => before.name === name)) continue;
    context.addIssue({
      code: "custom",
      path: [i, "name"],
      message: `Another service is called "${name}", too`,
    });
  }
}

function toHostname(text: string): string {
  const name = canonicalName(text);
  if (name !== undefined && name.includes(".")) return name;
  throw new GatewayError(
    "config-invalid",
    `${JSON.stringify(text)} is no full host name, as "app.example.com" is`,
  );
}

type Config = z.output<typeof schema>;

/** Checks the keys of a config that are there as values, by the same rules; `tls.ca` must not be among them. */
export function checkAgentKeys(
  value: unknown,
): Checked<Omit<AgentFile, "tls"> & Pick<AgentFile["tls"], "insecure">> {
  const checked = checkValue(schema, value);
  if (!checked.ok) return checked;
  const { proxy, tls: { insecure } } = checked.value;
  return {
    ok: true,
    value: { settings: toAgentSettings(checked.value), insecure, ...(proxy !== undefined && { proxy }) },
  };
}

function toAgentSettings(
  { gateway, name, token, jwt, connections, reconnect, services }: Config,
): AgentFile["settings"] {
  return {
    gateway,
    credentials: toCredentials(token, jwt),
    connections,
    reconnect: { minMs: reconnect.min, maxMs: reconnect.max },
    services: services.map(toService),
    ...(name !== undefined && { name }),
  };
}

function toAgentFile(checked: Config, folder: string): AgentFile {
  const { tls, proxy } = checked;
  return {
    settings: toAgentSettings(checked),
    ...(proxy !== undefined && { proxy }),
    tls: { insecure: tls.insecure, ...(tls.ca !== undefined && { caFile: resolve(folder, tls.ca) }) },
  };
}

function toCredentials(token: string | undefined, jwt: Config["jwt"]): Credentials {
  if (jwt === undefined) return { token: token ?? "" };
  const { secret, issuer, expiresIn } = jwt;
  return { jwt: { secret, expiresInMs: expiresIn, ...(issuer !== undefined && { issuer }) } };
}

function toService({ target, ...service }: Config["services"][number]): AgentService {
  const place: Target = target.target;
  return { ...service, target: place };
}
