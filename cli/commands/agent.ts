import { Command } from "commander";
import { CommandError } from "../command_error.ts";
import { EXIT } from "../exit_codes.ts";

/** `postern agent`: has its place, and says that there are no tunnels yet. */
export function agentCommand(): Command {
  return new Command("agent")
    .description("runs an agent that exposes local services through a gateway (not in this version)")
    .option("-c, --config <file>", "the agent's config", "agent.yaml")
    .addHelpText("after", "\nExample:\n  deno task agent --config agent.yaml")
    .action(() => {
      const message = "This version has no tunnels yet, so there is nothing for an agent to connect to";
      throw new CommandError(message, EXIT.couldNotStart);
    });
}
