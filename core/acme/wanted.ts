import type { AcmeChallenge } from "../config/config.ts";
import { NameTable, parseNamePattern } from "../names.ts";
import type { WantedName } from "./contract.ts";

/** Certificates that are asked for at most. */
export const MAX_WANTED = 1000;

/** What there is to know for {@link chooseNames}. Names are canonical. */
export interface Holdings {
  /** Names and patterns that routes end TLS for. */
  readonly routes: readonly string[];
  /** Names that live tunnels have, and for which TLS ends at the gateway. */
  readonly tunnels: readonly string[];
  /** Names and patterns that there are certificates in files for. */
  readonly files: readonly string[];
  readonly challenges: readonly AcmeChallenge[];
}

export interface Choice {
  readonly wanted: readonly WantedName[];
  /** Those that nothing is asked for although nobody has a certificate for them, each with the reason. */
  readonly left: readonly { readonly name: string; readonly reason: string }[];
}

/** Which certificates to ask for, so that every held name has one and none has two. Pure. */
export function chooseNames({ routes, tunnels, files, challenges }: Holdings): Choice {
  const covered = tableOf(files);
  const wanted = new Map<string, WantedName>();
  const left: { name: string; reason: string }[] = [];
  // Patterns first: the names below them need nothing then.
  for (
    const name of [
      ...routes.filter(isWildcard),
      ...routes.filter((name) => !isWildcard(name)),
      ...tunnels,
    ]
  ) {
    if (wanted.has(name) || isCovered(name, covered)) continue;
    const reason = whyNot(name, challenges) ??
      (wanted.size >= MAX_WANTED ? `There are ${MAX_WANTED} certificates to ask for already` : undefined);
    if (reason !== undefined) {
      left.push({ name, reason });
      continue;
    }
    const challenge = isWildcard(name) || !challenges.includes("http-01") ? "dns-01" : "http-01";
    wanted.set(name, { name, challenge });
    covered.add(parseNamePattern(name), true);
  }
  return { wanted: [...wanted.values()], left };
}

/** Why a directory could not give out a certificate for it; `undefined`: it could. */
function whyNot(name: string, challenges: readonly AcmeChallenge[]): string | undefined {
  if (isWildcard(name) && !challenges.includes("dns-01")) {
    return 'A wildcard certificate needs "dns-01" among tls.acme.challenges';
  }
  const labels = name.split(".");
  if (name === "*" || labels.length < 2 || labels.at(-1) === "localhost" || name.includes("_")) {
    return "No public authority gives out a certificate for it";
  }
  return undefined;
}

/** Says of names whether a certificate for one of `patterns` serves them. */
export function servedBy(patterns: readonly string[]): (name: string) => boolean {
  const table = tableOf(patterns);
  return (name) => isCovered(name, table);
}

/** Whether a certificate for one of `patterns` serves `name`. For many names, see {@link servedBy}. */
export function isServedBy(name: string, patterns: readonly string[]): boolean {
  return servedBy(patterns)(name);
}

function tableOf(patterns: readonly string[]): NameTable<true> {
  const table = new NameTable<true>();
  for (const pattern of patterns.map(parseNamePattern)) {
    if (table.get(pattern) === undefined) table.add(pattern, true);
  }
  return table;
}

/** A wildcard is served by the very same one and no other. */
function isCovered(name: string, table: NameTable<true>): boolean {
  return isWildcard(name)
    ? table.get(parseNamePattern(name)) !== undefined
    : table.lookup(name) !== undefined;
}

function isWildcard(name: string): boolean {
  return name.startsWith("*");
}
