import { Command } from "commander";
import { expose, type ExposeOptions } from "../expose.ts";
import { addExposeOptions, parseHostname } from "../expose_options.ts";
import { addInspectOption } from "../inspect_option.ts";

/** `postern http`: gives a local HTTP service a public address. */
export function httpCommand(): Command {
  const command = new Command("http")
    .description("exposes a local HTTP service now, until Ctrl-C")
    .argument("<target>", "its port, or http://HOST:PORT, or https://HOST:PORT")
    .option("--name <name>", "what it is called: NAME.DOMAIN (default: a random one)")
    .option("--hostname <name>", "a full host name in place of NAME.DOMAIN", parseHostname);
  return addInspectOption(addExposeOptions(command))
    .addHelpText(
      "after",
      "\nExamples:\n  deno task postern http 3000 --name demo\n  deno task postern http 3000 --inspect",
    )
    .action((target: string, options: ExposeOptions) => expose("http", target, options));
}
