import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import type { GatewayConfig, PluginConfig, PluginDeclaration } from "./config.ts";
import type { EnvLookup } from "./env.ts";
import { type ConfigIssue, hint } from "./issues.ts";
import { applyOverride } from "./overrides.ts";
import type { ConfigPath } from "./path.ts";
import { type ConfigLocation, type ConfigProblem, problemAt, sortProblems } from "./problem.ts";
import { child } from "./schema_walk.ts";
import { checkConfig, type CheckedConfig, toGatewayConfig } from "./schema.ts";
import { type ConfigNode, locate, type MapNode, plainValue } from "./tree.ts";
import { readYaml } from "./yaml.ts";

export interface ConfigSource {
  readonly text: string;
  /** As the user named it: paths in the config are relative to its folder, and problems name it. */
  readonly file: string;
}

export interface ParseOptions {
  readonly env: EnvLookup;
  /** Each as `--set` takes it: `limits.idleTimeout=5m`. Later ones win. */
  readonly set?: readonly string[];
  /** From `deno.json`; the config's own `declarations` come on top. */
  readonly declarations: Readonly<Record<string, PluginDeclaration>>;
  /** From `--plugins`: only these, in this order, whether they have a section or not. */
  readonly plugins?: readonly string[];
}

export interface ParsedConfig {
  readonly ok: true;
  readonly config: GatewayConfig;
  /** Paths in the config are relative to this. */
  readonly folder: string;
  /** Where a key of the config was written, or the nearest one above it. */
  locate(path: ConfigPath, subject?: "key" | "value"): ConfigLocation;
  /** Gives something that a plugin found in its own section its place in the config. */
  pluginProblem(plugin: string, issue: ConfigIssue): ConfigProblem;
}

export type ConfigResult = ParsedConfig | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Checks a whole config without touching anything outside it. Never throws: everything wrong comes back together. */
export function parseConfig(source: ConfigSource, options: ParseOptions): ConfigResult {
  const read = readYaml({
    text: source.text,
    env: options.env,
    locationOf(offset, lines) {
      const { line, col } = lines.linePos(offset);
      return { file: source.file, line: Math.max(1, line), column: Math.max(1, col) };
    },
  });
  if (!read.readable) return { ok: false, problems: read.problems };
  const root = rootOf(read.root, source.file);
  if (root.kind !== "map") {
    return { ok: false, problems: [problemAt(root.at, [], 'Expected keys such as "listeners:" at the top')] };
  }
  return check(root, read, source, options);
}

/** An empty file is a config of nothing but defaults. */
function rootOf(root: ConfigNode | undefined, file: string): ConfigNode {
  const isEmpty = root === undefined || (root.kind === "scalar" && root.value === null);
  return isEmpty ? { kind: "map", at: { file, line: 1, column: 1 }, entries: new Map() } : root;
}

interface Findings {
  readonly problems: readonly ConfigProblem[];
  readonly spoiled: readonly ConfigPath[];
}

function check(root: MapNode, read: Findings, source: ConfigSource, options: ParseOptions): ConfigResult {
  const overrides = (options.set ?? []).map((option) => applyOverride(root, option, options.env));
  const problems = [read, ...overrides].flatMap((findings) => findings.problems);
  const spoiled = [read, ...overrides].flatMap((findings) => findings.spoiled);

  const value = plainValue(root);
  const checked = checkConfig(value, pathToFileURL(source.file));
  const issues = checked.ok
    ? []
    : checked.issues.filter(({ path }) => !spoiled.some((one) => isWithin(path, one)));
  const selection = selectPlugins(value, options);
  for (const issue of [...issues, ...selection.issues]) problems.push(toProblem(root, [], issue));
  problems.push(...selection.problems);
  if (!checked.ok || problems.length > 0) return { ok: false, problems: sortProblems(problems) };

  const folder = dirname(source.file);
  return {
    ok: true,
    config: {
      ...toGatewayConfig(checked.value, folder),
      plugins: toPlugins(selection.names, checked.value, options),
    },
    folder,
    locate: (path, subject) => locate(root, path, subject),
    pluginProblem: (plugin, issue) => toProblem(root, ["plugins", plugin], issue),
  };
}

function isWithin(path: ConfigPath, outer: ConfigPath): boolean {
  return outer.every((segment, i) => String(segment) === String(path[i]));
}

function toProblem(
  root: MapNode,
  prefix: ConfigPath,
  { path, message, unknownKey }: ConfigIssue,
): ConfigProblem {
  const whole = [...prefix, ...path];
  return problemAt(locate(root, whole, unknownKey ? "key" : "value"), whole, message);
}

interface Selection {
  readonly names: readonly string[];
  readonly issues: readonly ConfigIssue[];
  readonly problems: readonly ConfigProblem[];
}

/**
 * Which plugins run, in which order. Looks at the bare value, so that a plugin that nobody declared is named even when
 * other parts of the config are wrong. With `--plugins`, sections of the others are left alone.
 */
function selectPlugins(value: unknown, { declarations, plugins }: ParseOptions): Selection {
  const own = keysOf(child(value, "declarations"));
  const declared = [...Object.keys(declarations), ...own];
  const names = plugins ?? keysOf(child(value, "plugins"));
  const twice = own.filter((name) => Object.hasOwn(declarations, name));
  const issues: ConfigIssue[] = twice.map((name) => ({
    path: ["declarations", name],
    message: `Plugin "${name}" is declared in deno.json already`,
    unknownKey: true,
  }));
  const problems: ConfigProblem[] = [];
  for (const [i, name] of names.entries()) {
    const message = nameFault(name, names.slice(0, i), declared);
    if (message === undefined) continue;
    if (plugins === undefined) issues.push({ path: ["plugins", name], message, unknownKey: true });
    else problems.push(problemAt({ file: "--plugins" }, [], message));
  }
  return { names, issues, problems };
}

function nameFault(name: string, before: readonly string[], declared: readonly string[]): string | undefined {
  if (before.includes(name)) return `Plugin "${name}" is named twice`;
  if (declared.includes(name)) return undefined;
  return `Plugin ${JSON.stringify(name)} is declared neither in deno.json nor in "declarations"${
    hint(name, declared)
  }`;
}

function keysOf(value: unknown): string[] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
}

function toPlugins(
  names: readonly string[],
  { plugins, declarations: own }: CheckedConfig,
  { declarations }: ParseOptions,
): PluginConfig[] {
  const all = new Map([...Object.entries(declarations), ...Object.entries(own)]);
  return names.flatMap((name) => {
    const declaration = all.get(name);
    return declaration === undefined ? [] : [{ name, declaration, section: child(plugins, name) ?? {} }];
  });
}
