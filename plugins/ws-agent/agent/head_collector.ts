import { BodySkipper } from "./body_skipper.ts";

/** What a head may have before nobody looks any further. */
const MAX_HEAD_BYTES = 32 * 1024;

/** What parses a head, and where its fields are then. */
interface CollectedHead {
  readonly length: number;
  readonly fields: { release(): void };
}

/** Puts heads together that come in pieces. One that lies whole in the bytes at hand is read there. */
export class HeadCollector<Head extends CollectedHead> {
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
    const result = parse(seen);
    this.complete = result === "done";
    if (this.complete) {
      this.#begun = undefined;
      this.#length = 0;
      return at + this.head.length - before;
    }
    if (result !== "more") return undefined;
    if (before === 0) this.#append(seen);
    return this.#length < MAX_HEAD_BYTES ? bytes.length : undefined;
  }

  /** Lets go of the memory that the last head is in; only its plain properties are left of it. */
  release(): void {
    this.#begun = undefined;
    this.#length = 0;
    this.head.fields.release();
  }

  /** @param bytes A body may follow the head in there: as much is taken as a head may have. */
  #append(bytes: Uint8Array): Uint8Array {
    const taken = bytes.subarray(0, MAX_HEAD_BYTES - this.#length);
    const length = this.#length + taken.length;
    if (this.#begun === undefined || this.#begun.length < length) {
      const larger = new Uint8Array(Math.min(MAX_HEAD_BYTES, Math.max(2048, 2 * length)));
      if (this.#begun) larger.set(this.#begun.subarray(0, this.#length));
      this.#begun = larger;
    }
    this.#begun.set(taken, this.#length);
    this.#length = length;
    return this.#begun.subarray(0, length);
  }
}
