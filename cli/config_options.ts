import { type Command, Option } from "commander";
import denoJson from "../deno.json" with { type: "json" };
import { readDeclarations } from "../core/config/declarations.ts";
import { DEVELOPMENT_CONFIG, developmentConfig } from "../core/config/development.ts";
import type { ConfigResult, ParseOptions } from "../core/config/parse_config.ts";
import { formatProblem } from "../core/config/problem.ts";
import { readConfig } from "../core/config/read_config.ts";
import { prepare } from "../core/supervisor/prepare.ts";
import type { Prepared } from "../core/supervisor/supervisor.ts";
import { CommandError } from "./command_error.ts";
import { DEVELOPMENT_FOLDER, ensureDevelopmentToken } from "./development_token.ts";
import { EXIT } from "./exit_codes.ts";

/** What is read when no `--config` is given and it is there. */
const DEFAULT_FILE = "postern.yaml";

/** The options that choose and change the config, as commander gives them. */
export interface ConfigOptions {
  readonly config?: string;
  readonly plugins?: string;
  readonly set: readonly string[];
}

/** Adds the options that every command with a config has. */
export function addConfigOptions(command: Command): Command {
  return command
    .option(
      "-c, --config <file>",
      `the config (default: ${DEFAULT_FILE} if it is there, else the development config)`,
    )
    .option("--plugins <names>", "only these plugins, in this order, separated by commas")
    .addOption(
      new Option("--set <key=value>", "any config key by its path; the value is YAML; repeatable")
        .argParser((value: string, before: readonly string[]) => [...before, value])
        .default([], "none"),
    );
}

/** Which file the config comes from; `undefined`: the development config. */
export async function configFile({ config }: ConfigOptions): Promise<string | undefined> {
  if (config !== undefined) return config;
  const found = await Deno.stat(DEFAULT_FILE).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  return found && DEFAULT_FILE;
}

/** Reads the config and checks its shape; the plugins have not seen their sections yet. */
export async function parseOptions(options: ConfigOptions, file: string | undefined): Promise<ConfigResult> {
  const parse: ParseOptions = {
    env: (name) => Deno.env.get(name),
    set: options.set,
    declarations: readDeclarations(denoJson, new URL("../deno.json", import.meta.url)),
    ...(options.plugins !== undefined && { plugins: splitNames(options.plugins) }),
  };
  return file === undefined ? developmentConfig(parse) : await readConfig(file, parse);
}

/**
 * Reads the config, and lets the plugins check their sections. What the development config names, and is not there yet, is
 * made before.
 *
 * @throws {CommandError} With everything that is wrong, one line each.
 */
export async function prepareOptions(options: ConfigOptions, file: string | undefined): Promise<Prepared> {
  if (file === undefined) await ensureDevelopmentToken(DEVELOPMENT_FOLDER);
  return await prepareAgain(options, file);
}

/**
 * {@link prepareOptions} for a gateway that runs: it may no longer write, and has made what it needs.
 *
 * @throws {CommandError} With everything that is wrong, one line each.
 */
export async function prepareAgain(options: ConfigOptions, file: string | undefined): Promise<Prepared> {
  const preparation = await prepare(await parseOptions(options, file));
  if (preparation.ok) return preparation.prepared;
  throw new CommandError(preparation.problems.map(formatProblem).join("\n"), EXIT.wrongUsage);
}

/** How the config is called when it is spoken of. */
export function configName(file: string | undefined): string {
  return file ?? DEVELOPMENT_CONFIG.file;
}

function splitNames(names: string): string[] {
  return names.split(",").map((name) => name.trim()).filter((name) => name !== "");
}
