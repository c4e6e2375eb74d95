import { Command } from "commander";
import { expose, type ExposeOptions } from "../expose.ts";
import { addExposeOptions, parseRemotePort } from "../expose_options.ts";

/** `postern udp`: gives a local UDP service a public port. */
export function udpCommand(): Command {
  const command = new Command("udp")
    .description("exposes a local UDP service now, until Ctrl-C")
    .argument("<target>", "its port, or HOST:PORT")
    .option("--name <name>", "what it is called (default: udp-PORT)")
    .option("--remote-port <port>", "the public port (default: one of the gateway's)", parseRemotePort);
  return addExposeOptions(command)
    .addHelpText("after", "\nExample:\n  deno task postern udp 27015 --remote-port 30015")
    .action((target: string, options: ExposeOptions) => expose("udp", target, options));
}
