/** How often idle times are looked at: a timeout comes up to this much late, which is what makes it free to re-arm. */
const TICK_MS = 500;

/** Something that wants to hear when it has been idle for long enough. */
export interface Timed {
  /** Milliseconds, above 0. */
  readonly timeoutMs: number;
  /** As {@link coarseNow} gave it when something last happened. */
  readonly lastActive: number;
  timedOut(): void;
}

const watched = new Set<Timed>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = 0;

/** Milliseconds on a clock that moves in ticks, and only while something is watched. Costs one memory read. */
export function coarseNow(): number {
  return now;
}

/** Calls `timedOut` once each time that `timed` has been idle for its timeout, until {@link unwatch}. */
export function watch(timed: Timed): void {
  watched.add(timed);
  if (timer !== undefined) return;
  timer = setInterval(tick, TICK_MS);
  timer.unref();
}

/** The last one to leave stops the clock. */
export function unwatch(timed: Timed): void {
  if (!watched.delete(timed) || watched.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

function tick(): void {
  now += TICK_MS;
  for (const timed of watched) {
    if (now - timed.lastActive >= timed.timeoutMs) timed.timedOut();
  }
}
