import { type EnvLookup } from "./env.ts";
import { type ConfigPath, parsePath } from "./path.ts";
import { type ConfigLocation, type ConfigProblem, problemAt } from "./problem.ts";
import type { ConfigNode, MapNode } from "./tree.ts";
import { readYaml } from "./yaml.ts";

export interface OverrideResult {
  readonly problems: readonly ConfigProblem[];
  readonly spoiled: readonly ConfigPath[];
}

/**
 * Applies one `--set KEY=VALUE` to the tree: the value is YAML, and takes the place of what stands there. Mappings
 * and lists on the way are made when missing; a list grows by one at most.
 */
export function applyOverride(root: MapNode, option: string, env: EnvLookup): OverrideResult {
  const equals = option.indexOf("=");
  const key = option.slice(0, Math.max(0, equals)).trim();
  // Without "=" the text may be anything, even a token given by mistake: it is not repeated.
  const at: ConfigLocation = { file: equals < 0 ? "--set" : `--set ${key}` };
  const fail = (message: string): OverrideResult => ({ problems: [problemAt(at, [], message)], spoiled: [] });
  if (equals < 0) return fail('Expected KEY=VALUE, as in "limits.idleTimeout=5m"');
  const path = parsePath(key);
  if (path === undefined) {
    return fail('Expected a key such as "limits.idleTimeout" or "plugins.static.routes[0].to"');
  }
  const read = readYaml({ text: option.slice(equals + 1), locationOf: () => at, env });
  if (!read.readable || read.problems.length > 0) {
    return { problems: read.problems.map((one) => ({ ...one, path: "" })), spoiled: [path] };
  }
  const message = place(root, path, read.root ?? { kind: "scalar", at, value: null }, at);
  return message === undefined ? { problems: [], spoiled: [] } : fail(message);
}

/** @returns What is in the way, if something is. */
function place(root: MapNode, path: ConfigPath, value: ConfigNode, at: ConfigLocation): string | undefined {
  let node: ConfigNode = root;
  for (const [i, segment] of path.entries()) {
    const next = path[i + 1];
    const slot = openSlot(node, segment, at);
    if (typeof slot === "string") return slot;
    if (next === undefined) {
      slot.put(value);
      return undefined;
    }
    const inner: ConfigNode = slot.current ?? emptyFor(next, at);
    if (inner !== slot.current) slot.put(inner);
    node = inner;
  }
  return undefined;
}

interface Slot {
  /** What stands there and can be gone into; absent when nothing does. */
  readonly current?: ConfigNode;
  put(value: ConfigNode): void;
}

function openSlot(node: ConfigNode, segment: string | number, at: ConfigLocation): Slot | string {
  if (node.kind === "map" && typeof segment === "string") {
    const { entries } = node;
    if (segment === "__proto__") return "This key is not allowed";
    return slot(entries.get(segment)?.value, (value) => entries.set(segment, { keyAt: at, value }));
  }
  if (node.kind === "list") {
    const { items } = node;
    const index = /^\d{1,6}$/.test(String(segment)) ? Number(segment) : -1;
    if (index < 0 || index > items.length) {
      return `Expected an index from 0 to ${items.length}, got ${JSON.stringify(segment)}`;
    }
    return slot(items[index], (value) => items[index] = value);
  }
  const what = node.kind === "map" ? "a mapping has keys, not indexes" : "there is a single value on the way";
  return `Can't go to ${JSON.stringify(segment)}: ${what}`;
}

/** A key without a value may become anything. */
function slot(current: ConfigNode | undefined, put: (value: ConfigNode) => void): Slot {
  const isEmpty = current === undefined || (current.kind === "scalar" && current.value === null);
  return isEmpty ? { put } : { current, put };
}

function emptyFor(segment: string | number, at: ConfigLocation): ConfigNode {
  return /^\d+$/.test(String(segment))
    ? { kind: "list", at, items: [] }
    : { kind: "map", at, entries: new Map() };
}
