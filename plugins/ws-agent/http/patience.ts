import { coarseNow, type Timed, unwatch, watch } from "../../../core/data_plane/streams/coarse_timeouts.ts";

/**
 * How long whoever serves a connection waits for what comes next. Costs two memory writes to set anew, and is up to half
 * a second late for it.
 */
export class Patience implements Timed {
  timeoutMs = Infinity;
  lastActive = coarseNow();
  readonly #over: () => void;

  /** @param over Called when the time is over, and again each time that it has passed once more. */
  constructor(over: () => void) {
    this.#over = over;
    watch(this);
  }

  /** Starts a wait of its own. @param ms 0: for ever. */
  allow(ms: number): void {
    this.timeoutMs = ms > 0 ? ms : Infinity;
    this.lastActive = coarseNow();
  }

  /** Something has moved: the same time again, from now. */
  renew(): void {
    this.lastActive = coarseNow();
  }

  timedOut(): void {
    this.lastActive = coarseNow();
    this.#over();
  }

  /** Frees its place on the clock. */
  [Symbol.dispose](): void {
    unwatch(this);
  }
}
