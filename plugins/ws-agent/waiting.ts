import type { Clock } from "./clock.ts";

/** `full`: too many wait already. */
export type WaitEnd = "changed" | "late" | "aborted" | "full";

/** Connections that wait for an agent to come back. Each holds a client's socket, and there must be an end to it. */
const MAX_WAITING = 4096;

/** Who waits for something to change behind a key. */
export class Waiting {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #byKey = new Map<string, Set<(end: WaitEnd) => void>>();
  #size = 0;

  constructor(clock: Clock, max: number = MAX_WAITING) {
    this.#clock = clock;
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  /** Resolves at the next change behind `key`, or when it is no use to wait on. Never rejects. */
  next(key: string, ms: number, signal: AbortSignal): Promise<WaitEnd> {
    if (signal.aborted) return Promise.resolve("aborted");
    if (ms <= 0) return Promise.resolve("late");
    if (this.#size >= this.#max) return Promise.resolve("full");
    return new Promise((resolve) => {
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
    });
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
