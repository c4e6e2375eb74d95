import { NameTable, parseNamePattern } from "../names.ts";
import { Deadlines } from "./deadlines.ts";

/** How long a client waits at most, in milliseconds: a directory takes some seconds, and people no more than these. */
const WAIT_MS = 15_000;
/** Clients that wait in one data plane: each has a socket, and what it has said so far. */
const MAX_WAITING = 1000;
/** Of them, for one name or one wildcard: the others are to have their places, too. */
const MAX_WAITING_FOR_NAME = 100;

/** What became of a wait. `unknown`: nobody asks for a certificate for that name. */
export type Awaited = "ready" | "late" | "too_many" | "unknown";

interface Waiter {
  readonly end: (how: "ready" | "late") => void;
}

/**
 * Names for which a certificate is being asked for, and the clients that wait for one. Of other names nobody waits, so
 * that whoever makes up names costs nothing.
 */
export class AwaitedCertificates {
  readonly #deadlines = new Deadlines<Waiter>(WAIT_MS, (waiter) => waiter.end("late"));
  /** Name or pattern → who waits. */
  #waiters = new NameTable<Set<Waiter>>();
  #waiting = 0;

  /** How many wait. */
  get size(): number {
    return this.#waiting;
  }

  /** Takes the names of now. Whoever waits for another one is to look whether there is a certificate. */
  replace(names: readonly string[]): void {
    const before = this.#waiters;
    const after = new NameTable<Set<Waiter>>();
    for (const pattern of names.map(parseNamePattern)) {
      if (after.get(pattern) === undefined) after.add(pattern, before.get(pattern) ?? new Set());
    }
    this.#waiters = after;
    for (const [name, waiters] of before.entries()) {
      if (after.get(parseNamePattern(name)) === undefined) {
        for (const waiter of waiters) waiter.end("ready");
      }
    }
  }

  /**
   * Resolves when there may be a certificate, or when there will be none in time.
   *
   * @param serverName Canonical.
   * @param signal Ends the wait as `late`.
   */
  wait(serverName: string, signal: AbortSignal): Promise<Awaited> {
    const waiters = this.#waiters.lookup(serverName);
    if (waiters === undefined) return Promise.resolve("unknown");
    if (this.#waiting >= MAX_WAITING || waiters.size >= MAX_WAITING_FOR_NAME) {
      return Promise.resolve("too_many");
    }
    return new Promise((resolve) => {
      const leave = () => waiter.end("late");
      const waiter: Waiter = {
        end: (how) => {
          if (!waiters.delete(waiter)) return;
          this.#waiting--;
          this.#deadlines.delete(waiter);
          signal.removeEventListener("abort", leave);
          resolve(how);
        },
      };
      this.#waiting++;
      waiters.add(waiter);
      this.#deadlines.add(waiter);
      signal.addEventListener("abort", leave);
      if (signal.aborted) leave();
    });
  }

  close(): void {
    this.replace([]);
    this.#deadlines.close();
  }
}
