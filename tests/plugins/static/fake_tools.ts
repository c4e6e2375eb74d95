import assert from "node:assert/strict";
import type { HealthCheckTools } from "../../../plugins/static/health_check.ts";

interface Task {
  readonly at: number;
  readonly run: () => void;
}

/** Time and network for health checks, in the hands of a test. */
export class FakeTools implements HealthCheckTools {
  /** Targets that refuse connections. */
  readonly dead = new Set<string>();
  /** Targets that never answer. */
  readonly silent = new Set<string>();
  /** Every check that was begun, in order. */
  readonly checks: string[] = [];
  /** Connections that are open, and the checks that wait for an answer. */
  open = 0;
  waiting = 0;
  #now = 0;
  readonly #tasks = new Set<Task>();

  connect(target: string, signal: AbortSignal): Promise<{ close(): void }> {
    this.checks.push(target);
    if (this.silent.has(target)) return this.#never(signal);
    if (this.dead.has(target)) return Promise.reject(new Error("Connection refused"));
    this.open++;
    return Promise.resolve({ close: () => void this.open-- });
  }

  after(ms: number, run: () => void): () => void {
    const task = { at: this.#now + ms, run };
    this.#tasks.add(task);
    return () => void this.#tasks.delete(task);
  }

  /** How many timers are armed. */
  get timers(): number {
    return this.#tasks.size;
  }

  /** Lets time pass, and everything that is due happen in its order. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (let next; (next = this.#due(end)) !== undefined;) {
      this.#tasks.delete(next);
      this.#now = next.at;
      next.run();
      await settle();
    }
    this.#now = end;
  }

  #due(end: number): Task | undefined {
    return [...this.#tasks].filter((task) => task.at <= end).toSorted((a, b) => a.at - b.at)[0];
  }

  #never(signal: AbortSignal): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    this.waiting++;
    signal.addEventListener("abort", () => {
      this.waiting--;
      reject(signal.reason);
    }, { once: true });
    return promise;
  }

  assertNothingLeft(): void {
    assert.deepEqual({ timers: this.timers, open: this.open, waiting: this.waiting }, {
      timers: 0,
      open: 0,
      waiting: 0,
    });
  }
}

/** Lets promises that are settled already have their effects. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}
