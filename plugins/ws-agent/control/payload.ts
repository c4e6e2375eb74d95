import { ControlFault } from "./fault.ts";
import type { Uuid } from "./messages.ts";
import { UUID_BYTES, uuidFromBytes, uuidToBytes } from "./uuid.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Reads the fields of a payload in their order. Each read throws a {@link ControlFault} where the field is not there. */
export class PayloadReader {
  readonly #type: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  /** @param type The message's, for its faults. */
  constructor(type: number, bytes: Uint8Array) {
    this.#type = type;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  uint8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  /** Big-endian. */
  uint16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  /** Milliseconds since 1970, in eight bytes. */
  time(): number {
    const time = Number(this.#view.getBigUint64(this.#skip(8)));
    if (!Number.isSafeInteger(time)) throw this.fault("holds a time that is far off");
    return time;
  }

  uuid(): Uuid {
    const at = this.#skip(UUID_BYTES);
    return uuidFromBytes(this.#bytes.subarray(at, at + UUID_BYTES));
  }

  /** The next `length` bytes as text. */
  text(length: number): string {
    const at = this.#skip(length);
    try {
      return utf8.decode(this.#bytes.subarray(at, at + length));
    } catch {
      throw this.fault("holds text that is no UTF-8");
    }
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Throws when bytes are left over. */
  end(): void {
    if (this.left > 0) throw this.fault("has bytes behind its end");
  }

  fault(what: string): ControlFault {
    const type = this.#type.toString(16).padStart(2, "0");
    return new ControlFault("malformed", `Control message 0x${type} ${what}`, this.#type);
  }

  #skip(length: number): number {
    const at = this.#at;
    if (length > this.left) throw this.fault("is too short");
    this.#at += length;
    return at;
  }
}

/** Gathers the fields of a payload. Misuse throws a `RangeError`. */
export class PayloadWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  uint8(value: number): this {
    return this.#integer(value, 1);
  }

  /** Big-endian. */
  uint16(value: number): this {
    return this.#integer(value, 2);
  }

  /** Milliseconds since 1970, in eight bytes. */
  time(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no time`);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
    return this.#add(bytes);
  }

  uuid(value: Uuid): this {
    return this.#add(uuidToBytes(value));
  }

  /** Text behind its length in so many bytes, or without a length at the end of a payload. */
  text(value: string, lengthBytes: 0 | 1 | 2): this {
    const bytes = encoder.encode(value);
    return lengthBytes === 0 ? this.#add(bytes) : this.#integer(bytes.length, lengthBytes).#add(bytes);
  }

  /** Puts it all together, from `at` on. */
  copyTo(into: Uint8Array, at: number): void {
    for (const part of this.#parts) {
      into.set(part, at);
      at += part.length;
    }
  }

  #integer(value: number, bytes: 1 | 2): this {
    const limit = 2 ** (8 * bytes);
    if (!Number.isInteger(value) || value < 0 || value >= limit) {
      throw new RangeError(`${value} does not fit into ${bytes === 1 ? "a byte" : "two bytes"}`);
    }
    return this.#add(bytes === 1 ? Uint8Array.of(value) : Uint8Array.of(value >>> 8, value & 0xff));
  }

  #add(part: Uint8Array): this {
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }
}
