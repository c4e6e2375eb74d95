import { COMMA, equalsToken, HTAB, SPACE, TOKEN_LOWER } from "./characters.ts";
import { FieldSet, type FieldTable } from "./fields.ts";

/** Options of Connection (RFC 9110 §7.6.1), to be or-ed. */
export const CLOSE = 1, KEEP_ALIVE = 2, UPGRADE = 4;
const LISTS_FIELDS = 8;
/** What {@link connectionOptions} answers to a value that is no list of tokens. */
export const MALFORMED = -1;

/** Nobody lists more than a few. Each is looked up for each field, and names that take long to look up are easily made. */
const MAX_LISTED = 32;
/** Without these the next recipient would understand another message. */
const NEVER_LISTED = new FieldSet(["host", "content-length"]);

/**
 * Reads the value of field `i`, a Connection field. The names that it lists besides options go into `fields.listed`.
 *
 * @returns Options, or {@link MALFORMED}.
 */
export function connectionOptions(fields: FieldTable, i: number): number {
  const { bytes } = fields;
  const end = fields.valueEnd(i);
  let options = 0;
  for (let at = fields.valueStart(i); at < end; at++) {
    const start = skipSpace(bytes, at, end);
    const tokenEnd = skipToken(bytes, start, end);
    at = skipSpace(bytes, tokenEnd, end);
    if (at < end && bytes[at] !== COMMA) return MALFORMED;
    if (tokenEnd > start) options |= optionOf(bytes, start, tokenEnd); // an empty element stands for nothing, §5.6.1
  }
  return (options & LISTS_FIELDS) === 0 || list(fields, i) ? options & ~LISTS_FIELDS : MALFORMED;
}

function optionOf(bytes: Uint8Array, start: number, end: number): number {
  if (equalsToken(bytes, start, end, "keep-alive")) return KEEP_ALIVE;
  if (equalsToken(bytes, start, end, "close")) return CLOSE;
  if (equalsToken(bytes, start, end, "upgrade")) return UPGRADE;
  return LISTS_FIELDS;
}

/** @returns Whether what is listed may be taken away, and is not too much. */
function list(fields: FieldTable, i: number): boolean {
  const names = [...fields.listed?.names ?? [], ...elementsOf(fields.value(i))];
  if (names.length > MAX_LISTED) return false;
  fields.listed = new FieldSet(names);
  return !names.some((name) => NEVER_LISTED.names.includes(name));
}

/** The elements of a comma-separated list, in lower case; empty ones are left out. */
export function elementsOf(value: string): string[] {
  return value.toLowerCase().split(",").map((element) => element.replace(/^[ \t]+|[ \t]+$/g, "")).filter(
    Boolean,
  );
}

function skipSpace(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && (bytes[at] === SPACE || bytes[at] === HTAB)) at++;
  return at;
}

function skipToken(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && TOKEN_LOWER[bytes[at] as number] !== 0) at++;
  return at;
}

const PROTOCOLS = /^[!#$%&'*+\-.^_`|~0-9a-z]+(?:\/[!#$%&'*+\-.^_`|~0-9a-z]+)?$/;

/**
 * The protocols that an Upgrade field names, in lower case, without `h2c`: HTTP/2 in plain would make a tunnel through
 * which requests pass that nobody has looked at.
 *
 * @returns `null` for what is no list of protocols, `undefined` when none is left.
 */
export function protocolsOf(fields: FieldTable): string | undefined | null {
  const all = fields.getAll("upgrade").flatMap(elementsOf);
  if (!all.every((protocol) => PROTOCOLS.test(protocol))) return null;
  return all.filter((protocol) => !/^h2c?(?:\/|$)/.test(protocol)).join(", ") || undefined;
}

/** Whether TE says that trailers are welcome, RFC 9110 §10.1.4. */
export function takesTrailers(value: string): boolean {
  return elementsOf(value).includes("trailers");
}
