/** `deno task bench NAME [options]`: runs a bench, prints its tables, and writes its figures to `results/`. */
import { stopPrograms } from "../support/processes.ts";
import { type Bench, UsageError } from "./bench.ts";
import { dashboard } from "./dashboard.ts";
import { l4 } from "./l4.ts";
import { mtls } from "./mtls.ts";
import { pluginRtt } from "./plugin_rtt.ts";
import { tunnel } from "./tunnel.ts";

const BENCHES: readonly Bench[] = [dashboard, l4, mtls, pluginRtt, tunnel];
const RESULTS = new URL("./results/", import.meta.url).pathname;

async function main([name, ...args]: readonly string[]): Promise<number> {
  const bench = BENCHES.find((candidate) => candidate.name === name);
  if (!bench) {
    print(
      Deno.stderr,
      `Usage: deno task bench NAME [options]\n\n${BENCHES.map(({ usage }) => usage).join("\n")}\n`,
    );
    return name === undefined || name === "--help" ? 0 : 1;
  }
  const outcome = await bench.run(args, (line) => print(Deno.stderr, `${line}\n`));
  await Deno.mkdir(RESULTS, { recursive: true });
  const file = `${RESULTS}${bench.name}-${new Date().toISOString().replaceAll(/[:.]/g, "-")}.json`;
  await Deno.writeTextFile(file, JSON.stringify(outcome.json, null, 2) + "\n");
  print(Deno.stdout, `${outcome.text}\n${file}\n`);
  return 0;
}

function print(to: { writeSync(data: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let sent = 0; sent < bytes.length;) sent += to.writeSync(bytes.subarray(sent));
}

/** The peers are processes of their own, which would outlive us. Helpers end with their stdin. */
function endPeersOnSignals(): void {
  for (const [name, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    Deno.addSignalListener(name, () => void stopPrograms().finally(() => Deno.exit(code)));
  }
}

endPeersOnSignals();
try {
  Deno.exit(await main(Deno.args));
} catch (error) {
  if (!(error instanceof UsageError || isBadOption(error))) throw error;
  print(Deno.stderr, `${(error as Error).message}\n`);
  Deno.exit(1);
}

function isBadOption(error: unknown): boolean {
  return error instanceof TypeError && "code" in error && `${error.code}`.startsWith("ERR_PARSE_ARGS");
}
