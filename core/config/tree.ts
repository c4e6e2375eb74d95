import type { ConfigPath } from "./path.ts";
import type { ConfigLocation } from "./problem.ts";

/** A config with the place of every key and value. Mutable: `--set` changes it before anything else looks at it. */
export type ConfigNode = MapNode | ListNode | ScalarNode;

export interface MapNode {
  readonly kind: "map";
  readonly at: ConfigLocation;
  readonly entries: Map<string, MapEntry>;
}

export interface MapEntry {
  readonly keyAt: ConfigLocation;
  readonly value: ConfigNode;
}

export interface ListNode {
  readonly kind: "list";
  readonly at: ConfigLocation;
  readonly items: ConfigNode[];
}

export interface ScalarNode {
  readonly kind: "scalar";
  readonly at: ConfigLocation;
  readonly value: string | number | boolean | null;
}

/**
 * The bare value. A key without a value counts as not written, so it comes out as `undefined`; the key itself stays,
 * so that an unknown one is still found.
 */
export function plainValue(node: ConfigNode): unknown {
  switch (node.kind) {
    case "map":
      return Object.fromEntries(
        Array.from(node.entries, ([key, { value }]) => [key, plainValue(value) ?? undefined]),
      );
    case "list":
      return node.items.map(plainValue);
    case "scalar":
      return node.value;
  }
}

/**
 * Where something was written, or where its nearest parent was when it was not. A scalar is where it begins; a
 * mapping or list under a key is where that key is, since its first line says less.
 *
 * @param subject `key` for what is wrong with the key itself.
 */
export function locate(
  root: ConfigNode,
  path: ConfigPath,
  subject: "key" | "value" = "value",
): ConfigLocation {
  let node: ConfigNode = root;
  let place = root.at;
  for (const [i, segment] of path.entries()) {
    if (node.kind === "map") {
      const entry: MapEntry | undefined = node.entries.get(String(segment));
      if (entry === undefined) return place;
      node = entry.value;
      const last = i === path.length - 1;
      place = node.kind === "scalar" && !(last && subject === "key") ? node.at : entry.keyAt;
    } else if (node.kind === "list") {
      const item: ConfigNode | undefined = node.items[Number(segment)];
      if (item === undefined) return place;
      node = item;
      place = node.at;
    } else {
      return place;
    }
  }
  return place;
}
