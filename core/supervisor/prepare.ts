import { type ConfigProblem, problemAt, sortProblems } from "../config/problem.ts";
import type { ConfigResult } from "../config/parse_config.ts";
import { resolve } from "node:path";
import { acmePermissions } from "../acme/permissions.ts";
import type { AcmeConfig } from "../config/config.ts";
import { readPluginFiles } from "./plugin_files.ts";
import { checkPlugins } from "./plugins.ts";
import type { AcmeUse, Prepared } from "./state.ts";

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
  const acme = parsed.config.tls.acme && await prepareAcme(parsed.config.tls.acme);
  const problems = faults.flatMap(({ name, issues }) =>
    issues.map((issue) => parsed.pluginProblem(name, issue))
  );
  if (acme?.fault !== undefined) {
    const path = ["tls", "acme", "ca"];
    problems.push(problemAt(parsed.locate(path), path, acme.fault));
  }
  if (problems.length > 0) return { ok: false, problems: sortProblems(problems) };
  return { ok: true, prepared: { config: parsed.config, plugins, ...(acme?.use && { acme: acme.use }) } };
}

/** Its files are read for it, like those of plugins. */
async function prepareAcme(
  config: AcmeConfig,
): Promise<{ readonly use?: AcmeUse; readonly fault?: string }> {
  const { email, directory, ca: path, cache, dns01 } = config;
  const { files, issues } = await readPluginFiles(path === undefined ? [] : [path], ".", {});
  const ca = path === undefined ? undefined : files[path];
  const fault = issues[0]?.message ??
    (ca === undefined || ca.includes("-----BEGIN CERTIFICATE-----")
      ? undefined
      : `No certificate in "${path}"`);
  if (fault !== undefined) return { fault };
  const settings = {
    directory,
    cache: resolve(cache),
    ...(email !== undefined && { email }),
    ...(ca !== undefined && { ca }),
    ...(dns01 && { dns01 }),
  };
  return { use: { settings, permissions: acmePermissions(config) } };
}
