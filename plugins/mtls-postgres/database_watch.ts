import type { Log } from "../../core/plugin/mod.ts";
import { DatabaseDown, type DatabaseEvents, type DatabaseState } from "./access.ts";
import type { DatabaseClient, DatabaseClients } from "./database_client.ts";
import { ACCESS_QUERY, accessValues, verdictOf } from "./query.ts";
import { ACCESS_CHANNEL } from "./schema.ts";

/** Wait before another attempt, in milliseconds: it doubles from the first to the last, less up to half by chance. */
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;
/** How often a connection that is told nothing is tried, in milliseconds: a router may have forgotten it. */
const CHECK_INTERVAL_MS = 15_000;

/** Nobody: asked to learn whether the tables can be asked. */
const PROBE = { ...ACCESS_QUERY, values: accessValues({ org: "", user: "", connectId: "" }) };

/**
 * Knows whether the database can be asked, from a connection of its own that also listens for changes, and opens it
 * again whenever it is lost. Alone in deciding on the state: a question that fails makes it look, and no more, so
 * one backend that was ended, or one slow query, doesn't turn everybody away.
 */
export class DatabaseWatch implements AsyncDisposable {
  readonly #clients: DatabaseClients;
  readonly #events: DatabaseEvents;
  readonly #log: Log;
  #state: DatabaseState = { up: false, reason: "Not connected yet" };
  #tried = false;
  #closed = false;
  /** Whether it has been told that this server doesn't let us listen. */
  #warned = false;
  /** Since when the connection has worked, on the clock of `performance.now()`. */
  #upSince = Infinity;
  /** The connection, unless it is being closed. */
  #client: DatabaseClient | undefined;
  /** Ends a pause; there is none while the database is talked to. */
  #resume: (() => void) | undefined;
  readonly #running: Promise<void>;

  constructor(clients: DatabaseClients, events: DatabaseEvents, log: Log) {
    this.#clients = clients;
    this.#events = events;
    this.#log = log;
    this.#running = this.#run();
  }

  get state(): DatabaseState {
    return this.#state;
  }

  /** Why asking is useless, or nothing while it may work: the state is up, or the first attempt isn't over. */
  get knownDown(): string | undefined {
    return this.#tried && !this.#state.up ? this.#state.reason : undefined;
  }

  /** A question got no answer: looks whether that goes for all. */
  suspect(): void {
    if (this.#client) this.#resume?.(); // without one, another attempt is due soon anyway
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    if (this.#resume) this.#resume();
    else this.#client?.cut();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let wait = 0; !this.#closed;) {
      this.#upSince = Infinity;
      const failure = await this.#session();
      if (this.#closed) return;
      this.#set(failure === undefined ? { up: true, listening: false } : { up: false, reason: failure });
      // A connection that held is opened again at once, one that keeps breaking is not.
      const held = performance.now() - this.#upSince > LAST_RETRY_MS;
      wait = held ? 0 : Math.min(Math.max(wait * 2, FIRST_RETRY_MS), LAST_RETRY_MS);
      await this.#pause(wait * (1 - Math.random() / 2));
    }
  }

  /**
   * One connection, from opening it until it is of no use any more.
   *
   * @returns Why the database can't be asked; nothing when a connection that worked was lost, which says little: an
   * administrator may have ended this one.
   */
  async #session(): Promise<string | undefined> {
    const client = this.#client = this.#clients.make();
    try {
      await this.#use(client);
      return undefined;
    } catch (error) {
      return error instanceof DatabaseDown ? error.message : this.#clients.reasonOf(error);
    } finally {
      this.#client = undefined;
      await this.#clients.close(client);
    }
  }

  async #use(client: DatabaseClient): Promise<void> {
    let lost = false;
    const end = () => {
      lost = true;
      if (this.#client === client) this.#resume?.();
    };
    client.on("error", end);
    client.on("end", end);
    client.on("notification", ({ channel }) => {
      if (channel === ACCESS_CHANNEL) this.#events.changed();
    });
    await client.connect();
    for (let listening = false; !lost && !this.#closed;) {
      listening ||= await this.#listen(client);
      verdictOf((await client.query(PROBE)).rows);
      this.#upSince = Math.min(this.#upSince, performance.now());
      this.#set({ up: true, listening });
      if (!lost) await this.#pause(CHECK_INTERVAL_MS);
    }
  }

  /** @returns Whether changes will be told. A hot standby doesn't: what is remembered is then good for its time. */
  async #listen(client: DatabaseClient): Promise<boolean> {
    try {
      await client.query(`LISTEN ${ACCESS_CHANNEL}`);
    } catch (error) {
      if (!this.#warned) this.#log.warn("database_not_listening", { reason: this.#clients.reasonOf(error) });
      this.#warned = true;
      return false;
    }
    this.#warned = false;
    this.#events.changed(); // who knows what was missed
    return true;
  }

  #set(state: DatabaseState): void {
    this.#tried = true;
    if (isSame(state, this.#state)) return;
    this.#state = state;
    if (state.up) this.#log.info("database_up", { listening: state.listening });
    else this.#log.error("database_down", { reason: state.reason });
    this.#events.stateChanged(state);
  }

  /** Resolves after `ms`, or earlier when it is woken. */
  async #pause(ms: number): Promise<void> {
    if (this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#resume = resolve;
    await promise;
    this.#resume = undefined;
    clearTimeout(timer);
  }
}

function isSame(a: DatabaseState, b: DatabaseState): boolean {
  if (a.up) return b.up && a.listening === b.listening;
  return !b.up && a.reason === b.reason;
}
