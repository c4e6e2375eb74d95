import { type ConfigProblem, problemAt, sortProblems } from "../config/problem.ts";
import type { ConfigResult } from "../config/parse_config.ts";
import { checkPlugins } from "./plugins.ts";
import type { Prepared } from "./state.ts";

/** A config that can be run, or everything that is wrong with it. */
export type Preparation =
  | { readonly ok: true; readonly prepared: Prepared }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Lets the plugins check their sections, and fills in what they are granted.
 *
 * @throws {GatewayError} `plugin-failed`: a plugin's module cannot be loaded.
 */
export async function prepare(parsed: ConfigResult): Promise<Preparation> {
  if (!parsed.ok) return parsed;
  if (parsed.config.listeners.length === 0) {
    const message = 'Nothing to listen on; add at least one, such as - address: "0.0.0.0:443"';
    return { ok: false, problems: [problemAt(parsed.locate([]), ["listeners"], message)] };
  }
  const { plugins, faults } = await checkPlugins(parsed.config, parsed.folder);
  if (faults.length === 0) return { ok: true, prepared: { config: parsed.config, plugins } };
  const problems = faults.flatMap(({ name, issues }) =>
    issues.map((issue) => parsed.pluginProblem(name, issue))
  );
  return { ok: false, problems: sortProblems(problems) };
}
