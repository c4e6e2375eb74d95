import { EXIT } from "./exit_codes.ts";

/**
 * Ends the process with code 2 when something was thrown that nobody has caught. The runtime would end it with 1, which
 * says that the config is wrong: no service manager starts a gateway again after that.
 */
export function endOnUncaught(): void {
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    end(event.error ?? event.message);
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    end(event.reason);
  });
}

function end(error: unknown): never {
  const text = error instanceof Error ? error.stack ?? error.message : String(error);
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(`postern: Uncaught: ${text}\n`));
  } catch {
    // Nobody reads it. The exit code has to be right all the same.
  }
  Deno.exit(EXIT.couldNotStart);
}
