import assert from "node:assert/strict";
import type { AccessDatabase } from "../../../plugins/mtls-postgres/access.ts";
import {
  type DatabaseAddress,
  openPostgresDatabase,
} from "../../../plugins/mtls-postgres/postgres_database.ts";
import { AccessCache } from "../../../plugins/mtls-postgres/access_cache.ts";
import { SCHEMA } from "../../../plugins/mtls-postgres/schema.ts";
import { SILENT_LOG } from "../../../core/log.ts";
import { hasProgram } from "../../support/permissions.ts";
import { type Postgres, psql } from "../../support/postgres.ts";
import { until } from "../../support/until.ts";
import { Events, SEED } from "./access_cases.ts";

/** Whether PostgreSQL is missing here, or may not be started. */
export const WITHOUT_POSTGRES = !["initdb", "postgres", "psql"].every(hasProgram);

let databases = 0;

/** Runs SQL as the superuser, in one of the server's databases. Resolves to the rows. */
export async function sql(server: Postgres, text: string, database = "postgres"): Promise<readonly string[]> {
  const { code, rows, stderr } = await psql(text, { address: server.address, database, sslMode: "disable" });
  assert.equal(code, 0, stderr);
  return rows;
}

/** Makes a database with the schema and the seed. Resolves to its name. */
export async function makeDatabase(server: Postgres, statements = `${SCHEMA}${SEED}`): Promise<string> {
  const name = `access_${++databases}`;
  await sql(server, `CREATE DATABASE ${name}`);
  await sql(server, statements, name);
  return name;
}

/** How the tests reach a database of `server`. */
export function addressOf(
  server: Postgres,
  name: string,
  more: Partial<DatabaseAddress> = {},
): DatabaseAddress {
  const { hostname: host, port } = server.address;
  const times = { queryTimeoutMs: 2000, connectTimeoutMs: 2000, poolSize: 4 };
  return { host, port, user: server.user, name, ...times, ...more };
}

/** An open database with a cache in front of it, as the plugin has them. `await using` closes it. */
export class OpenDatabase extends Events implements AsyncDisposable {
  readonly database: AccessDatabase;
  readonly cache: AccessCache;

  constructor(address: DatabaseAddress, cacheTtlMs: number) {
    super();
    this.database = openPostgresDatabase(address, this, SILENT_LOG);
    this.cache = new AccessCache(this.database, cacheTtlMs);
  }

  override changed(): void {
    super.changed();
    this.cache.invalidate();
  }

  /** Resolves when the database can be asked and changes are told. */
  async listening(): Promise<void> {
    await until(() => this.database.state.up && this.database.state.listening, {
      deadlineMs: 15_000,
      what: () => `the database, which is ${JSON.stringify(this.database.state)}`,
    });
  }

  /** Resolves when the database is known to be down, for this reason. */
  async down(reason: RegExp): Promise<void> {
    await until(() => this.states.some((state) => !state.up && reason.test(state.reason)), {
      deadlineMs: 15_000,
      what: () => `${reason}; it went through ${JSON.stringify(this.states)}`,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.database[Symbol.asyncDispose]();
  }
}

export function openDatabase(address: DatabaseAddress, cacheTtlMs = 60_000): OpenDatabase {
  return new OpenDatabase(address, cacheTtlMs);
}
