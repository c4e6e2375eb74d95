import { BodySkipper } from "./body_skipper.ts";

/** What a head may have before nobody looks any further. */
const MAX_HEAD_BYTES = 32 * 1024;

/** Puts heads together that come in pieces. One that lies whole in the bytes at hand is read there. */
export class HeadCollector<Head extends { length: number }> {
  readonly head: Head;
  /** What follows the last head. */
  readonly body: BodySkipper;
  /** Whether the last {@link take} completed a head. */
  complete = false;
  #begun: Uint8Array | undefined;
  #length = 0;

  /** @param onData See {@link BodySkipper}. */
  constructor(head: Head, onData?: (data: Uint8Array) => void) {
    this.head = head;
    this.body = new BodySkipper(onData);
  }

  /** @returns Where the head ends in `bytes`, or their length; `undefined`: it is none, or too long. */
  take(bytes: Uint8Array, at: number, parse: (seen: Uint8Array) => unknown): number | undefined {
    const before = this.#length;
    const seen = before === 0 ? bytes.subarray(at) : this.#append(bytes.subarray(at));
    if (seen === undefined) return undefined;
    const result = parse(seen);
    this.complete = result === "done";
    if (this.complete) {
      this.#begun = undefined;
      this.#length = 0;
      return at + this.head.length - before;
    }
    if (result !== "more" || (before === 0 && this.#append(seen) === undefined)) return undefined;
    return bytes.length;
  }

  #append(bytes: Uint8Array): Uint8Array | undefined {
    const length = this.#length + bytes.length;
    // What follows the head may be in it too; a head that is not there by then is too long.
    if (length > MAX_HEAD_BYTES) return undefined;
    if (this.#begun === undefined || this.#begun.length < length) {
      const larger = new Uint8Array(Math.min(MAX_HEAD_BYTES, Math.max(2048, 2 * length)));
      if (this.#begun) larger.set(this.#begun.subarray(0, this.#length));
      this.#begun = larger;
    }
    this.#begun.set(bytes, this.#length);
    this.#length = length;
    return this.#begun.subarray(0, length);
  }
}
