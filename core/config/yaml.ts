import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  Scalar,
  Schema,
  visit,
  type YAMLMap,
  type YAMLParseError,
  type YAMLSeq,
} from "yaml";
import { type EnvLookup, expandEnv } from "./env.ts";
import type { ConfigPath } from "./path.ts";
import { type ConfigLocation, type ConfigProblem, problemAt } from "./problem.ts";
import { isSecretPath } from "./redact.ts";
import type { ConfigNode, MapEntry } from "./tree.ts";

/** Far above any config written by people; bounds what parsing costs. In UTF-16 units. */
export const MAX_CONFIG_LENGTH = 2 ** 20;
/** Counts every use of an alias anew, so that nested aliases ("billion laughs") end here. */
const MAX_NODES = 50_000;
const MAX_DEPTH = 64;

const OPTIONS = {
  version: "1.2",
  schema: "core",
  stringKeys: true,
  resolveKnownTags: false, // no `!!binary` and the like: a config is text, numbers, lists and mappings
  prettyErrors: false, // the pretty ones quote the source, and with it secrets
  logLevel: "error",
} as const;

const SCALAR_TAGS = new Schema({ schema: "core" }).tags.filter((tag) => tag.collection === undefined);

export interface YamlSource {
  readonly text: string;
  /** Turns an offset in `text` into a place; `lines` knows where lines begin. */
  readonly locationOf: (offset: number, lines: LineCounter) => ConfigLocation;
  readonly env: EnvLookup;
}

export interface YamlResult {
  /** Absent when the text can't be read, and when it is empty. */
  readonly root?: ConfigNode;
  readonly problems: readonly ConfigProblem[];
  /** Paths at which something is wrong already; what a schema says of them is only an echo. */
  readonly spoiled: readonly ConfigPath[];
  /** False when nothing of the text could be used. */
  readonly readable: boolean;
}

/**
 * Reads one YAML 1.2 document into a tree, with `${NAME}` filled in. Never throws on any text, as long as it may read
 * the environment: the parser looks for variables that make it trace what it does.
 */
export function readYaml(source: YamlSource): YamlResult {
  const lines = new LineCounter();
  const at = (offset: number) => source.locationOf(offset, lines);
  const unreadable = (problem: ConfigProblem): YamlResult => ({
    problems: [problem],
    spoiled: [],
    readable: false,
  });
  if (source.text.length > MAX_CONFIG_LENGTH) {
    return unreadable(problemAt(at(0), [], `Longer than ${MAX_CONFIG_LENGTH} characters`));
  }
  try {
    const document = parseDocument(source.text, { ...OPTIONS, lineCounter: lines });
    const { fatal, duplicates } = sortErrors(document);
    if (fatal !== undefined) {
      if (/call stack/i.test(fatal.message)) return unreadable(problemAt(at(0), [], TOO_DEEP));
      return unreadable(problemAt(at(fatal.pos[0]), [], yamlMessage(fatal, source.text)));
    }
    const builder = new TreeBuilder(document, at, source.env);
    const root = builder.build();
    const problems = [
      ...duplicates.map((one) => problemAt(at(one.pos[0]), [], duplicateMessage(one, source.text))),
    ];
    return {
      ...(root && { root }),
      problems: [...problems, ...builder.problems],
      spoiled: builder.spoiled,
      readable: true,
    };
  } catch (error) {
    if (error instanceof RangeError) return unreadable(problemAt(at(0), [], TOO_DEEP)); // out of stack
    throw error;
  }
}

const TOO_DEEP = `Nested more than ${MAX_DEPTH} levels deep`;

/** After the first real syntax error the rest is guesswork; keys that come twice leave the rest intact. */
function sortErrors(document: Document.Parsed): { fatal?: YamlFault; duplicates: YamlFault[] } {
  const all: YamlFault[] = [...document.errors, ...document.warnings];
  const fatal =
    all.filter((error) => error.code !== "DUPLICATE_KEY").toSorted((a, b) => a.pos[0] - b.pos[0])[0];
  return { ...(fatal && { fatal }), duplicates: all.filter((error) => error.code === "DUPLICATE_KEY") };
}

type YamlFault = Pick<YAMLParseError, "code" | "message" | "pos">;

function yamlMessage({ code, message, pos }: YamlFault, text: string): string {
  const [offset] = pos;
  if (text[offset - 1] === "$" || text.slice(Math.max(0, offset - 2), offset) === "${") {
    return 'Put quotes around "${NAME}" within { } and [ ]';
  }
  switch (code) {
    case "TAB_AS_INDENT":
      return "A tab can't indent in YAML; use spaces";
    case "TAG_RESOLVE_FAILED":
      return "Tags (!name) have no meaning here";
    case "MULTIPLE_DOCS":
      return "A second document begins here; a config is one document";
    case "NON_STRING_KEY":
      return "A key must be plain text";
    case "UNEXPECTED_TOKEN":
    case "IMPOSSIBLE":
      return "Unexpected here; check the quotes, brackets and indentation around it";
    default:
      return `Not valid YAML: ${message}`;
  }
}

function duplicateMessage({ pos }: YamlFault, text: string): string {
  const key = /^[^\s:,{}[\]]{1,80}/.exec(text.slice(pos[0], pos[0] + 80))?.[0];
  return key === undefined ? "This key is given twice" : `Key ${JSON.stringify(key)} is given twice`;
}

/** Turns the parser's nodes into ours: aliases resolved, variables filled in, everything counted. */
class TreeBuilder {
  readonly problems: ConfigProblem[] = [];
  readonly spoiled: ConfigPath[] = [];
  readonly #document: Document.Parsed;
  readonly #at: (offset: number) => ConfigLocation;
  readonly #env: EnvLookup;
  readonly #targets: ReadonlyMap<Alias, Node>;
  /** The nodes that are being built right now: an alias to one of them would never end. */
  readonly #open = new Set<Node>();
  #nodes = 0;

  constructor(document: Document.Parsed, at: (offset: number) => ConfigLocation, env: EnvLookup) {
    this.#document = document;
    this.#at = at;
    this.#env = env;
    this.#targets = aliasTargets(document);
  }

  build(): ConfigNode | undefined {
    const { contents } = this.#document;
    return contents === null ? undefined : this.#node(contents, []);
  }

  #node(node: Node, path: ConfigPath): ConfigNode | undefined {
    if (++this.#nodes > MAX_NODES) {
      return this.#nodes === MAX_NODES + 1
        ? this.#fail(node, path, `More than ${MAX_NODES} values`)
        : undefined;
    }
    if (path.length > MAX_DEPTH) return this.#fail(node, path, TOO_DEEP);
    if (isAlias(node)) return this.#alias(node, path);
    this.#open.add(node);
    try {
      if (isMap(node)) return this.#map(node as YAMLMap<Node, Node | null>, path);
      if (isSeq(node)) return this.#list(node as YAMLSeq<Node>, path);
      return isScalar(node) ? this.#scalar(node, path) : this.#fail(node, path, "Unexpected here");
    } finally {
      this.#open.delete(node);
    }
  }

  #alias(alias: Alias, path: ConfigPath): ConfigNode | undefined {
    const target = this.#targets.get(alias);
    if (target === undefined) {
      const anchor = isSecretPath(path) ? "of this name" : `&${alias.source}`; // it may be a password that begins so
      return this.#fail(
        alias,
        path,
        `No anchor ${anchor} stands above; text that begins with * stands in quotes`,
      );
    }
    if (this.#open.has(target)) return this.#fail(alias, path, `Alias *${alias.source} contains itself`);
    return this.#node(target, path);
  }

  #map(map: YAMLMap<Node, Node | null>, path: ConfigPath): ConfigNode {
    const entries = new Map<string, MapEntry>();
    for (const { key, value } of map.items as Pair<Node, Node | null>[]) {
      const name = isScalar(key) ? String(key.value) : "";
      const inner = [...path, name];
      const keyAt = this.#place(key);
      if (name === "__proto__") this.#fail(key, inner, "This key is not allowed");
      else if (!entries.has(name)) { // given twice: reported already, and the first stands
        const built = value === null
          ? { kind: "scalar" as const, at: keyAt, value: null }
          : this.#node(value, inner);
        if (built !== undefined) entries.set(name, { keyAt, value: built });
      }
    }
    return { kind: "map", at: this.#place(map), entries };
  }

  #list(list: YAMLSeq<Node>, path: ConfigPath): ConfigNode {
    const at = this.#place(list);
    const nothing = { kind: "scalar" as const, at, value: null }; // keeps the numbers of the items behind it
    const items = list.items.map((item, i) => this.#node(item, [...path, i]) ?? nothing);
    return { kind: "list", at, items };
  }

  #scalar(scalar: Scalar, path: ConfigPath): ConfigNode {
    const at = this.#place(scalar);
    const { value } = scalar;
    if (typeof value !== "string" || !value.includes("${")) {
      return { kind: "scalar", at, value: scalarValue(value) };
    }
    const expanded = expandEnv(value, this.#env);
    if (!expanded.ok) {
      for (const message of expanded.messages) this.#fail(scalar, path, message);
      return { kind: "scalar", at, value: null };
    }
    const plain = scalar.type === Scalar.PLAIN && scalar.tag === undefined;
    return { kind: "scalar", at, value: plain ? resolvePlain(expanded.text.trim()) : expanded.text };
  }

  #place(node: Node): ConfigLocation {
    return this.#at(node.range?.[0] ?? 0);
  }

  #fail(node: Node, path: ConfigPath, message: string): undefined {
    this.problems.push(problemAt(this.#place(node), path, message));
    this.spoiled.push(path);
  }
}

/** What each alias stands for: the last anchor of its name above it. */
function aliasTargets(document: Document.Parsed): Map<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Node(_, node) {
      const target = isAlias(node) ? anchors.get(node.source) : undefined;
      if (isAlias(node) && target !== undefined) targets.set(node, target);
      if (!isAlias(node) && node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

/** What YAML makes of an unquoted scalar. Only a scalar can come out: the text is never parsed for structure. */
function resolvePlain(text: string): string | number | boolean | null {
  for (const tag of SCALAR_TAGS) {
    if (tag.default === true && "test" in tag && tag.test?.test(text)) {
      const resolved = tag.resolve(text, () => {}, {});
      return scalarValue(isScalar(resolved) ? resolved.value : resolved);
    }
  }
  return text;
}

function scalarValue(value: unknown): string | number | boolean | null {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null;
}
