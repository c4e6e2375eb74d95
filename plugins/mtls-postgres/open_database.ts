import type { Log, PluginFiles } from "../../core/plugin/mod.ts";
import type { AccessDatabase, DatabaseEvents } from "./access.ts";
import { EMBEDDED_FOLDER, type MtlsConfig } from "./config.ts";
import { EmbeddedAccess } from "./embedded_access.ts";
import { openPostgresDatabase } from "./postgres_database.ts";

/** Opens what the config says: PostgreSQL, or PGlite in this worker. */
export async function openDatabase(
  { database }: MtlsConfig,
  files: PluginFiles,
  events: DatabaseEvents,
  log: Log,
): Promise<AccessDatabase> {
  if (database.kind === "embedded") {
    const path = database.seed;
    const seed = path === undefined ? undefined : { path, sql: files[path] ?? "" };
    const embedded = new EmbeddedAccess(EMBEDDED_FOLDER, seed, events, log);
    await embedded.firstTry();
    return embedded;
  }
  const { host, port, user, password, name, tls, poolSize, queryTimeoutMs } = database;
  const ca = tls === "off" || tls.ca === undefined ? undefined : files[tls.ca] ?? "";
  const address = {
    host,
    port,
    user,
    ...(password !== undefined && { password }),
    name,
    tls: tls === "off" ? false : { ...(ca !== undefined && { ca }) },
    poolSize,
    queryTimeoutMs,
    connectTimeoutMs: queryTimeoutMs,
  } as const;
  return openPostgresDatabase(address, events, log);
}
