import { Command, CommanderError } from "commander";
import { type FaultCode, GatewayError, messageOf } from "../core/errors.ts";
import { VERSION } from "../core/version.ts";
import { CommandError } from "./command_error.ts";
import { accessCommand } from "./commands/access.ts";
import { agentCommand } from "./commands/agent.ts";
import { checkCommand } from "./commands/check.ts";
import { completionsCommand } from "./commands/completions.ts";
import { explainCommand } from "./commands/explain.ts";
import { gatewayCommand } from "./commands/gateway.ts";
import { httpCommand } from "./commands/http.ts";
import { statusCommand } from "./commands/status.ts";
import { tcpCommand } from "./commands/tcp.ts";
import { tlsCommand } from "./commands/tls.ts";
import { tokenCommand } from "./commands/token.ts";
import { udpCommand } from "./commands/udp.ts";
import { EXIT } from "./exit_codes.ts";

/**
 * Runs one command line.
 *
 * @param args Without the program's own name.
 * @returns The exit code; errors have been told on standard error by then, one line each.
 */
export async function runCli(args: readonly string[]): Promise<number> {
  const program = createProgram();
  for (const command of [program, ...program.commands.flatMap(withSubcommands)]) {
    command.exitOverride().configureOutput({ writeErr: (text) => writeError(text) });
  }
  try {
    await program.parseAsync([...args], { from: "user" });
    return EXIT.fine;
  } catch (error) {
    return tell(error);
  }
}

/** `postern` with all its commands, as the command line is parsed by, described by `--help`, and completed by shells. */
export function createProgram(): Command {
  return new Command("postern")
    .description(
      "Brings public connections to private services: TLS, PostgreSQL, SSH and HTTP, routed by name.",
    )
    .version(VERSION)
    .addCommand(gatewayCommand())
    .addCommand(checkCommand())
    .addCommand(explainCommand())
    .addCommand(statusCommand())
    .addCommand(agentCommand())
    .addCommand(httpCommand())
    .addCommand(tcpCommand())
    .addCommand(udpCommand())
    .addCommand(tlsCommand())
    .addCommand(accessCommand())
    .addCommand(tokenCommand())
    .addCommand(completionsCommand())
    .addHelpText(
      "after",
      "\nExamples:\n  deno task postern gateway\n  deno task postern http 3000 --name demo\n  deno task postern http --help",
    )
    .showHelpAfterError("(postern --help shows the commands)");
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** Says what is wrong, and gives the exit code that goes with it. */
function tell(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.fine : EXIT.wrongUsage;
  if (error instanceof CommandError) {
    if (error.message !== "") writeError(error.message.replaceAll(/^/gm, "postern: ") + "\n");
    return error.exitCode;
  }
  writeError(`postern: ${messageOf(error)}\n`);
  return error instanceof GatewayError && WRONG_CONFIG.has(error.code) ? EXIT.wrongUsage : EXIT.couldNotStart;
}

/** What the user puts right in the config, or in the files that it names. */
const WRONG_CONFIG: ReadonlySet<FaultCode> = new Set(["config-invalid", "certificate-invalid"]);

function writeError(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  } catch {
    // Nobody reads it. The exit code has to be right all the same.
  }
}
