/// <reference lib="deno.worker" />
/**
 * Asks a database as the plugin's worker would, with the permissions that whoever starts it gives it. Answers with a
 * verdict, or with the message of an error.
 *
 * @module
 */
import { SILENT_LOG } from "../../../core/log.ts";
import { messageOf } from "../../../core/errors.ts";
import type { AccessDatabase, DatabaseEvents } from "../../../plugins/mtls-postgres/access.ts";
import { openEmbeddedDatabase } from "../../../plugins/mtls-postgres/embedded_database.ts";
import {
  type DatabaseAddress,
  openPostgresDatabase,
} from "../../../plugins/mtls-postgres/postgres_database.ts";
import { ALICE, SEED } from "./access_cases.ts";

const NO_EVENTS: DatabaseEvents = { changed() {}, stateChanged() {} };

self.onmessage = async ({ data }: MessageEvent<DatabaseAddress | string>) => {
  try {
    await using database = await open(data);
    self.postMessage((await database.decide(ALICE)).kind);
  } catch (error) {
    self.postMessage(messageOf(error));
  }
};
self.postMessage("ready");

async function open(where: DatabaseAddress | string): Promise<AccessDatabase> {
  if (typeof where !== "string") return openPostgresDatabase(where, NO_EVENTS, SILENT_LOG);
  const database = await openEmbeddedDatabase(where, NO_EVENTS, SILENT_LOG);
  await database.execute(SEED);
  return database;
}
