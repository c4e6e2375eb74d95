import type { ConnectionId } from "../../core/plugin/mod.ts";

/** The longest wait; a tunnel that is repaired is back within a minute. */
const MAX_WAIT_MS = 60_000;
/** A trial that has lived this long was not dropped at once, so others may follow before it has ended. */
const TRIAL_MS = 5000;

/** `first`, then twice as long each time, up to a minute (or `first`, if that is more). */
export function growingWait(firstMs: number, times: number): number {
  return Math.max(firstMs, Math.min(MAX_WAIT_MS, firstMs * 2 ** (times - 1)));
}

/**
 * Keeps connections away from a tunnel that fails, for a while that grows; then lets a single one try (Nygard's
 * circuit breaker: closed, open, half-open).
 */
export class Breaker {
  readonly #now: () => number;
  /** How often in a row it has opened. */
  #failures = 0;
  #openUntil = 0;
  #trippedAt = -Infinity;
  #trial: { readonly connection: ConnectionId; since: number | undefined } | undefined;
  /** The trial has lived, though it has not ended well yet. */
  #trusted = false;

  /** @param now Milliseconds that only grow. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether it remembers no failure. */
  get isClosed(): boolean {
    return this.#failures === 0;
  }

  /** Whether nobody is let through now. */
  get isOpen(): boolean {
    return !this.isClosed && this.#now() < this.#openUntil;
  }

  /** Whether one connection shows for all whether the tunnel works again. */
  get isOnTrial(): boolean {
    return this.#trial !== undefined && !this.#trusted;
  }

  /** Whether this connection is the one that tries. */
  isTrial(connection: ConnectionId): boolean {
    return this.isOnTrial && this.#trial?.connection === connection;
  }

  /** Asks for a connection to be let through. @returns 0 when it is, else in how many milliseconds to ask again. */
  admit(connection: ConnectionId): number {
    if (this.isClosed || this.#trusted) return 0;
    const now = this.#now();
    if (now < this.#openUntil) return this.#openUntil - now;
    const since = this.#trial?.since;
    if (since !== undefined && now - since >= TRIAL_MS) this.#trusted = true;
    else if (this.#trial === undefined) this.#trial = { connection, since: undefined };
    else return TRIAL_MS - (since === undefined ? 0 : now - since);
    return 0;
  }

  /** The connection that tries is on its way to the tunnel. */
  sent(connection: ConnectionId): void {
    if (this.#trial?.connection === connection) this.#trial.since = this.#now();
  }

  /** A connection has ended, or has left before it was sent, and nothing is known of the tunnel by it. */
  ended(connection: ConnectionId): void {
    if (this.#trial?.connection === connection) this.#trial = undefined;
  }

  /** Opens it. @returns For how long, in milliseconds. */
  trip(firstWaitMs: number): number {
    const wait = growingWait(firstWaitMs, ++this.#failures);
    this.#trippedAt = this.#now();
    this.#openUntil = this.#trippedAt + wait;
    this.#trial = undefined;
    this.#trusted = false;
    return wait;
  }

  /**
   * A connection went well: closes it, unless that one is from before it opened, which says nothing of now.
   *
   * @param sentAt When the connection was sent to the tunnel.
   */
  worked(sentAt: number): void {
    if (sentAt < this.#trippedAt) return;
    this.#failures = 0;
    this.#openUntil = 0;
    this.#trial = undefined;
    this.#trusted = false;
  }
}
