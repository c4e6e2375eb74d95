import { runCli } from "./cli.ts";
import { endOnUncaught } from "./last_resort.ts";

endOnUncaught();
Deno.exit(await runCli(Deno.args));
