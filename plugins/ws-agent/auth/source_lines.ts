import { sourceKey } from "../../../core/failure_limits.ts";

/** A place among those of one source whose tokens are looked at. Given back once; a second time is harmless. */
export type Place = Disposable;

interface Line {
  taken: number;
  readonly waiting: Set<() => void>;
}

/**
 * Bounds how many attempts of one source are looked at at once, so that those that fail count before the next ones have
 * their turn; the others stand in line. Sources are counted as failures are: a /64 of IPv6 is one.
 */
export class SourceLines {
  readonly #lines = new Map<string, Line>();
  readonly #maxAtOnce: number;
  readonly #maxWaiting: number;

  constructor(maxAtOnce: number, maxWaiting: number) {
    this.#maxAtOnce = maxAtOnce;
    this.#maxWaiting = maxWaiting;
  }

  /** Sources with an attempt under way. */
  get size(): number {
    return this.#lines.size;
  }

  /**
   * @returns `undefined` at once when too many stand in line, and when `signal` is aborted; the place that is given is
   * the caller's to give back.
   */
  async enter(source: string, signal: AbortSignal): Promise<Place | undefined> {
    const key = sourceKey(source);
    const line = this.#lines.get(key) ?? { taken: 0, waiting: new Set() };
    if (line.taken >= this.#maxAtOnce) {
      if (line.waiting.size >= this.#maxWaiting || !await turn(line, signal)) return undefined;
    } else {
      line.taken++;
      this.#lines.set(key, line);
    }
    return this.#place(key, line);
  }

  /** A place that is free goes to the next one in line as it is. */
  #place(key: string, line: Line): Place {
    let isTaken = true;
    return {
      [Symbol.dispose]: () => {
        if (!isTaken) return;
        isTaken = false;
        const [next] = line.waiting;
        if (next !== undefined) return next();
        if (--line.taken === 0) this.#lines.delete(key);
      },
    };
  }
}

/** Waits in line. Resolves to false when the signal comes first, and then no place was taken. */
function turn({ waiting }: Line, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const leave = (hasTurn: boolean) => {
    waiting.delete(onTurn);
    signal.removeEventListener("abort", onAbort);
    resolve(hasTurn);
  };
  const onTurn = () => leave(true);
  const onAbort = () => leave(false);
  if (signal.aborted) return Promise.resolve(false);
  waiting.add(onTurn);
  signal.addEventListener("abort", onAbort);
  return promise;
}
