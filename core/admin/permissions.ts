import { formatHostPort } from "../net/address.ts";
import type { AdminSettings } from "./contract.ts";

/**
 * What the admin worker is started with: listening on its own address, and nothing else. Its code is loaded before
 * the permissions count, so it needs no `read`.
 *
 * Deno takes `host:0` for what it says: leave to listen on a free port, and to dial none.
 */
export function adminPermissions(
  { hostname, port }: Pick<AdminSettings, "hostname" | "port">,
): Deno.PermissionOptionsObject {
  return {
    net: [formatHostPort({ host: hostname, port })],
    read: false,
    write: false,
    env: false,
    run: false,
    sys: false,
    ffi: false,
    import: false,
  };
}
