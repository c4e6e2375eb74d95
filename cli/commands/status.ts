import { delay } from "../../core/delay.ts";
import { Command } from "commander";
import { fetchStatus } from "../admin_client.ts";
import { type AdminOptions, type AdminSection, findAdminTarget } from "../admin_target.ts";
import { CommandError } from "../command_error.ts";
import { EXIT } from "../exit_codes.ts";
import { print } from "../print.ts";
import { renderStatus } from "../render_status.ts";

export { renderStatus };

/** What a test puts in place of the real thing. */
export interface StatusSeams {
  /** The admin section of the config, for what the options do not say. Throws `CommandError`. */
  readonly adminConfig?: (config: string | undefined) => Promise<AdminSection>;
  readonly env?: (name: string) => string | undefined;
  readonly write?: (text: string) => void;
  /** Calls `stop` when the user has seen enough; gives back what undoes that. */
  readonly onInterrupt?: (stop: () => void) => () => void;
  /** Between two looks. @default 1000 */
  readonly intervalMs?: number;
}

/** The options as commander gives them. */
interface StatusOptions extends AdminOptions {
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** Cursor to the top left, then what is below it cleared: no flicker, and the scrollback stays as it was. */
const REDRAW = "\x1b[H\x1b[J";

/** `postern status`: what a running gateway does, once or every second. */
export function statusCommand(seams: StatusSeams = {}): Command {
  const { write = print, env = (name) => Deno.env.get(name) } = seams;
  return new Command("status")
    .description("plugins, connections and refusals of a running gateway")
    .option("-c, --config <file>", "where its admin.address and admin.token stand (default: as the gateway)")
    .option("--admin <url>", "its admin address; the config is not read then")
    .option("--token <token>", "its admin token; better in POSTERN_ADMIN_TOKEN, where no other user sees it")
    .option("--json", "as JSON; with --watch one line each second")
    .option("--watch", "again every second, until Ctrl-C")
    .addHelpText("after", "\nExample:\n  deno task postern status --admin 127.0.0.1:9090 --watch")
    .action(async (options: StatusOptions) => {
      const target = await findAdminTarget(options, env, seams.adminConfig);
      if (!options.watch) {
        const status = await fetchStatus(target, new AbortController().signal);
        write(options.json ? toJson(status, 2) : renderStatus(status));
        return;
      }
      let seen = false;
      await everySecond(async (signal) => {
        try {
          const status = await fetchStatus(target, signal);
          write(options.json ? toJson(status) : REDRAW + renderStatus(status));
          seen = true;
        } catch (error) {
          // Who watches a gateway being restarted wants to see it come back.
          if (!seen || options.json || !isAway(error)) throw error;
          write(`${REDRAW}${error.message}\n`);
        }
      }, seams);
    });
}

/** One value, and nothing in it that a terminal would obey: `JSON.stringify` escapes only what is below a space. */
function toJson(value: unknown, indent?: number): string {
  const escaped = (character: string) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0");
  return JSON.stringify(value, null, indent).replaceAll(/[\u007f-\u009f]/g, escaped) + "\n";
}

function isAway(error: unknown): error is CommandError {
  return error instanceof CommandError && error.exitCode === EXIT.couldNotStart;
}

/** Looks again and again until the user interrupts, which is how one ends it: no error. */
async function everySecond(look: (signal: AbortSignal) => Promise<void>, seams: StatusSeams): Promise<void> {
  const { onInterrupt = onSigint, intervalMs = 1_000 } = seams;
  const ended = new AbortController();
  const forget = onInterrupt(() => ended.abort());
  try {
    while (!ended.signal.aborted) {
      await look(ended.signal);
      await delay(intervalMs, ended.signal);
    }
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  } finally {
    forget();
  }
}

function onSigint(stop: () => void): () => void {
  Deno.addSignalListener("SIGINT", stop);
  return () => Deno.removeSignalListener("SIGINT", stop);
}
