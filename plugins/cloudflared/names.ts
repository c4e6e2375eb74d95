import { type ConnectionInfo, NameTable, parseNamePattern } from "../../core/plugin/mod.ts";
import type { CloudflaredConfig } from "./config.ts";
import { parseHostNameTemplate } from "./host_name.ts";

/** What a config makes of the names that clients ask for. */
export interface Naming {
  /** The pattern that a server name falls under, in canonical form; nothing when none is for it. */
  patternFor(serverName: string): string | undefined;
  /** The host name of its tunnel; nothing when it is too long for one. */
  hostNameFor(serverName: string): string | undefined;
}

export function namingOf({ names, hostname }: CloudflaredConfig): Naming {
  const table = new NameTable<string>();
  for (const pattern of names.map(parseNamePattern)) table.add(pattern, pattern.text);
  const { hostNameFor } = parseHostNameTemplate(hostname);
  return { hostNameFor, patternFor: (serverName) => table.lookup(serverName) };
}

/** The name of a connection that can be passed on as it is: with TLS, also behind PostgreSQL's SSLRequest. */
export function serverNameOf({ tls }: ConnectionInfo): string | undefined {
  return tls?.serverName;
}
