import type { AccessDatabase, AccessRequest, Verdict } from "./access.ts";

export interface AccessCacheOptions {
  /** How many answers are remembered at most; the one that was wanted least recently goes first. @default 10000 */
  readonly maxEntries?: number;
  /** The time in milliseconds, from any start, never going back. @default performance.now */
  readonly now?: () => number;
}

/** About 2 MB: a key has some 100 characters, and an answer some 100 bytes. */
const MAX_ENTRIES = 10_000;

interface Entry {
  readonly answer: Promise<Verdict>;
  readonly expires: number;
}

/**
 * Remembers what the database said, and lets identical questions share one query. An answer is as old as its
 * question: nobody is let in, or kept out, by one that was asked more than the time to live ago.
 *
 * An entry is made when the question is sent, not when the answer comes. So {@link invalidate} also ends those that
 * are on their way: their askers get them, and nobody else does.
 */
export class AccessCache {
  readonly #database: Pick<AccessDatabase, "decide">;
  readonly #ttlMs: number;
  readonly #maxEntries: number;
  readonly #now: () => number;
  /** Least recently wanted first. */
  readonly #entries = new Map<string, Entry>();
  #hits = 0;
  #misses = 0;

  /** @param ttlMs How long an answer is good, in milliseconds. 0: every question is asked, and none is shared. */
  constructor(database: Pick<AccessDatabase, "decide">, ttlMs: number, options: AccessCacheOptions = {}) {
    this.#database = database;
    this.#ttlMs = ttlMs;
    this.#maxEntries = options.maxEntries ?? MAX_ENTRIES;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Questions that needed no query of their own. */
  get hits(): number {
    return this.#hits;
  }

  /** Questions that the database was asked. */
  get misses(): number {
    return this.#misses;
  }

  /** Answers that are remembered or on their way. */
  get size(): number {
    return this.#entries.size;
  }

  /** @throws {DatabaseDown} There is no answer. That is not remembered. */
  decide(request: AccessRequest): Promise<Verdict> {
    if (this.#ttlMs <= 0) {
      this.#misses++;
      return this.#database.decide(request);
    }
    const key = keyOf(request);
    const now = this.#now();
    const known = this.#entries.get(key);
    if (known === undefined || now >= known.expires) return this.#ask(key, request, now);
    this.#hits++;
    this.#entries.delete(key); // to the end, where the most recent ones are
    this.#entries.set(key, known);
    return known.answer;
  }

  /** Whatever was asked before now is not an answer to what is asked from now on. */
  invalidate(): void {
    this.#entries.clear();
  }

  #ask(key: string, request: AccessRequest, now: number): Promise<Verdict> {
    this.#misses++;
    const entry = { answer: this.#database.decide(request), expires: now + this.#ttlMs };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#evict();
    entry.answer.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return entry.answer;
  }

  #evict(): void {
    if (this.#entries.size <= this.#maxEntries) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}

/** Lengths first: no character of a name can be taken for the border between two. */
function keyOf({ org, user, connectId }: AccessRequest): string {
  return `${org.length}:${user.length}:${org}${user}${connectId}`;
}
