import { z } from "zod";
import { messageOf } from "../errors.ts";
import { formatHostPort, parseCidrs, parseHostPort } from "../net/address.ts";
import { describeValue } from "./describe.ts";
import { redactText } from "./redact.ts";
import { formatDuration, formatSize, MAX_DURATION_MS, parseDuration, parseSize } from "./units.ts";

/** Both ends are inside. */
export interface FieldRange {
  readonly min?: number;
  readonly max?: number;
}

/**
 * A duration such as `10s`; comes out in milliseconds. Give a default as people write it: `.prefault("10s")`.
 *
 * @param range In milliseconds; at most what a timer can hold, about 24 days.
 */
export function duration(range: FieldRange = {}): z.ZodType<number, unknown> {
  const bounds = { min: range.min ?? 0, max: Math.min(range.max ?? Infinity, MAX_DURATION_MS) };
  return amount('a duration such as "500ms", "10s", "5m" or "1h"', parseDuration, bounds, formatDuration);
}

/**
 * A size such as `64KiB`, or a number of bytes; comes out in bytes.
 *
 * @param range In bytes.
 */
export function size(range: FieldRange = {}): z.ZodType<number, unknown> {
  const bounds = { min: range.min ?? 0, max: range.max ?? Number.MAX_SAFE_INTEGER };
  return amount('a size such as "64KiB" or "1MiB"', parseSize, bounds, formatSize);
}

/**
 * `host:port`, IPv6 in brackets; comes out in its canonical form, for `parseHostPort`.
 *
 * @param options.minPort 0 where "any free port" makes sense, as for a listener. @default 1
 */
export function hostPort(options: { readonly minPort?: number } = {}): z.ZodType<string, unknown> {
  const minPort = options.minPort ?? 1;
  return text(
    'an address such as "10.0.0.5:443"',
    (value) => formatHostPort(parseHostPort(value, { minPort })),
  );
}

/** A range such as `10.0.0.0/8`, or a single address; comes out as written, for `parseCidrs`. */
export function cidr(): z.ZodType<string, unknown> {
  return text('an address range such as "10.0.0.0/8"', (value) => {
    parseCidrs([value]);
    return value;
  });
}

function amount(
  what: string,
  parse: (value: unknown) => number | undefined,
  { min, max }: Required<FieldRange>,
  format: (value: number) => string,
): z.ZodType<number, unknown> {
  return field(what, (value, fail) => {
    const parsed = parse(value);
    if (parsed === undefined) return fail(expected(what, value));
    if (parsed < min) return fail(expected(`at least ${format(min)}`, value));
    if (parsed > max) return fail(expected(`at most ${format(max)}`, value));
    return parsed;
  });
}

/** Text that `parse` accepts; what it throws is the message. */
function text(what: string, parse: (value: string) => string): z.ZodType<string, unknown> {
  return field(what, (value, fail) => {
    if (typeof value !== "string") return fail(expected(what, value));
    try {
      return parse(value);
    } catch (error) {
      return fail(redactText(messageOf(error))); // it quotes the value, which may be a whole URL
    }
  });
}

function field<T>(
  what: string,
  parse: (value: unknown, fail: (message: string) => never) => T,
): z.ZodType<T, unknown> {
  return z.unknown().transform((value, context) => {
    const fail = (message: string): never => {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    };
    return value === undefined ? fail(required(what)) : parse(value, fail);
  });
}

function expected(what: string, value: unknown): string {
  return `Expected ${what}, got ${describeValue(value)}`;
}

function required(what: string): string {
  return `Required: ${what}`;
}
