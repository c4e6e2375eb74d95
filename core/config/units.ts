/** The longest wait that a timer can hold, about 24.8 days: above it, `setTimeout` fires at once. */
export const MAX_DURATION_MS = 2 ** 31 - 1;

const MS_PER_UNIT: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  GiB: 2 ** 30,
  MiB: 2 ** 20,
  KiB: 2 ** 10,
  B: 1,
};

/** Nine digits and a unit at a time: no text of this shape leaves the range of exact integers. */
const DURATION = /^(?:\d{1,9}(?:ms|s|m|h))+$/;
const DURATION_PART = /(\d+)(ms|s|m|h)/g;
const SIZE = /^(\d{1,9})(B|KiB|MiB|GiB)$/;

/**
 * Milliseconds of `500ms`, `10s`, `5m`, `1h`, or of several joined (`1h30m`). Only zero needs no unit.
 *
 * @returns `undefined` when it is no duration, or too long to count exactly.
 */
export function parseDuration(value: unknown): number | undefined {
  if (value === 0 || value === "0") return 0;
  if (typeof value !== "string" || value.length > 64 || !DURATION.test(value)) return undefined;
  let total = 0;
  for (const [, count, unit = ""] of value.matchAll(DURATION_PART)) {
    total += Number(count) * (MS_PER_UNIT[unit] ?? NaN);
  }
  return Number.isSafeInteger(total) ? total : undefined;
}

/** Writes milliseconds with the largest unit that divides them: `90000` is `90s`, `3600000` is `1h`. */
export function formatDuration(ms: number): string {
  return ms === 0 ? "0" : withLargestUnit(ms, MS_PER_UNIT);
}

/**
 * Bytes of `64KiB`, `1MiB`, `2GiB`, `100B`, or of a plain whole number of bytes.
 *
 * @returns `undefined` when it is no size.
 */
export function parseSize(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  if (typeof value !== "string") return undefined;
  const [, count, unit = ""] = SIZE.exec(value) ?? [];
  return count === undefined ? undefined : Number(count) * (BYTES_PER_UNIT[unit] ?? NaN);
}

/** Writes bytes with the largest unit that divides them: `65536` is `64KiB`, `1500` is `1500B`. */
export function formatSize(bytes: number): string {
  return bytes === 0 ? "0B" : withLargestUnit(bytes, BYTES_PER_UNIT);
}

function withLargestUnit(value: number, units: Readonly<Record<string, number>>): string {
  for (const [unit, factor] of Object.entries(units)) {
    if (value % factor === 0) return `${value / factor}${unit}`;
  }
  return String(value);
}
