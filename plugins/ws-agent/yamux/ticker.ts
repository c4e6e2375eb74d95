/** How often sessions look at their clocks: one timer for all of them, however many there are. */
const TICK_MS = 250;

/** Something that looks at the time now and then. */
export interface Ticking {
  /** @param now `performance.now()` */
  tick(now: number): void;
}

const ticking = new Set<Ticking>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Calls `tick` every quarter of a second, until {@link stopTicking}. */
export function startTicking(one: Ticking): void {
  ticking.add(one);
  timer ??= setInterval(tickAll, TICK_MS);
}

/** The last one to leave stops the timer. */
export function stopTicking(one: Ticking): void {
  if (!ticking.delete(one) || ticking.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

function tickAll(): void {
  const now = performance.now();
  for (const one of ticking) one.tick(now);
}
