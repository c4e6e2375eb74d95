const MINUTE_MS = 60_000, HOUR_MS = 3_600_000, DAY_MS = 86_400_000;

/** How much earlier a renewal may be, as a part of the lifetime: names that began together do not stay together. */
const RENEWAL_JITTER = 1 / 50;
/** How much longer a wait may be than it has to. */
const RETRY_JITTER = 1 / 4;
/** A directory that asks for more is asked again after this: nobody would look for a fault of last month. */
const MAX_RETRY_AFTER_MS = 7 * DAY_MS;

/**
 * Why no certificate came. `refused`: the directory looked at it and said no, which counts against its limits.
 * `unreachable`: it could not be asked, and asking again costs nothing. `limited`: it was asked too often.
 */
export type FailureKind = "refused" | "unreachable" | "limited";

/** Waits double from the first to the last. */
const WAITS: Readonly<Record<FailureKind, { readonly firstMs: number; readonly lastMs: number }>> = {
  // Let's Encrypt takes five failures an hour for a name.
  refused: { firstMs: 5 * MINUTE_MS, lastMs: 12 * HOUR_MS },
  unreachable: { firstMs: 2000, lastMs: 10 * MINUTE_MS },
  limited: { firstMs: HOUR_MS, lastMs: 12 * HOUR_MS },
};

/**
 * When a certificate is to be renewed: when two thirds of its life are over, or a little before. Times in milliseconds
 * since 1970.
 *
 * @param random From 0 to 1.
 */
export function renewalTime(
  { notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number },
  random: number,
): number {
  const lifetime = Math.max(0, notAfter - notBefore);
  return Math.round(notBefore + lifetime * (2 / 3 - RENEWAL_JITTER * random));
}

/**
 * How long to wait after a failure, in milliseconds.
 *
 * @param failures In a row, this one included; at least 1.
 * @param retryAfterMs What the directory asked for. Never less than that is waited, within reason.
 * @param random From 0 to 1.
 */
export function retryDelay(
  kind: FailureKind,
  failures: number,
  { retryAfterMs = 0, random }: { readonly retryAfterMs?: number | undefined; readonly random: number },
): number {
  const { firstMs, lastMs } = WAITS[kind];
  const backoff = Math.min(lastMs, firstMs * 2 ** Math.min(failures - 1, 30));
  const least = Math.max(backoff, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
  return Math.round(least * (1 + RETRY_JITTER * random));
}

/**
 * A `Retry-After` header in milliseconds from `now` (RFC 9110 §10.2.3).
 *
 * @returns `undefined` when there is none, or none that can be read.
 */
export function parseRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/**
 * Lets so many through in an hour, and a part of them at once (the generic cell rate algorithm, ITU-T I.371). Keeps one
 * number.
 */
export class HourlyBudget {
  readonly #stepMs: number;
  readonly #slackMs: number;
  /** When all that was let through is forgotten. */
  #clearAt = 0;

  /** @param burst How many at once, of `perHour`. */
  constructor(perHour: number, burst: number = perHour) {
    this.#stepMs = HOUR_MS / perHour;
    this.#slackMs = this.#stepMs * (burst - 0.5);
  }

  /** When the next one may be let through; in the past: now. */
  get nextAt(): number {
    return this.#clearAt - this.#slackMs;
  }

  /** @returns Whether one more is let through now. */
  take(now: number): boolean {
    // No more than that can be owed by this clock; more is left of one that was set back.
    this.#clearAt = Math.min(this.#clearAt, now + this.#slackMs + this.#stepMs);
    if (this.nextAt > now) return false;
    this.#clearAt = Math.max(this.#clearAt, now) + this.#stepMs;
    return true;
  }
}
