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
/** How long to wait for the first try, in milliseconds: a plugin may take 20 s to start. */
const FIRST_TRY_MS = 15_000;

/** What fills the tables: SQL, and the file that it stands in. */
export interface Seed {
  readonly path: string;
  readonly sql: string;
}

/** The embedded database, which is opened in the background, and tried again. Until it is there, nobody gets in. */
export class EmbeddedAccess implements AccessDatabase {
  readonly #folder: string;
  readonly #seed: Seed | undefined;
  readonly #events: DatabaseEvents;
  readonly #log: Log;
  readonly #opening: Promise<void>;
  readonly #tried = Promise.withResolvers<void>();
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

  /**
   * Waits for the first try to be over, though not for ever: PGlite keeps the worker from everything else for seconds,
   * and whoever believed that it was ready would take it for dead.
   */
  async firstTry(): Promise<void> {
    await within(FIRST_TRY_MS, this.#tried.promise);
  }

  get state(): DatabaseState {
    if (this.#isClosed) return { up: false, reason: "The embedded database is closed" };
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
        this.#tried.resolve();
        return;
      } catch (error) {
        const reason = messageOf(error);
        if (reason !== this.#reason) this.#log.error("embedded_database_failed", { reason });
        this.#reason = reason;
        this.#events.stateChanged(this.state);
        this.#tried.resolve();
        await within(RETRY_MS, this.#closing.promise);
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
}

/** Resolves when `over` does, or when the time is over. */
async function within(ms: number, over: Promise<void>): Promise<void> {
  let timer;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([late, over]);
  clearTimeout(timer);
}
