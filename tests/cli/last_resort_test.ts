import assert from "node:assert/strict";
import { EXIT } from "../../cli/exit_codes.ts";
import { granted } from "../support/permissions.ts";
import { denoEnvironment, run } from "../support/processes.ts";

const MODULE = new URL("../../cli/last_resort.ts", import.meta.url).href;

for (
  const [what, code] of [
    ["a rejection", "Promise.reject(new TypeError('a bug'));"],
    ["an error in a callback", "setTimeout(() => { throw new TypeError('a bug'); });"],
  ] as const
) {
  Deno.test({
    name: `${what} that nobody catches ends the process with 2, and with a stack`,
    ignore: !granted("read", "env", "run"),
    async fn() {
      const program =
        `import { endOnUncaught } from "${MODULE}"; endOnUncaught(); ${code} setTimeout(() => {}, 60_000);`;
      const args = ["eval", "--no-check", program];
      const ended = await run(Deno.execPath(), { args, env: denoEnvironment() });
      assert.deepEqual([ended.code, ended.stdout], [EXIT.couldNotStart, ""]);
      assert.match(ended.stderr, /^postern: Uncaught: TypeError: a bug\n +at /);
    },
  });

  Deno.test({
    name: `${what} that nobody catches ends the process with 2, also when nobody reads of it`,
    ignore: !granted("read", "env", "run") || Deno.build.os !== "linux",
    async fn() {
      const program =
        `import { endOnUncaught } from "${MODULE}"; endOnUncaught(); ${code} setTimeout(() => {}, 60_000);`;
      const args = ["-c", 'exec "$0" eval --no-check "$1" 2>/dev/full', Deno.execPath(), program];
      assert.equal((await run("sh", { args, env: denoEnvironment() })).code, EXIT.couldNotStart);
    },
  });
}
