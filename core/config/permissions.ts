import { resolve } from "node:path";
import { messageOf } from "../errors.ts";
import { parseAddress, parseHostPort } from "../net/address.ts";
import type { DeclaredPermissions } from "./config.ts";
import { describeKind, describeValue } from "./describe.ts";
import type { ConfigIssue } from "./issues.ts";
import type { ConfigPath } from "./path.ts";
import { isSecretPath } from "./redact.ts";
import { child } from "./schema_walk.ts";

/** Every kind of permission that a Deno worker can have. */
export const PERMISSION_KINDS = ["net", "read", "write", "env", "run", "sys", "ffi", "import"] as const;
export type PermissionKind = (typeof PERMISSION_KINDS)[number];

/** For `new Worker(…, { deno: { permissions } })`: every kind is named, since a worker inherits what is not. */
export type WorkerPermissions = Readonly<Record<PermissionKind, string[] | boolean>>;

export interface ResolvedPermissions {
  /** Nothing at all when there is a problem. */
  readonly permissions: WorkerPermissions;
  /** Paths are relative to the plugin's section. */
  readonly problems: readonly ConfigIssue[];
}

/** What a worker has that may do nothing. */
export const NO_PERMISSIONS: WorkerPermissions = {
  net: false,
  read: false,
  write: false,
  env: false,
  run: false,
  sys: false,
  ffi: false,
  import: false,
};

/**
 * Fills `{path.to.key}` in declared permissions from the plugin's own checked config. A value from the config never
 * widens what was declared: it can't be empty, a wildcard, a list in disguise, the root folder, or climb out of the
 * folder that the declaration names. A list gives one entry for each of its values; an empty one grants nothing.
 *
 * @param config As the plugin's schema gave it back, with its defaults.
 */
export function resolvePermissions(declared: DeclaredPermissions, config: unknown): ResolvedPermissions {
  const permissions: Record<PermissionKind, string[] | boolean> = { ...NO_PERMISSIONS };
  const problems: ConfigIssue[] = [];
  for (const kind of PERMISSION_KINDS) {
    const entries = declared[kind] ?? false;
    if (typeof entries === "boolean") {
      permissions[kind] = entries;
      continue;
    }
    const resolved = entries.flatMap((entry) => {
      const filled = fillIn(kind, entry, config);
      problems.push(...filled.problems);
      return filled.entries;
    });
    // Never an empty list: what a runtime makes of one is not for us to guess.
    permissions[kind] = resolved.length === 0 ? false : [...new Set(resolved)];
  }
  return problems.length === 0 ? { permissions, problems } : { permissions: { ...NO_PERMISSIONS }, problems };
}

/** Says what is wrong with an entry of a declaration itself, if something is. */
export function templateFault(entry: string): string | undefined {
  if (entry === "") return "An empty permission is not allowed";
  if (/[,\r\n\0]|^\s|\s$/.test(entry)) return "One permission an entry, without commas or spaces around it";
  const rest = entry.replaceAll(TEMPLATE, "");
  return /[{}]/.test(rest) ? 'Malformed template; write "{key}" or "{path.to.key}"' : undefined;
}

const TEMPLATE = /\{([\w-]+(?:\.[\w-]+)*)\}/g;

interface Filled {
  readonly entries: readonly string[];
  readonly problems: readonly ConfigIssue[];
}

/** One value from the config, and where it stands. */
interface Found {
  readonly path: ConfigPath;
  readonly value: unknown;
}

function fillIn(kind: PermissionKind, entry: string, config: unknown): Filled {
  const context = `permission ${kind} ${JSON.stringify(entry)}`;
  const wrong = (path: ConfigPath, message: string): Filled => ({
    entries: [],
    problems: [{ path, message: `${message} (for ${context})` }],
  });
  const fault = templateFault(entry);
  if (fault !== undefined) return wrong([], fault);
  const names = Array.from(entry.matchAll(TEMPLATE), ([, name = ""]) => name);
  if (names.length === 0) return { entries: [entry], problems: [] };

  const found = new Map(names.map((name) => [name, findAll(config, name.split("."), [])]));
  const embedded = entry !== `{${names[0]}}`;
  for (const { path, value } of [...found.values()].flat()) {
    const message = valueFault(kind, value, embedded, isSecretPath(path));
    if (message !== undefined) return wrong(path, message);
  }
  const lists = [...found].filter(([, values]) => values.length !== 1);
  // Every host with every port would be more than what was configured.
  if (lists.length > 1) return wrong([], "Only one template of an entry may stand for a list");
  const [list] = lists;
  const choices = list === undefined ? [undefined] : list[1];
  const entries = choices.map((choice) =>
    entry.replaceAll(TEMPLATE, (_, name: string) => {
      const value = list?.[0] === name ? choice?.value : found.get(name)?.[0]?.value;
      return literal(kind, String(value));
    })
  );
  const bad = entries.map((one) => entryFault(kind, one)).find((one) => one !== undefined);
  return bad === undefined ? { entries, problems: [] } : wrong(names[0]?.split(".") ?? [], bad);
}

/** Every value at `keys`; a list on the way stands for each of its entries. Own properties only. */
function findAll(value: unknown, keys: readonly string[], path: ConfigPath): Found[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => findAll(item, keys, [...path, i]));
  const [key, ...rest] = keys;
  return key === undefined ? [{ path, value }] : findAll(child(value, key), rest, [...path, key]);
}

/** An IPv6 address needs brackets next to a port, and may have them without one. */
function literal(kind: PermissionKind, value: string): string {
  const isBareIpv6 = isHost(kind) && value.includes(":") && parseAddress(value) !== undefined;
  return isBareIpv6 ? `[${value}]` : value;
}

/** What makes a value from the config unfit to become (part of) a permission. */
function valueFault(
  kind: PermissionKind,
  value: unknown,
  embedded: boolean,
  secret: boolean,
): string | undefined {
  const got = secret ? describeKind(value) : describeValue(value);
  if (value === undefined || value === null || value === "") {
    return `Required, got ${value === "" ? '""' : "nothing"}`;
  }
  if (typeof value !== "string" && !Number.isSafeInteger(value)) {
    return `Expected text or a number, got ${got}`;
  }
  const text = String(value);
  // deno-lint-ignore no-control-regex -- control characters are exactly what is looked for
  if (/[\s,{}*\x00-\x1f\x7f]/.test(text)) {
    return `A permission can't come from a value with spaces, commas, braces or wildcards, got ${got}`;
  }
  if (kind === "env" && !/^[A-Za-z_]\w*$/.test(text)) return `Expected the name of a variable, got ${got}`;
  if (kind === "sys" && !/^[A-Za-z]+$/.test(text)) return `Expected the name of a system call, got ${got}`;
  if (isPath(kind) && embedded && text.split(/[\\/]/).includes("..")) {
    return `".." is not allowed here, got ${got}`;
  }
  return undefined;
}

/** What makes an entry that was filled in unfit. */
function entryFault(kind: PermissionKind, entry: string): string | undefined {
  if (isPath(kind) && resolve(entry) === resolve("/")) return "The root folder can't come from the config";
  if (!isHost(kind)) return undefined;
  try {
    parseHostPort(entry.replace(/^\*\./, ""), { defaultPort: 0 }); // the wildcard is the declaration's own
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function isHost(kind: PermissionKind): boolean {
  return kind === "net" || kind === "import";
}

function isPath(kind: PermissionKind): boolean {
  return kind === "read" || kind === "write" || kind === "run" || kind === "ffi";
}
