import {
  COLON,
  CR,
  equalsFolded,
  equalsToken,
  hashOf,
  hashStep,
  HTAB,
  IN_VALUE,
  LF,
  SPACE,
  textOf,
  TOKEN_LOWER,
} from "./characters.ts";
import { FAULTS, type HttpFault } from "./fault.ts";

/** More than any client sends: a browser's heads have about 20. */
export const MAX_FIELDS = 100;

/** How far a head is: not all there, entirely there, or refused. */
export type HeadResult = "more" | "done" | HttpFault;

/**
 * Field names to look for or to leave out, hashed once. `_` counts as `-`, because it does for CGI and what came from it:
 * there `X_Forwarded_For` is X-Forwarded-For.
 */
export class FieldSet {
  readonly names: readonly string[];
  readonly #byHash = new Map<number, string[]>();

  /** @param names In lower case. */
  constructor(names: Iterable<string>) {
    this.names = [...names];
    for (const name of this.names) {
      const hash = hashOf(name);
      const same = this.#byHash.get(hash);
      if (same === undefined) this.#byHash.set(hash, [name]);
      else if (!same.includes(name)) same.push(name);
    }
  }

  /** Whether it has the token between `start` and `end`, in whatever case. @param hash Its hash in lower case. */
  has(hash: number, bytes: Uint8Array, start: number, end: number): boolean {
    const names = this.#byHash.get(hash);
    if (names === undefined) return false;
    for (const name of names) if (equalsFolded(bytes, start, end, name)) return true;
    return false;
  }
}

/** Where {@link FieldTable.parse} stands: what it looks for next. */
const LINE = 0, NAME = 1, VALUE_START = 2, VALUE_END = 3, VALUE_LF = 4, LAST_LF = 5;

const FIRST_CAPACITY = 24;

/** Where the fields of one section are, and the hashes of their names. */
interface Positions {
  /** Where name and value of each field start and end. 16 bits: no section ends behind 65,535 (see `limit`). */
  readonly spans: Uint16Array;
  readonly hashes: Int32Array;
}

/** Those of tables that are at rest: two arrays for each connection are more work to make than a head is to parse. */
const spare: Positions[] = [];
const MAX_SPARE = 512;
const NOWHERE: Positions = { spans: new Uint16Array(), hashes: new Int32Array() };
const NOTHING = new Uint8Array();

/**
 * The fields of one head or trailer section, as positions in the bytes that they came in. Reused for one section after
 * the other; nothing is decoded before it is asked for.
 *
 * Valid until the bytes that were parsed change: until the next `fill()` of their `ByteReader` or the first step of a body.
 */
export class FieldTable {
  /** How many fields there are. */
  count = 0;
  /** What the positions are in. */
  bytes: Uint8Array = NOTHING;
  /** Where the section begins and where it ends, the empty line included. */
  start = 0;
  end = 0;
  /** What Connection lists besides its options. Set by whoever reads Connection. */
  listed: FieldSet | undefined;
  #positions = NOWHERE;
  #spans = NOWHERE.spans;
  #hashes = NOWHERE.hashes;
  #state = LINE;
  #at = 0;
  #limit = 0;
  #nameStart = 0;
  #nameEnd = 0;
  #valueStart = 0;
  #valueEnd = 0;
  #hash = 0;

  /**
   * Begins a new section.
   *
   * @param start Where it begins in the bytes that {@link parse} will be given.
   * @param limit Where it must have ended, at most 65,535.
   */
  begin(start: number, limit: number): void {
    if (this.#positions === NOWHERE) this.#take(spare.pop() ?? positions(FIRST_CAPACITY));
    this.count = 0;
    this.listed = undefined;
    this.start = start;
    this.end = start;
    this.#state = LINE;
    this.#at = start;
    this.#limit = limit;
  }

  /** Gives its memory back until the next section begins: there are no fields then. Harmless twice. */
  release(): void {
    this.count = 0;
    this.bytes = NOTHING;
    this.listed = undefined;
    if (this.#hashes.length === FIRST_CAPACITY && spare.length < MAX_SPARE) spare.push(this.#positions);
    this.#take(NOWHERE);
  }

  #take(positions: Positions): void {
    this.#positions = positions;
    this.#spans = positions.spans;
    this.#hashes = positions.hashes;
  }

  /**
   * Reads on, from where it stopped, to the empty line. Looks at each byte once, however many calls it takes.
   *
   * @param seen All bytes, from where positions count.
   */
  parse(seen: Uint8Array): HeadResult {
    const end = Math.min(seen.length, this.#limit);
    let at = this.#at;
    let hash = this.#hash;
    let state = this.#state;
    this.bytes = seen;
    while (at < end) {
      if (state === LINE) {
        if (seen[at] === CR) {
          at++;
          state = LAST_LF;
          continue;
        }
        this.#nameStart = at;
        hash = 0;
        state = NAME;
      }
      if (state === NAME) {
        let lower = 0;
        while (at < end && (lower = TOKEN_LOWER[seen[at] as number] as number) !== 0) {
          hash = hashStep(hash, lower);
          at++;
        }
        if (at === end) break;
        if (seen[at] !== COLON || at === this.#nameStart) return this.#badName(seen, at);
        if (this.count === MAX_FIELDS) return FAULTS.tooManyFields;
        this.#nameEnd = at++;
        state = VALUE_START;
      }
      if (state === VALUE_START) {
        while (at < end && (seen[at] === SPACE || seen[at] === HTAB)) at++;
        if (at === end) break;
        this.#valueStart = at;
        state = VALUE_END;
      }
      if (state === VALUE_END) {
        while (at < end && IN_VALUE[seen[at] as number] === 1) at++;
        if (at === end) break;
        if (seen[at] !== CR) return seen[at] === LF ? FAULTS.bareLf : FAULTS.fieldValue;
        this.#valueEnd = at++;
        state = VALUE_LF;
        if (at === end) break;
      }
      if (seen[at] !== LF) return FAULTS.bareCr;
      at++;
      if (state === LAST_LF) {
        this.end = at;
        return "done";
      }
      this.#add(seen, hash);
      state = LINE;
    }
    this.#at = at;
    this.#hash = hash;
    this.#state = state;
    return at >= this.#limit ? FAULTS.headTooLong : "more";
  }

  #badName(seen: Uint8Array, at: number): HttpFault {
    const byte = seen[at];
    if (byte === LF) return FAULTS.bareLf;
    if (byte !== SPACE && byte !== HTAB) return FAULTS.fieldName;
    return at === this.#nameStart ? FAULTS.lineFolding : FAULTS.spaceBeforeColon;
  }

  #add(seen: Uint8Array, hash: number): void {
    if (this.count === this.#hashes.length) this.#grow();
    let valueEnd = this.#valueEnd;
    while (valueEnd > this.#valueStart && (seen[valueEnd - 1] === SPACE || seen[valueEnd - 1] === HTAB)) {
      valueEnd--;
    }
    const span = 4 * this.count;
    this.#spans[span] = this.#nameStart;
    this.#spans[span + 1] = this.#nameEnd;
    this.#spans[span + 2] = this.#valueStart;
    this.#spans[span + 3] = valueEnd;
    this.#hashes[this.count++] = hash;
  }

  #grow(): void {
    const larger = positions(MAX_FIELDS);
    larger.spans.set(this.#spans);
    larger.hashes.set(this.#hashes);
    this.#take(larger);
  }

  /** Where the name of field `i` starts in {@link bytes}, and with it the line. */
  nameStart(i: number): number {
    return this.#spans[4 * i] as number;
  }

  nameEnd(i: number): number {
    return this.#spans[4 * i + 1] as number;
  }

  /** Where the value of field `i` starts, without the whitespace around it. */
  valueStart(i: number): number {
    return this.#spans[4 * i + 2] as number;
  }

  valueEnd(i: number): number {
    return this.#spans[4 * i + 3] as number;
  }

  /** The hash of the name of field `i`: see `hashOf`. */
  hash(i: number): number {
    return this.#hashes[i] as number;
  }

  /** The name of field `i`, in lower case. */
  name(i: number): string {
    return textOf(this.bytes, this.nameStart(i), this.nameEnd(i)).toLowerCase();
  }

  /** The whole section as it was sent, the empty line included, each byte as one character. */
  get text(): string {
    return textOf(this.bytes, this.start, this.end);
  }

  /** The value of field `i`, each byte as one character, without the whitespace around it. */
  value(i: number): string {
    return textOf(this.bytes, this.valueStart(i), this.valueEnd(i));
  }

  /** Whether field `i` has the name `lower`. */
  is(i: number, lower: string): boolean {
    return equalsToken(this.bytes, this.nameStart(i), this.nameEnd(i), lower);
  }

  /** Whether the name of field `i` is in `set`. */
  isIn(i: number, set: FieldSet): boolean {
    return set.has(this.hash(i), this.bytes, this.nameStart(i), this.nameEnd(i));
  }

  /** The number of the first field called `lower`, from `from` on, or -1. */
  find(lower: string, from = 0): number {
    const hash = hashOf(lower);
    for (let i = from; i < this.count; i++) if (this.#hashes[i] === hash && this.is(i, lower)) return i;
    return -1;
  }

  has(lower: string): boolean {
    return this.find(lower) >= 0;
  }

  /** The first value of the fields called `lower`. */
  get(lower: string): string | undefined {
    const i = this.find(lower);
    return i < 0 ? undefined : this.value(i);
  }

  /** Every value of the fields called `lower`, in order. */
  getAll(lower: string): string[] {
    const values: string[] = [];
    for (let i = this.find(lower); i >= 0; i = this.find(lower, i + 1)) values.push(this.value(i));
    return values;
  }
}

function positions(capacity: number): Positions {
  return { spans: new Uint16Array(4 * capacity), hashes: new Int32Array(capacity) };
}
