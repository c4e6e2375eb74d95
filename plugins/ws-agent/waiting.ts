import type { Clock } from "./clock.ts";

/** `full`: too many wait already. */
export type WaitEnd = "changed" | "late" | "aborted" | "full";

/** Somebody who waits. */
export interface Wait extends Disposable {
  /** How it ends; never rejects. */
  readonly end: Promise<WaitEnd>;
}

/** Connections that wait for an agent to come back. Each holds a client's socket, and there must be an end to it. */
const MAX_WAITING = 4096;
/** Those of one name or port: the clients of one agent that is lost leave room for those of others. */
const MAX_WAITING_FOR_ONE = 1024;

/** Who waits for something to change behind a key. */
export class Waiting {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #maxForOne: number;
  readonly #byKey = new Map<string, Set<(end: WaitEnd) => void>>();
  #size = 0;

  constructor(clock: Clock, max: number = MAX_WAITING, maxForOne: number = MAX_WAITING_FOR_ONE) {
    this.#clock = clock;
    this.#max = max;
    this.#maxForOne = maxForOne;
  }

  get size(): number {
    return this.#size;
  }

  /** Begins to wait for the next change behind `key`. To be disposed: that ends the wait, if it goes on still. */
  begin(key: string, ms: number, signal: AbortSignal): Wait {
    if (signal.aborted) return ended("aborted");
    if (ms <= 0) return ended("late");
    const forOne = this.#byKey.get(key)?.size ?? 0;
    if (this.#size >= this.#max || forOne >= this.#maxForOne) return ended("full");
    const { promise, resolve } = Promise.withResolvers<WaitEnd>();
    const settle = (end: WaitEnd) => {
      stop();
      signal.removeEventListener("abort", abort);
      this.#delete(key, settle);
      resolve(end);
    };
    const abort = () => settle("aborted");
    const stop = this.#clock.after(ms, () => settle("late"));
    signal.addEventListener("abort", abort);
    this.#add(key, settle);
    return { end: promise, [Symbol.dispose]: abort };
  }

  /** Something has changed behind `key`. */
  wake(key: string): void {
    for (const settle of [...this.#byKey.get(key) ?? []]) settle("changed");
  }

  /** It is no use to wait any more, for anybody. */
  endAll(): void {
    for (const all of [...this.#byKey.values()]) for (const settle of [...all]) settle("aborted");
  }

  #add(key: string, settle: (end: WaitEnd) => void): void {
    const all = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, all.add(settle));
    this.#size++;
  }

  #delete(key: string, settle: (end: WaitEnd) => void): void {
    const all = this.#byKey.get(key);
    if (!all?.delete(settle)) return;
    this.#size--;
    if (all.size === 0) this.#byKey.delete(key);
  }
}

function ended(end: WaitEnd): Wait {
  return { end: Promise.resolve(end), [Symbol.dispose]: () => {} };
}
