import { resolve } from "node:path";
import { NO_PERMISSIONS, type WorkerPermissions } from "../config/permissions.ts";
import type { AcmeConfig } from "../config/config.ts";

/**
 * What the worker that asks for certificates is started with: the directory's host, the webhook's, and the folder of
 * the cache. Its code is loaded before the permissions count.
 */
export function acmePermissions(
  { directory, dns01, cache }: Pick<AcmeConfig, "directory" | "dns01" | "cache">,
): WorkerPermissions {
  const hosts = [directory, ...(dns01 ? [dns01.webhook] : [])].map(hostPortOf);
  const folder = resolve(cache);
  return { ...NO_PERMISSIONS, net: [...new Set(hosts)], read: [folder], write: [folder] };
}

function hostPortOf(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port || (protocol === "http:" ? 80 : 443)}`;
}
