/** Both ends are inside. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** How long a port that somebody else holds is left alone. */
const SET_ASIDE_MS = 60_000;
/** How long connections may be on their way to a port where nobody listens any more: they are tried again for 1 s. */
const KEPT_MS = 2000;

/** A port that is not to be handed out. */
interface Aside {
  /** In milliseconds of the clock. */
  readonly until: number;
  /** Who gets it all the same. */
  readonly except?: string | undefined;
}

/** Hands out the ports of a range, each to one holder at a time, and lives with others taking them. */
export class PortPool {
  #range: PortRange;
  /** Where the next search begins: in turns, so that a port rests for as long as possible before its next use. */
  #next: number;
  readonly #held = new Set<number>();
  readonly #aside = new Map<number, Aside>();
  readonly #isFree: (port: number) => boolean;
  readonly #now: () => number;

  /**
   * @param isFree Whether nobody listens on a port.
   * @param now Milliseconds that only grow.
   * @param start Where in the range the first search begins, from 0 up to 1. After a crash of the plugin, connections
   * may be on their way to ports that the pool before this one has handed out.
   */
  constructor(range: PortRange, isFree: (port: number) => boolean, now: () => number, start = 0) {
    this.#range = range;
    this.#next = range.first + Math.floor(start * (range.last - range.first + 1));
    this.#isFree = isFree;
    this.#now = now;
  }

  /** How many are handed out. */
  get held(): number {
    return this.#held.size;
  }

  /** A port that is free, or `undefined` when the range has none for this holder. */
  take(holder: string): number | undefined {
    const { first, last } = this.#range;
    const size = last - first + 1;
    for (let i = 0; i < size; i++) {
      const port = this.#next;
      this.#next = port >= last ? first : port + 1;
      if (this.#held.has(port) || this.#isAside(port, holder)) continue;
      if (!this.#isFree(port)) {
        this.#aside.set(port, { until: this.#now() + SET_ASIDE_MS });
        continue;
      }
      this.#held.add(port);
      return port;
    }
    return undefined;
  }

  /**
   * Its holder has let go of it.
   *
   * @param keptFor The holder, when connections may still be on their way to it: they must not reach another's.
   */
  giveBack(port: number, keptFor?: string): void {
    this.#held.delete(port);
    if (keptFor !== undefined) this.#aside.set(port, { until: this.#now() + KEPT_MS, except: keptFor });
  }

  /** Somebody else has it: its holder gives it up, and it is left alone for a while. */
  setAside(port: number): void {
    this.#held.delete(port);
    this.#aside.set(port, { until: this.#now() + SET_ASIDE_MS });
  }

  /** Takes another range. Ports that are held stay so, also outside of it. */
  resize(range: PortRange): void {
    this.#range = range;
    if (this.#next < range.first || this.#next > range.last) this.#next = range.first;
    for (const port of this.#aside.keys()) {
      if (port < range.first || port > range.last) this.#aside.delete(port);
    }
  }

  #isAside(port: number, holder: string): boolean {
    const aside = this.#aside.get(port);
    if (aside === undefined || aside.except === holder) return false;
    if (aside.until > this.#now()) return true;
    this.#aside.delete(port);
    return false;
  }
}
