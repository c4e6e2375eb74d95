import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { granted } from "../../support/permissions.ts";
import { denoEnvironment, runOrThrow } from "../../support/processes.ts";

const program = fileURLToPath(new URL("../../testdata/give_up.ts", import.meta.url));
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** Gives up in a process of its own: it is not to be undone. */
async function giveUp(pluginHas: Record<string, unknown>): Promise<Record<string, unknown>> {
  const args = ["run", "--no-prompt", "--no-check", "-A", program, JSON.stringify(pluginHas)];
  const { stdout } = await runOrThrow(Deno.execPath(), { args, env: denoEnvironment() });
  return JSON.parse(stdout);
}

Deno.test({
  name:
    "giveUpPermissions() leaves what the supervisor needs, and nothing else, when no plugin is granted anything",
  ignore,
  async fn() {
    assert.deepEqual(await giveUp({}), {
      gaveUp: ["write", "run", "sys", "ffi", "import"],
      states: {
        net: "granted",
        read: "granted",
        env: "granted",
        write: "prompt",
        run: "prompt",
        sys: "prompt",
        ffi: "prompt",
        import: "prompt",
      },
      ran: "NotCapable",
      plane: true,
      plugin: true,
      runner: false,
    });
  },
});

Deno.test({
  name: "giveUpPermissions() keeps the kinds that a plugin's worker needs when it is started anew",
  ignore,
  async fn() {
    const { gaveUp, ran, plane, plugin } = await giveUp({ run: ["/bin/true"], write: ["/tmp/postern"] });
    assert.deepEqual([gaveUp, ran, plane, plugin], [["sys", "ffi", "import"], true, true, true]);
  },
});
