import { formatProblem, problemAt } from "../core/config/problem.ts";
import { messageOf } from "../core/errors.ts";
import { parseAgentFile } from "../plugins/ws-agent/agent/agent_file.ts";
import type { AgentSettings } from "../plugins/ws-agent/agent/settings.ts";
import { defaultAgentName } from "./agent_name.ts";
import { CommandError } from "./command_error.ts";
import { EXIT } from "./exit_codes.ts";
import { proxyFor, readCa } from "./gateway_choice.ts";

/** What an agent is called that has no name of its own, by its file: the machine may not be asked again after the start. */
const names = new Map<string, string>();

/**
 * Reads an agent's config, with the files that it names.
 *
 * @throws {CommandError} With everything that is wrong, one line each.
 */
export async function readAgentSettings(
  file: string,
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
): Promise<AgentSettings> {
  const result = parseAgentFile({ text: await readText(file), file }, env);
  if (!result.ok) throw new CommandError(result.problems.map(formatProblem).join("\n"), EXIT.wrongUsage);
  const { settings, proxy: configured, tls: { insecure, caFile } } = result.value;
  const proxy = proxyFor(settings.gateway, configured, env);
  const name = names.get(file) ?? defaultAgentName(file);
  names.set(file, name);
  return {
    name,
    ...settings,
    ...(proxy !== undefined && { proxy }),
    tls: { insecure, ...(caFile !== undefined && { extraCa: await readCa(caFile) }) },
  };
}

async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(file));
  } catch (cause) {
    throw new CommandError(formatProblem(problemAt({ file }, [], readFault(cause))), EXIT.wrongUsage, {
      cause,
    });
  }
}

function readFault(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "There is no such file; --config names another";
  if (error instanceof Deno.errors.PermissionDenied) return "No permission to read this file";
  return error instanceof TypeError ? "Not UTF-8 text" : `Can't be read: ${messageOf(error)}`;
}
