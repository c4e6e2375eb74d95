import { domainToASCII } from "node:url";
import { GatewayError } from "./errors.ts";

/** RFC 1035 §2.3.4: 255 octets on the wire are 253 characters without the final dot. */
const MAX_NAME = 253;
const MAX_LABEL = 63;

const DOT = 0x2e, HYPHEN = 0x2d, UNDERSCORE = 0x5f, ZERO = 0x30, NINE = 0x39, UPPER_A = 0x41, UPPER_Z = 0x5a;
const LOWER_A = 0x61, LOWER_Z = 0x7a;

/**
 * The one form in which every table holds and looks up a host name: lower case, without the final dot.
 *
 * Refused are names that are not DNS host names in ASCII: an empty or overlong label (63) or name (253), anything
 * but letters, digits, `-`, `_` and dots, a hyphen at the edge of a label, and IP literals, which includes every
 * name whose last label a URL parser would read as a number (`1.2.3.4`, `example.7`, `a.0x7f`).
 *
 * @returns `undefined` for what is no such name.
 */
export function canonicalName(raw: string): string | undefined {
  const end = raw.charCodeAt(raw.length - 1) === DOT ? raw.length - 1 : raw.length;
  if (end === 0 || end > MAX_NAME) return undefined;
  let labelStart = 0;
  let hasUpper = false;
  for (let i = 0; i < end; i++) {
    const code = raw.charCodeAt(i);
    if (code === DOT) {
      if (!isLabelSpan(raw, labelStart, i)) return undefined;
      labelStart = i + 1;
    } else if (code >= UPPER_A && code <= UPPER_Z) {
      hasUpper = true;
    } else if (!isNameCharacter(code)) {
      return undefined;
    }
  }
  if (!isLabelSpan(raw, labelStart, end)) return undefined;
  const ascii = end === raw.length ? raw : raw.slice(0, end);
  const name = hasUpper ? ascii.toLowerCase() : ascii; // ASCII only by now: no other letter folds into it
  return isNumeric(name, labelStart) ? undefined : name;
}

/**
 * {@link canonicalName} for bytes off the wire. Each byte is one character, so nothing that is not ASCII can be
 * decoded into something that is.
 */
export function canonicalNameFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_NAME + 1) return undefined;
  return canonicalName(String.fromCharCode(...bytes));
}

/**
 * {@link canonicalName} for names that people write into a config: Unicode labels become A-labels (UTS #46).
 * Never for names off the wire.
 */
export function canonicalNameFromConfig(raw: string): string | undefined {
  if (isAscii(raw)) return canonicalName(raw);
  // The URL parser would percent-decode, so only what may stand in a name reaches it.
  if (!/^[\w.\-\u0080-\u{10ffff}]+$/u.test(raw)) return undefined;
  return canonicalName(domainToASCII(raw));
}

function isNameCharacter(code: number): boolean {
  return (code >= LOWER_A && code <= LOWER_Z) || (code >= ZERO && code <= NINE) || code === HYPHEN ||
    code === UNDERSCORE;
}

function isLabelSpan(text: string, start: number, end: number): boolean {
  return end > start && end - start <= MAX_LABEL && text.charCodeAt(start) !== HYPHEN &&
    text.charCodeAt(end - 1) !== HYPHEN;
}

/** Whether the last label reads as a number, which makes the whole an IPv4 address (WHATWG URL §3.5). */
function isNumeric(name: string, lastLabel: number): boolean {
  const first = name.charCodeAt(lastLabel);
  if (first < ZERO || first > NINE) return false; // spares nearly every name the expression
  return /^(?:\d+|0x[\da-f]*)$/.test(name.slice(lastLabel));
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Which names something is for: one name, one label below a name, or all names. */
export interface NamePattern {
  /** In canonical form: `db.example.com`, `*.example.com` or `*`. Equal texts are equal patterns. */
  readonly text: string;
  /** @param name A canonical name. */
  matches(name: string): boolean;
}

/**
 * Reads a pattern as it stands in a config: `db.example.com`, `*.example.com` (exactly one label in place of the
 * star) or `*` (every name).
 *
 * @throws {GatewayError} `config-invalid`.
 */
export function parseNamePattern(raw: string): NamePattern {
  if (raw === "*") return { text: "*", matches: () => true };
  if (!raw.startsWith("*.")) {
    const exact = configuredName(raw, raw);
    return { text: exact, matches: (name) => name === exact };
  }
  const parent = configuredName(raw.slice(2), raw);
  return { text: `*.${parent}`, matches: (name) => parentOf(name) === parent };
}

function configuredName(raw: string, pattern: string): string {
  const name = canonicalNameFromConfig(raw);
  if (name !== undefined) return name;
  throw new GatewayError(
    "config-invalid",
    `${JSON.stringify(pattern)} is no name to match: write "db.example.com", "*.example.com" or "*"`,
  );
}

/** What follows the first dot; a single label has no parent. */
function parentOf(name: string): string | undefined {
  const dot = name.indexOf(".");
  return dot < 0 ? undefined : name.slice(dot + 1);
}

/** Finds what is meant for a name in constant time: the exact name first, then `*.parent`, then `*`. */
export class NameTable<T> {
  /** By pattern text: a canonical name never contains a star, so the three kinds cannot meet. */
  readonly #entries = new Map<string, T>();

  get size(): number {
    return this.#entries.size;
  }

  /** @throws {GatewayError} `config-invalid` when the same pattern, however it was written, stands already. */
  add(pattern: NamePattern, value: T): void {
    if (this.#entries.has(pattern.text)) {
      throw new GatewayError("config-invalid", `The name "${pattern.text}" is given twice`);
    }
    this.#entries.set(pattern.text, value);
  }

  /** What was added for exactly this pattern. */
  get(pattern: NamePattern): T | undefined {
    return this.#entries.get(pattern.text);
  }

  /** @returns Whether it was there. */
  delete(pattern: NamePattern): boolean {
    return this.#entries.delete(pattern.text);
  }

  /** @param name A canonical name. */
  lookup(name: string): T | undefined {
    const exact = this.#entries.get(name);
    if (exact !== undefined) return exact;
    const parent = parentOf(name);
    const wild = parent === undefined ? undefined : this.#entries.get(`*.${parent}`);
    return wild ?? this.#entries.get("*");
  }

  /** Pattern texts and values, in the order in which they were added. */
  entries(): IterableIterator<[string, T]> {
    return this.#entries.entries();
  }
}
