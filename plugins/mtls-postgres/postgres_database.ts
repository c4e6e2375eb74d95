import type pg from "./pg.d.ts";
import type { Log } from "../../core/plugin/mod.ts";
import {
  type AccessDatabase,
  type AccessRequest,
  DatabaseDown,
  type DatabaseEvents,
  type DatabaseState,
  type Verdict,
} from "./access.ts";
import { type DatabaseAddress, DatabaseClients } from "./database_client.ts";
import { DatabaseWatch } from "./database_watch.ts";
import { ACCESS_QUERY, accessValues, isStorable, NO_SUCH_ROW, verdictOf } from "./query.ts";

export type { DatabaseAddress } from "./database_client.ts";

/** Questions that may wait for a connection: at 1 ms a query, four connections answer as many in a quarter second. */
const MAX_WAITING = 1000;

/**
 * Connects in the background, and again whenever the connection is lost. A question takes `connectTimeoutMs` plus
 * `queryTimeoutMs` at most; while the database is known to be down, none at all.
 *
 * @throws TypeError When `address.tls.ca` holds no certificate.
 */
export function openPostgresDatabase(
  address: DatabaseAddress,
  events: DatabaseEvents,
  log: Log,
): AccessDatabase {
  return new PostgresDatabase(new DatabaseClients(address), events, log);
}

class PostgresDatabase implements AccessDatabase {
  readonly #clients: DatabaseClients;
  readonly #pool: pg.Pool;
  readonly #watch: DatabaseWatch;
  #queries = 0;
  #disposal: Promise<void> | undefined;

  constructor(clients: DatabaseClients, events: DatabaseEvents, log: Log) {
    this.#clients = clients;
    this.#watch = new DatabaseWatch(clients, events, log);
    this.#pool = clients.makePool();
    // A connection that nobody uses has ended: without a listener, that would end the worker.
    this.#pool.on("error", () => this.#watch.suspect());
  }

  get state(): DatabaseState {
    return this.#watch.state;
  }

  get queries(): number {
    return this.#queries;
  }

  async decide(request: AccessRequest): Promise<Verdict> {
    if (!isStorable(request)) return NO_SUCH_ROW;
    if (this.#disposal) throw new DatabaseDown("The connection to the database is closed");
    const down = this.#watch.knownDown;
    if (down !== undefined) throw new DatabaseDown(down);
    if (this.#pool.waitingCount >= MAX_WAITING) throw new DatabaseDown("Too many questions at once");
    return verdictOf(await this.#ask(request));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposal ??= this.#close();
  }

  async #ask(request: AccessRequest): Promise<Record<string, unknown>[]> {
    this.#queries++;
    try {
      return (await this.#pool.query({ ...ACCESS_QUERY, values: accessValues(request) })).rows;
    } catch (error) {
      this.#watch.suspect();
      // Without the cause: pg's errors may hold the client, and with it the password.
      throw new DatabaseDown(this.#clients.reasonOf(error));
    }
  }

  async #close(): Promise<void> {
    await Promise.all([this.#watch[Symbol.asyncDispose](), this.#clients.closePool(this.#pool)]);
  }
}
