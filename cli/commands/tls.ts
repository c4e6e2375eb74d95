import { Command } from "commander";
import { expose, type ExposeOptions } from "../expose.ts";
import { addExposeOptions, parseHostname } from "../expose_options.ts";

/** `postern tls`: gives a local service that speaks TLS itself a public name. */
export function tlsCommand(): Command {
  const command = new Command("tls")
    .description(
      "exposes a local service that speaks TLS itself, until Ctrl-C; the gateway sees no plaintext",
    )
    .argument("<target>", "its port, or HOST:PORT")
    .option("--name <name>", "what it is called: NAME.DOMAIN (default: a random one)")
    .option("--hostname <name>", "a full host name in place of NAME.DOMAIN", parseHostname);
  return addExposeOptions(command)
    .addHelpText("after", "\nExample:\n  deno task postern tls 5432 --name db")
    .action((target: string, options: ExposeOptions) => expose("tls", target, options));
}
