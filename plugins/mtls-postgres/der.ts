/** Tags of the universal class that certificates and revocation lists are made of (X.690 §8). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/** Three bytes say up to 16 MiB: far more than any file or message that is read here. */
const MAX_LENGTH_BYTES = 3;

/** Bytes are not what they must be, or not in the one way that DER has to say it. */
export class DerError extends Error {
  override readonly name = "DerError";
}

/**
 * Reads elements one after the other, strictly: tags of one byte, definite lengths in their shortest form, nothing
 * behind the end (X.690 §10). Whoever reads says what must come next, so that nothing here goes deeper than its
 * caller does. What it returns are views of the input.
 *
 * @throws {DerError} From every method, when the input is anything else.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag of the next element, if there is one. */
  get tag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The content of the next element, which must have this tag. */
  read(tag: number): Uint8Array {
    const start = this.#contentStart(tag);
    return this.#bytes.subarray(start, this.#at);
  }

  /** The next element with its tag and length: what signatures are over, and names are compared by. */
  readWhole(tag: number): Uint8Array {
    const start = this.#at;
    this.#contentStart(tag);
    return this.#bytes.subarray(start, this.#at);
  }

  /** {@link DerReader.read} for what may be absent. */
  readOptional(tag: number): Uint8Array | undefined {
    return this.tag === tag ? this.read(tag) : undefined;
  }

  /** A reader for what is within the next element. */
  enter(tag: number = TAG.sequence): DerReader {
    return new DerReader(this.read(tag));
  }

  /** {@link DerReader.enter} for what may be absent. */
  enterOptional(tag: number): DerReader | undefined {
    return this.tag === tag ? this.enter(tag) : undefined;
  }

  /** Nothing may be left. */
  end(): void {
    if (!this.done) throw new DerError(`${this.#bytes.length - this.#at} bytes follow where nothing may`);
  }

  /** Goes behind the next element; gives where its content began. */
  #contentStart(tag: number): number {
    const found = this.#bytes[this.#at];
    if (found !== tag) {
      throw new DerError(`Tag ${found === undefined ? "missing" : hex(found)}, wanted ${hex(tag)}`);
    }
    const first = this.#byte(this.#at + 1);
    const long = first >= 0x80;
    const start = this.#at + 2 + (long ? first & 0x7f : 0);
    const length = long ? this.#longLength(first & 0x7f) : first;
    if (start + length > this.#bytes.length) throw new DerError("An element is longer than what it is in");
    this.#at = start + length;
    return start;
  }

  #longLength(count: number): number {
    if (count === 0) throw new DerError("An indefinite length, which DER does not have");
    if (count > MAX_LENGTH_BYTES) throw new DerError(`A length of ${count} bytes`);
    let length = 0;
    for (let i = 0; i < count; i++) length = length << 8 | this.#byte(this.#at + 2 + i);
    if (length < 0x80 || length >> 8 * (count - 1) === 0) {
      throw new DerError("A length not in its shortest form");
    }
    return length;
  }

  #byte(at: number): number {
    const byte = this.#bytes[at];
    if (byte === undefined) throw new DerError("Cut off within a length");
    return byte;
  }
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

/** The content of an INTEGER. In DER a number has one encoding only, so equal bytes are equal numbers. */
export function readInteger(reader: DerReader): Uint8Array {
  const content = reader.read(TAG.integer);
  const [first, second = 0] = content;
  if (first === undefined) throw new DerError("A number without bytes");
  const padded = content.length > 1 && (first === 0 && second < 0x80 || first === 0xff && second >= 0x80);
  if (padded) throw new DerError("A number not in its shortest form");
  return content;
}

/**
 * A BOOLEAN that is false when absent. DER says to leave it out then; many issuers write the `FALSE` all the same,
 * and as nobody can take it for anything else, it is let pass.
 */
export function readFlag(reader: DerReader): boolean {
  const content = reader.readOptional(TAG.boolean);
  if (content === undefined) return false;
  const [value] = content;
  if (content.length !== 1 || value !== 0 && value !== 0xff) {
    throw new DerError("A flag neither true nor false");
  }
  return value === 0xff;
}

/** The content of an OBJECT IDENTIFIER in hex: `551d11` is 2.5.29.17. */
export function readOid(reader: DerReader): string {
  const content = reader.read(TAG.oid);
  let startsArc = true;
  for (const byte of content) {
    if (startsArc && byte === 0x80) throw new DerError("An object identifier not in its shortest form");
    startsArc = byte < 0x80;
  }
  if (content.length === 0 || !startsArc) throw new DerError("An object identifier without an end");
  return content.toHex();
}

/** The bytes of a BIT STRING; bits that it does not have are 0. */
export function readBits(reader: DerReader): Uint8Array {
  const content = reader.read(TAG.bitString);
  const unused = content[0] ?? 8;
  const last = content.length > 1 ? content[content.length - 1] ?? 0 : 0;
  if (unused > (content.length > 1 ? 7 : 0) || (last & (1 << unused) - 1) !== 0) {
    throw new DerError("A bit string with a wrong count of unused bits");
  }
  return content.subarray(1);
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** A Time in milliseconds since 1970: to the second, and in UTC (RFC 5280 §4.1.2.5). */
export function readTime(reader: DerReader): number {
  const short = reader.tag === TAG.utcTime;
  const text = String.fromCharCode(
    ...reader.read(short ? TAG.utcTime : TAG.generalizedTime).subarray(0, 16),
  );
  const fields = (short ? UTC_TIME : GENERALIZED_TIME).exec(text)?.slice(1).map(Number);
  if (fields === undefined) throw new DerError("A time not in UTC and to the second");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields;
  const time = Date.UTC(
    short ? year + (year < 50 ? 2000 : 1900) : year,
    month - 1,
    day,
    hour,
    minute,
    second,
  );
  // Date carries over what is out of range: the 31st of April would be the 1st of May.
  const written = new Date(time).toISOString().replaceAll(/[-:T]|\..*$/g, "");
  if (!`${written}Z`.endsWith(text)) throw new DerError("A time that does not exist");
  return time;
}
