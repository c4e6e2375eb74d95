import { Command } from "commander";
import { expose, type ExposeOptions } from "../expose.ts";
import { addExposeOptions, parseRemotePort } from "../expose_options.ts";

/** `postern tcp`: gives a local TCP service a public port. */
export function tcpCommand(): Command {
  const command = new Command("tcp")
    .description("exposes a local TCP service now, until Ctrl-C")
    .argument("<target>", "its port, or HOST:PORT")
    .option("--name <name>", "what it is called (default: tcp-PORT)")
    .option("--remote-port <port>", "the public port (default: one of the gateway's)", parseRemotePort);
  return addExposeOptions(command)
    .addHelpText("after", "\nExample:\n  deno task postern tcp 22 --remote-port 30022")
    .action((target: string, options: ExposeOptions) => expose("tcp", target, options));
}
