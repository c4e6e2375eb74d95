import type { Log, PluginFiles } from "../../core/plugin/mod.ts";
import type { AccessDatabase, AccessRequest, DatabaseEvents, Verdict } from "./access.ts";
import { AccessCache } from "./access_cache.ts";
import type { Clock } from "./clock.ts";
import type { MtlsConfig } from "./config.ts";

/** Opens the database of a config. Whoever calls it closes what it opens. */
export type OpenDatabase = (
  config: MtlsConfig,
  files: PluginFiles,
  events: DatabaseEvents,
  log: Log,
) => AccessDatabase | Promise<AccessDatabase>;

/** The database with what is remembered of it, and what was counted; it outlives both when a reload replaces them. */
export class AccessSource implements AsyncDisposable {
  readonly #open: OpenDatabase;
  readonly #events: DatabaseEvents;
  readonly #log: Log;
  readonly #now: () => number;
  #database: AccessDatabase;
  #cache: AccessCache;
  /** What the database and the cache before these have counted. */
  #before = { queries: 0, hits: 0, misses: 0 };
  #key: string;

  private constructor(
    open: OpenDatabase,
    events: DatabaseEvents,
    log: Log,
    clock: Clock,
    initial: { readonly database: AccessDatabase; readonly ttlMs: number; readonly key: string },
  ) {
    this.#open = open;
    this.#events = events;
    this.#log = log;
    this.#now = clock.monotonic;
    this.#database = initial.database;
    this.#key = initial.key;
    this.#cache = new AccessCache(initial.database, initial.ttlMs, { now: this.#now });
  }

  /** @param events Told after what is remembered was forgotten. */
  static async open(
    config: MtlsConfig,
    files: PluginFiles,
    open: OpenDatabase,
    { events, log, clock }: { readonly events: DatabaseEvents; readonly log: Log; readonly clock: Clock },
  ): Promise<AccessSource> {
    let source: AccessSource | undefined;
    const forgetting: DatabaseEvents = {
      changed() {
        source?.forget();
        events.changed();
      },
      stateChanged(state) {
        // From now on nobody tells when an answer is no longer right.
        if (!state.up || !state.listening) source?.forget();
        events.stateChanged(state);
      },
    };
    const database = await open(config, files, forgetting, log);
    const initial = { database, ttlMs: config.cacheTtlMs, key: keyOf(config, files) };
    return source = new AccessSource(open, forgetting, log, clock, initial);
  }

  /** For those who must not be answered from memory. */
  get database(): AccessDatabase {
    return this.#database;
  }

  get queries(): number {
    return this.#before.queries + this.#database.queries;
  }

  get hits(): number {
    return this.#before.hits + this.#cache.hits;
  }

  get misses(): number {
    return this.#before.misses + this.#cache.misses;
  }

  /** @throws {DatabaseDown} `answer` rejects with it: nobody gets in. */
  decide(request: AccessRequest): { readonly answer: Promise<Verdict>; readonly cached: boolean } {
    const { hits } = this.#cache;
    const answer = this.#cache.decide(request);
    return { answer, cached: this.#cache.hits > hits };
  }

  forget(): void {
    this.#cache.invalidate();
  }

  /** Takes another config. The database stays open unless how to reach it has changed. */
  async reload(config: MtlsConfig, files: PluginFiles): Promise<void> {
    const key = keyOf(config, files);
    const old = this.#database;
    if (key !== this.#key && config.database.kind === "embedded") await old[Symbol.asyncDispose](); // it locks its folder
    const database = key === this.#key ? old : await this.#open(config, files, this.#events, this.#log);
    this.#before = {
      queries: this.#before.queries + (database === old ? 0 : old.queries),
      hits: this.hits,
      misses: this.misses,
    };
    this.#key = key;
    this.#database = database;
    this.#cache = new AccessCache(database, config.cacheTtlMs, { now: this.#now });
    if (database === old) return;
    this.#events.changed();
    await old[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#database[Symbol.asyncDispose]();
  }
}

/** Equal for databases that are reached in the same way. Holds a password: never to be shown. */
function keyOf({ database }: MtlsConfig, files: PluginFiles): string {
  const tls = database.kind === "postgres" && database.tls !== "off" ? database.tls.ca : undefined;
  const file = database.kind === "embedded" ? database.seed : tls;
  return JSON.stringify([database, file === undefined ? null : files[file]]);
}
