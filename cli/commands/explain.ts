import { Command, InvalidArgumentError, Option } from "commander";
import { fetchRoutes } from "../admin_client.ts";
import { findAdminTarget } from "../admin_target.ts";
import { addConfigOptions, configFile, type ConfigOptions, prepareOptions } from "../config_options.ts";
import { explain, type Explained } from "../explain/explanation.ts";
import { explainLive } from "../explain/live.ts";
import { type AskedProtocol, parseQuestion, type Question } from "../explain/question.ts";
import { print } from "../print.ts";
import { plain } from "../render_status.ts";

interface ExplainOptions extends ConfigOptions {
  readonly port?: number;
  readonly protocol: AskedProtocol;
  readonly live?: boolean;
  readonly admin?: string;
  readonly token?: string;
  readonly json?: boolean;
}

/** `postern explain HOST`: what the gateway would do with a connection, without making one. */
export function explainCommand(): Command {
  return addConfigOptions(new Command("explain"))
    .description("says what the gateway would do with a connection for this name, step by step")
    .argument(
      "<host>",
      "the name that the client asks for; HOST:PORT, or :PORT for a client that asks for none",
    )
    .option("--port <port>", "the port that it connects to (default: the first listener's)", parsePort)
    .addOption(
      new Option("--protocol <protocol>", "what it speaks").choices(["tls", "postgres", "http", "ssh"])
        .default("tls"),
    )
    .option("--live", "asks the gateway that runs, too: who has the name now, and how its targets are")
    .option("--admin <url>", "with --live: its admin address (default: the config's)")
    .option("--token <token>", "with --live: its admin token; better in POSTERN_ADMIN_TOKEN")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  deno task postern explain db.example.com --protocol postgres")
    .action(async (host: string, options: ExplainOptions) => {
      const question = parseQuestion(host, options.port, options.protocol);
      const file = await configFile(options);
      const explained = await explain(question, await prepareOptions(options, file), file);
      const steps = [...explained.steps, ...options.live ? await askLive(question, options) : []];
      print(options.json ? toJson(question, { ...explained, steps }) : render({ ...explained, steps }));
    });
}

async function askLive(question: Question, options: ExplainOptions) {
  const target = await findAdminTarget(options, (name) => Deno.env.get(name));
  return explainLive(question, await fetchRoutes(target, new AbortController().signal));
}

/** What a running gateway says has words of strangers in it. */
function render({ asked, steps, result }: Explained): string {
  const lines = [asked, ...steps.map(({ by, says }) => `${by}: ${says}`), `= ${result}`];
  return lines.map((line) => plain(line) + "\n").join("");
}

function toJson(question: Question, { steps, result }: Explained): string {
  const shown = steps.map(({ by, says }) => ({ by: plain(by), says: plain(says) }));
  return JSON.stringify({ ...question, steps: shown, result: plain(result) }, null, 2) + "\n";
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new InvalidArgumentError("Expected a port from 1 to 65535.");
  }
  return port;
}
