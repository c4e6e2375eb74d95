import { type Log, messageOf } from "../../core/plugin/mod.ts";
import {
  type AccessDatabase,
  type AccessRequest,
  DatabaseDown,
  type DatabaseEvents,
  type DatabaseState,
  type Verdict,
} from "./access.ts";
import { type EmbeddedDatabase, openEmbeddedDatabase } from "./embedded_database.ts";

/** How long to wait before another try, in milliseconds: somebody else may still have the folder open. */
const RETRY_MS = 3000;

/** What fills the tables: SQL, and the file that it stands in. */
export interface Seed {
  readonly path: string;
  readonly sql: string;
}

/**
 * The embedded database, which takes seconds to start: longer than a plugin may on a busy machine. Until it is there,
 * nobody gets in.
 */
export class EmbeddedAccess implements AccessDatabase {
  readonly #folder: string;
  readonly #seed: Seed | undefined;
  readonly #events: DatabaseEvents;
  readonly #log: Log;
  readonly #opening: Promise<void>;
  readonly #closing = Promise.withResolvers<void>();
  #isClosed = false;
  #database: EmbeddedDatabase | undefined;
  #reason = "PGlite is starting";

  /** @param seed Run at every start. */
  constructor(folder: string, seed: Seed | undefined, events: DatabaseEvents, log: Log) {
    this.#folder = folder;
    this.#seed = seed;
    this.#events = events;
    this.#log = log;
    this.#opening = this.#open();
  }

  get state(): DatabaseState {
    return this.#database?.state ?? { up: false, reason: this.#reason };
  }

  get queries(): number {
    return this.#database?.queries ?? 0;
  }

  async decide(request: AccessRequest): Promise<Verdict> {
    if (this.#database === undefined) throw new DatabaseDown(this.#reason);
    return await this.#database.decide(request);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#closing.resolve();
    await this.#opening;
    await this.#database?.[Symbol.asyncDispose]();
  }

  /** Never rejects. */
  async #open(): Promise<void> {
    while (!this.#isClosed) {
      try {
        const database = await this.#openSeeded();
        this.#database = database;
        this.#events.changed();
        this.#events.stateChanged(database.state);
        return;
      } catch (error) {
        const reason = messageOf(error);
        if (reason !== this.#reason) this.#log.error("embedded_database_failed", { reason });
        this.#reason = reason;
        this.#events.stateChanged(this.state);
        await this.#pause();
      }
    }
  }

  async #openSeeded(): Promise<EmbeddedDatabase> {
    const database = await openEmbeddedDatabase(this.#folder, this.#events, this.#log);
    if (this.#seed === undefined) return database;
    try {
      await database.execute(this.#seed.sql);
      return database;
    } catch (error) {
      await database[Symbol.asyncDispose]();
      throw new DatabaseDown(`"${this.#seed.path}": ${messageOf(error)}`);
    }
  }

  async #pause(): Promise<void> {
    let timer;
    const waited = new Promise<void>((resolve) => timer = setTimeout(resolve, RETRY_MS));
    await Promise.race([waited, this.#closing.promise]);
    clearTimeout(timer);
  }
}
