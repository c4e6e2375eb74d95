import { type ConnectionId, type Log, messageOf } from "../../core/plugin/mod.ts";
import { type AccessDatabase, DatabaseDown, type Verdict } from "./access.ts";
import type { Clock } from "./clock.ts";
import { type Group, type OpenConnection, OpenConnections } from "./open_connections.ts";
import type { Ending } from "./outcome.ts";
import { Rechecks } from "./rechecks.ts";

/** Why somebody who was let in has to go. */
export interface Verdicted {
  readonly ending: Ending;
  /** For the operator. */
  readonly detail: string;
}

/** What the guard works with; `database` and `targetOf` are those of the config at the time of the call. */
export interface GuardTools {
  readonly clock: Clock;
  readonly log: Log;
  database(): AccessDatabase;
  /** Where `internal_ip_addr` leads to, in the form of {@link OpenConnection.target}. */
  targetOf(address: string): string | undefined;
  endConnection(connection: ConnectionId, ending: Ending): void;
  /** Called once for each connection that has to go. */
  ended(connection: OpenConnection, why: Verdicted): void;
}

/** Queries at once, so that those who want to get in find the pool free. */
const QUERIES_AT_ONCE = 4;
/** Looked at in one go, before others have their turn. A look is a signature or two: half a millisecond. */
const LOOKS_AT_ONCE = 8;
/** The longest wait for a certificate to expire: timers hold 24 days, and clocks are set. */
const MAX_EXPIRY_WAIT_MS = 3_600_000;
/** Certificates that expire within this time of each other are looked at together. */
const MIN_EXPIRY_WAIT_MS = 50;

/**
 * Sees to it that everybody who was let in may still be where they are: asks the database again, ends those whose
 * certificate expires, and looks at all certificates anew when CAs or revocation lists change.
 */
export class Guard implements AsyncDisposable {
  readonly #open = new OpenConnections();
  readonly #tools: GuardTools;
  readonly #rechecks: Rechecks;
  #epoch = 0;
  /** There was no answer about some. */
  #isBehind = false;
  /** What is done with many certificates, one thing after the other. */
  #turn: Promise<void> = Promise.resolve();
  #expiry: { readonly at: number; readonly cancel: () => void } | undefined;
  #isEnded = false;

  constructor(tools: GuardTools, recheckIntervalMs: number) {
    this.#tools = tools;
    this.#rechecks = new Rechecks(() => this.#recheckAll(), recheckIntervalMs, tools.clock);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Changes whenever what the database has said may be wrong: take it before asking, give it to {@link admit}. */
  get epoch(): number {
    return this.#epoch;
  }

  set recheckIntervalMs(ms: number) {
    this.#rechecks.intervalMs = ms;
  }

  /** Somebody was let in, by what the database said in `epoch`; `undefined`: it was not asked. */
  admit(connection: OpenConnection, epoch: number | undefined): void {
    this.#open.add(connection);
    this.#expectExpiry(connection.expiresAt);
    if (epoch !== this.#epoch) this.#rechecks.request();
  }

  /** Harmless for a connection that was not let in. */
  closed(connection: ConnectionId): void {
    this.#open.delete(connection);
  }

  /** What the database has said of anybody may be wrong by now. */
  databaseChanged(): void {
    this.#epoch++;
    this.#rechecks.request();
  }

  /** Asks about those who could not be asked about. */
  databaseUp(): void {
    if (this.#isBehind) this.#rechecks.request();
  }

  /** Looks at everybody's certificate again: `fault` says what is wrong with it now, if something is. */
  lookAgain(fault: (connection: OpenConnection) => Verdicted | undefined): void {
    this.inTurn(() => this.#open.all(), (connection) => {
      const why = fault(connection);
      if (why !== undefined) this.#end(connection, why);
    });
  }

  /** Does something for each of many, a few at a time, after what was asked for before. */
  inTurn<T>(items: () => readonly T[], work: (item: T) => void): void {
    this.#turn = this.#turn.then(() => this.#forEach(items(), work));
  }

  /** Ends nobody: what is open stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    this.#expiry?.cancel();
    await Promise.all([this.#rechecks[Symbol.asyncDispose](), this.#turn]);
  }

  /** @returns Whether there was an answer about everybody. */
  async #recheckAll(): Promise<boolean> {
    const groups = this.#open.groups().values();
    this.#isBehind = false;
    const ask = async () => {
      for (const group of groups) {
        // One question without an answer says nothing about the others, a database that is down does.
        if (this.#isEnded || this.#isBehind && !this.#tools.database().state.up) return;
        await this.#recheck(group);
      }
    };
    await Promise.all(Array.from({ length: QUERIES_AT_ONCE }, ask)); // they share one iterator
    return !this.#isBehind;
  }

  /** Never rejects. Without an answer nobody is known to have lost access, so nobody is ended. */
  async #recheck({ request, members }: Group): Promise<void> {
    const asked = [...members]; // who comes later was let in by a later answer
    try {
      const verdict = await this.#tools.database().decide(request);
      for (const connection of asked) this.#apply(verdict, connection);
    } catch (error) {
      this.#isBehind = true;
      if (error instanceof DatabaseDown) return;
      this.#tools.log.error("access_recheck_failed", { reason: messageOf(error) });
    }
  }

  #apply(verdict: Verdict, connection: OpenConnection): void {
    if (verdict.kind === "denied") {
      return this.#end(connection, { ending: "access_revoked", detail: verdict.reason });
    }
    const target = this.#tools.targetOf(verdict.address);
    connection.target ??= target;
    if (target !== connection.target) {
      // The old address may be another organization's by now.
      this.#end(connection, { ending: "target_changed", detail: `now ${JSON.stringify(verdict.address)}` });
    }
  }

  #end(connection: OpenConnection, why: Verdicted): void {
    if (!this.#open.has(connection)) return;
    if (connection.ending === undefined) {
      connection.ending = why.ending;
      this.#tools.ended(connection, why);
    }
    this.#tools.endConnection(connection.connection, connection.ending);
  }

  /** Never rejects: a fault with one leaves nobody behind it out. */
  async #forEach<T>(items: readonly T[], work: (item: T) => void): Promise<void> {
    for (const [i, item] of items.entries()) {
      if (i % LOOKS_AT_ONCE === LOOKS_AT_ONCE - 1) await this.#breathe();
      if (this.#isEnded) return;
      try {
        work(item);
      } catch (error) {
        this.#tools.log.error("certificates_recheck_failed", { reason: messageOf(error) });
      }
    }
  }

  #breathe(): Promise<void> {
    return new Promise((resolve) => void this.#tools.clock.after(0, resolve));
  }

  #expectExpiry(at: number): void {
    if (this.#expiry !== undefined && this.#expiry.at <= at) return;
    this.#expiry?.cancel();
    this.#expiry = undefined;
    if (this.#isEnded || at === Infinity) return;
    const wait = Math.min(Math.max(at - this.#tools.clock.wall(), MIN_EXPIRY_WAIT_MS), MAX_EXPIRY_WAIT_MS);
    this.#expiry = { at, cancel: this.#tools.clock.after(wait, () => this.#endExpired()) };
  }

  #endExpired(): void {
    this.#expiry = undefined;
    const now = this.#tools.clock.wall();
    let next = Infinity;
    for (const connection of this.#open.all()) {
      if (connection.expiresAt > now) next = Math.min(next, connection.expiresAt);
      else this.#end(connection, { ending: "certificate_expired", detail: dateOf(connection.expiresAt) });
    }
    this.#expectExpiry(next);
  }
}

function dateOf(ms: number): string {
  return ms === 0 ? "its end cannot be read" : `on ${new Date(ms).toISOString()}`;
}
