import { formatSize } from "../core/config/units.ts";
import { type Allowance, formatPorts } from "../plugins/ws-agent/auth/allowance.ts";
import { endOf, type TokenEntry } from "../plugins/ws-agent/auth/token_file.ts";
import type { TokenLimits } from "../plugins/ws-agent/auth/token_limits.ts";
import { table } from "./render_status.ts";

/**
 * The tokens of a file as a table.
 *
 * @param now Milliseconds since 1970.
 */
export function renderTokens(entries: readonly TokenEntry[], now: number): string {
  const rows = entries.map((entry) => [
    entry.id,
    entry.name ?? "",
    endOf(entry, now) ?? "good",
    dayOf(entry.created),
    entry.expires === undefined ? "never" : dayOf(entry.expires),
    describeAllowance(entry.allow),
    describeLimits(entry.limits),
  ]);
  return table(["ID", "NAME", "STATE", "CREATED", "EXPIRES", "MAY REGISTER", "LIMITS"], rows).join("\n") +
    "\n";
}

/** The same for programs; times as `toISOString` writes them. What of a token is kept to check it is not told. */
export function tokensAsJson(entries: readonly TokenEntry[], now: number): string {
  const told = entries.map((entry) => ({
    id: entry.id,
    name: entry.name,
    state: endOf(entry, now) ?? "good",
    created: timeOf(entry.created),
    expires: timeOf(entry.expires),
    revoked: typeof entry.revoked === "number" ? timeOf(entry.revoked) : entry.revoked,
    allow: entry.allow && {
      ...entry.allow,
      hostnames: entry.allow.hostnames.map(({ text }) => text),
      ports: entry.allow.ports?.map(formatPorts),
    },
    limits: entry.limits,
  }));
  return JSON.stringify(told, null, 2) + "\n";
}

function describeAllowance(allow: Allowance | undefined): string {
  if (allow === undefined) return "any name of the domain, any port";
  const { subdomains = [], hostnames, ports = [], protocols, access = [], share } = allow;
  const kinds = [
    ["names", [...subdomains, ...hostnames.map(({ text }) => text)]],
    ["ports", ports.map(formatPorts)],
    ["only", protocols ?? []],
    ["shared", share ? ["between agents"] : []],
    ["access to", access],
  ] as const;
  return kinds.filter(([, values]) => values.length > 0).map(([kind, values]) =>
    `${kind} ${values.join(" ")}`
  )
    .join(", ") || "nothing";
}

function describeLimits({ bandwidth, streams, tunnels, services }: TokenLimits = {}): string {
  const rate = bandwidth === undefined ? [] : [`${formatSize(bandwidth)}/s`];
  const counts = Object.entries({ streams, tunnels, services })
    .flatMap(([what, count]) => count === undefined ? [] : [`${count} ${what}`]);
  return [...rate, ...counts].join(", ") || "none";
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function timeOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
