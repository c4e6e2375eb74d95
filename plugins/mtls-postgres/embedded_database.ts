import type { PGlite } from "@electric-sql/pglite";
import { type Log, messageOf } from "../../core/plugin/mod.ts";
import {
  type AccessDatabase,
  type AccessRequest,
  DatabaseDown,
  type DatabaseEvents,
  type DatabaseState,
  type Verdict,
} from "./access.ts";
import { ACCESS_QUERY, accessValues, isStorable, NO_SUCH_ROW, verdictOf } from "./query.ts";
import { ACCESS_CHANNEL, SCHEMA } from "./schema.ts";

/** Questions that may wait: they are answered one by one, in about a quarter of a millisecond each. */
const MAX_WAITING = 1000;

/** PostgreSQL within this worker, for trying the plugin out: it takes some 500 MB of memory. */
export interface EmbeddedDatabase extends AccessDatabase {
  /**
   * Runs SQL of the operator's, such as what fills the tables.
   *
   * @throws {Error} What PostgreSQL says is wrong with it.
   */
  execute(sql: string): Promise<void>;
}

/**
 * Opens the database whose files are in `folder`, and makes it, with its tables, when there is none. Needs to read
 * and write that folder and nothing else. The first time takes seconds.
 *
 * @throws {DatabaseDown} It cannot be opened: no permission, or somebody else has it open.
 */
export async function openEmbeddedDatabase(
  folder: string,
  events: DatabaseEvents,
  log: Log,
): Promise<EmbeddedDatabase> {
  const began = performance.now();
  try {
    await using stack = new AsyncDisposableStack();
    stack.use(await lockFolder(folder));
    const engine = stack.adopt(await startEngine(`${folder}/data`), (engine) => engine.close());
    await engine.exec(SCHEMA);
    await engine.listen(ACCESS_CHANNEL, () => events.changed());
    log.info("embedded_database_opened", { folder, ms: Math.round(performance.now() - began) });
    return new RunningEmbeddedDatabase(engine, events, stack.move());
  } catch (error) {
    throw new DatabaseDown(`Cannot open the embedded database in "${folder}": ${messageOf(error)}`);
  }
}

class RunningEmbeddedDatabase implements EmbeddedDatabase {
  readonly #engine: PGlite;
  readonly #events: DatabaseEvents;
  readonly #owned: AsyncDisposableStack;
  #state: DatabaseState = { up: true, listening: true };
  #queries = 0;
  #waiting = 0;
  #disposal: Promise<void> | undefined;

  constructor(engine: PGlite, events: DatabaseEvents, owned: AsyncDisposableStack) {
    this.#engine = engine;
    this.#events = events;
    this.#owned = owned;
  }

  get state(): DatabaseState {
    return this.#state;
  }

  get queries(): number {
    return this.#queries;
  }

  async decide(request: AccessRequest): Promise<Verdict> {
    if (!isStorable(request)) return NO_SUCH_ROW;
    if (this.#disposal) throw new DatabaseDown("The embedded database is closed");
    if (this.#waiting >= MAX_WAITING) throw new DatabaseDown("Too many questions at once");
    this.#waiting++;
    try {
      return verdictOf(await this.#ask(request));
    } finally {
      this.#waiting--;
    }
  }

  async execute(sql: string): Promise<void> {
    await this.#engine.exec(sql);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposal ??= this.#owned.disposeAsync();
  }

  async #ask(request: AccessRequest): Promise<Record<string, unknown>[]> {
    this.#queries++;
    try {
      const { rows } = await this.#engine.query<Record<string, unknown>>(
        ACCESS_QUERY.text,
        accessValues(request),
      );
      if (!this.#state.up) this.#set({ up: true, listening: true });
      return rows;
    } catch (error) {
      const reason = messageOf(error);
      this.#set({ up: false, reason });
      throw new DatabaseDown(reason);
    }
  }

  #set(state: DatabaseState): void {
    this.#state = state;
    this.#events.stateChanged(state);
  }
}

/** Two engines on the same files would destroy them, and PGlite doesn't look. The system ends the lock with us. */
async function lockFolder(folder: string): Promise<Disposable> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.chmod(folder, 0o700); // PGlite's files are open to everybody, and they say who gets in
  const file = await Deno.open(`${folder}/lock`, { create: true, write: true });
  if (await file.tryLock(true)) return file;
  file.close();
  throw new Error("another process has it open");
}

/**
 * Loads PGlite, here and not before: it has 15 MB of code and data. They are imported, not read, because a package
 * may be imported without any permission.
 */
async function startEngine(dataFolder: string): Promise<PGlite> {
  const [{ PGlite }, server, initdb, files] = await Promise.all([
    import("@electric-sql/pglite"),
    import("@electric-sql/pglite/pglite.wasm", { with: { type: "bytes" } }),
    import("@electric-sql/pglite/initdb.wasm", { with: { type: "bytes" } }),
    import("@electric-sql/pglite/pglite.data", { with: { type: "bytes" } }),
  ]);
  return await PGlite.create(dataFolder, {
    pgliteWasmModule: await WebAssembly.compile(server.default),
    initdbWasmModule: await WebAssembly.compile(initdb.default),
    fsBundle: new Blob([files.default]),
  });
}
