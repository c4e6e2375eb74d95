import { NO_PERMISSIONS, PERMISSION_KINDS } from "../../core/config/permissions.ts";
import { giveUpPermissions } from "../../core/supervisor/give_up.ts";
import type { CheckedPlugin } from "../../core/supervisor/plugins.ts";

/** Gives up what is not in the first argument, and prints what is left, and what a worker may have then. */
const kept = JSON.parse(Deno.args[0] ?? "{}");
const plugin = { permissions: { ...NO_PERMISSIONS, ...kept } } as CheckedPlugin;

function startsWith(permissions: Record<string, unknown>): boolean {
  try {
    const options = { type: "module" as const, deno: { permissions: { ...NO_PERMISSIONS, ...permissions } } };
    new Worker("data:application/javascript,", options).terminate();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return false;
    throw error;
  }
}

const gaveUp = await giveUpPermissions([plugin]);
const states = PERMISSION_KINDS.map((name) =>
  [name, Deno.permissions.querySync({ name } as Deno.PermissionDescriptor).state] as const
);
const ran = await (async () => (await new Deno.Command("/bin/true").output()).success)().catch(({ name }) =>
  name
);
const result = JSON.stringify({
  gaveUp,
  states: Object.fromEntries(states),
  ran,
  plane: startsWith({ net: true, read: ["/tmp"] }),
  plugin: startsWith(kept),
  runner: startsWith({ run: ["/bin/true"] }),
});
Deno.stdout.writeSync(new TextEncoder().encode(result));
