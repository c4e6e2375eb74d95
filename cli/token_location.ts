import { dirname, isAbsolute, join } from "node:path";
import { formatProblem } from "../core/config/problem.ts";
import { child } from "../core/config/schema_walk.ts";
import { plainValue } from "../core/config/tree.ts";
import { readYaml } from "../core/config/yaml.ts";
import { CommandError } from "./command_error.ts";
import { configFile } from "./config_options.ts";
import { DEVELOPMENT_FOLDER } from "./development_token.ts";
import { EXIT } from "./exit_codes.ts";

/** What is taken where no config says it. */
const DEFAULT_FILE = "tokens.yaml";
const KEY = ["plugins", "ws-agent", "tokens"] as const;

export interface TokenLocation {
  readonly file: string;
  /** The config that should name it, and does not. */
  readonly unnamedIn?: string;
}

/**
 * Finds the token file: as the option says, else as the config says, else where the development gateway has it, if
 * there is one here, else `tokens.yaml`.
 *
 * @throws {CommandError} The config can't be read.
 */
export async function findTokenFile(
  options: { readonly file?: string; readonly config?: string },
): Promise<TokenLocation> {
  if (options.file !== undefined) return { file: options.file };
  const config = await configFile({ ...options, set: [] });
  if (config === undefined) {
    return { file: await isFolder(DEVELOPMENT_FOLDER) ? DEVELOPMENT_FILE : DEFAULT_FILE };
  }
  const named = await tokensOf(config);
  if (named === undefined) return { file: join(dirname(config), DEFAULT_FILE), unnamedIn: config };
  return { file: isAbsolute(named) ? named : join(dirname(config), named) };
}

const DEVELOPMENT_FILE = join(DEVELOPMENT_FOLDER, DEFAULT_FILE);

/** Looks at this one key alone: what else the config needs, variables for example, may be missing here. */
async function tokensOf(config: string): Promise<string | undefined> {
  const text = await Deno.readTextFile(config).catch((error) => {
    const message = `Cannot read "${config}"; name the token file with --file`;
    throw new CommandError(message, EXIT.wrongUsage, { cause: error });
  });
  const read = readYaml({
    text,
    env: (name) => Deno.env.get(name),
    locationOf(offset, lines) {
      const { line, col } = lines.linePos(offset);
      return { file: config, line: Math.max(1, line), column: Math.max(1, col) };
    },
  });
  const faults = read.readable ? read.problems.filter(({ path }) => path === KEY.join(".")) : read.problems;
  if (faults.length > 0) throw new CommandError(faults.map(formatProblem).join("\n"), EXIT.wrongUsage);
  const value = read.root && KEY.reduce<unknown>(child, plainValue(read.root));
  return typeof value === "string" && value !== "" ? value : undefined;
}

async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
}
