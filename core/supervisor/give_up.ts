import { PERMISSION_KINDS, type PermissionKind, type WorkerPermissions } from "../config/permissions.ts";

/**
 * What the supervisor goes on needing: code, config and certificates are read again, the config names variables, and
 * a worker that is started anew gets its network from here.
 */
const OWN: readonly PermissionKind[] = ["read", "env", "net"];

/**
 * Ends, for this thread and whatever it starts from now on, every kind of permission that no worker was granted. A
 * reload grants nothing new, so nothing of it is ever needed again. Not to be undone: for the gateway's own process.
 *
 * @param workers Those with grants of their own: isolated plugins, and who asks for certificates.
 * @returns What was given up.
 */
export async function giveUpPermissions(
  workers: readonly { readonly permissions: WorkerPermissions }[],
): Promise<PermissionKind[]> {
  const unneeded = PERMISSION_KINDS.filter((kind) =>
    !OWN.includes(kind) && workers.every(({ permissions }) => permissions[kind] === false)
  );
  // A whole kind each time: of one that was granted in full, the runtime takes back no part.
  for (const name of unneeded) await Deno.permissions.revoke({ name } as Deno.PermissionDescriptor);
  return unneeded;
}
