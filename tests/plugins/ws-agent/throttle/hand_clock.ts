import type { Clock } from "../../../../plugins/ws-agent/clock.ts";

/** Time that goes on when the test says so, and what is to be done every so often in it. */
export class HandClock implements Clock {
  now = 1000;
  /** What repeats: its period, and when it is due. */
  readonly #repeated = new Set<{ readonly ms: number; due: number; readonly task: () => void }>();

  get timers(): number {
    return this.#repeated.size;
  }

  monotonic(): number {
    return this.now;
  }

  wall(): number {
    return this.now;
  }

  after(): () => void {
    throw new TypeError("Nothing here is done once");
  }

  every(ms: number, task: () => void): () => void {
    const timer = { ms, due: this.now + ms, task };
    this.#repeated.add(timer);
    return () => void this.#repeated.delete(timer);
  }

  /** Lets time go by, and everybody do what follows from each tick. */
  async pass(ms: number): Promise<void> {
    await settled();
    const end = this.now + ms;
    for (;;) {
      const next = [...this.#repeated].toSorted((a, b) => a.due - b.due)[0];
      if (next === undefined || next.due > end) break;
      this.now = next.due;
      next.due += next.ms;
      next.task();
      await settled();
    }
    this.now = end;
    await settled();
  }
}

/** When everything that can go on without time or sockets has gone on. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}
