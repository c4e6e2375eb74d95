/** Both ends are inside. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** How long a port that somebody else holds is left alone. */
const SET_ASIDE_MS = 60_000;

/** Hands out the ports of a range, each to one holder at a time, and lives with others taking them. */
export class PortPool {
  #range: PortRange;
  /** Where the next search begins: in turns, so that a port rests for as long as possible before its next use. */
  #next: number;
  readonly #held = new Set<number>();
  /** Until when a port is left alone, in milliseconds of the clock. */
  readonly #aside = new Map<number, number>();
  readonly #isFree: (port: number) => boolean;
  readonly #now: () => number;

  /**
   * @param isFree Whether nobody listens on a port.
   * @param now Milliseconds that only grow.
   */
  constructor(range: PortRange, isFree: (port: number) => boolean, now: () => number) {
    this.#range = range;
    this.#next = range.first;
    this.#isFree = isFree;
    this.#now = now;
  }

  /** How many are handed out. */
  get held(): number {
    return this.#held.size;
  }

  /** A port that is free, or `undefined` when the range has none. */
  take(): number | undefined {
    const { first, last } = this.#range;
    const size = last - first + 1;
    for (let i = 0; i < size; i++) {
      const port = this.#next;
      this.#next = port >= last ? first : port + 1;
      if (this.#held.has(port) || this.#isAside(port)) continue;
      if (!this.#isFree(port)) {
        this.#aside.set(port, this.#now() + SET_ASIDE_MS);
        continue;
      }
      this.#held.add(port);
      return port;
    }
    return undefined;
  }

  /** Its holder has let go of it. */
  giveBack(port: number): void {
    this.#held.delete(port);
  }

  /** Somebody else has it: its holder gives it up, and it is left alone for a while. */
  setAside(port: number): void {
    this.#held.delete(port);
    this.#aside.set(port, this.#now() + SET_ASIDE_MS);
  }

  /** Takes another range. Ports that are held stay so, also outside of it. */
  resize(range: PortRange): void {
    this.#range = range;
    if (this.#next < range.first || this.#next > range.last) this.#next = range.first;
    for (const port of this.#aside.keys()) {
      if (port < range.first || port > range.last) this.#aside.delete(port);
    }
  }

  #isAside(port: number): boolean {
    const until = this.#aside.get(port);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#aside.delete(port);
    return false;
  }
}
