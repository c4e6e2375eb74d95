import type { ByteStream } from "../../../core/plugin/mod.ts";

/** `PRI * HTTP/2.0 CRLF CRLF SM CRLF CRLF`, RFC 9113 §3.4. */
const PREFACE_LENGTH = 24;
const FRAME_HEAD = 9;
const DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8;
const END_STREAM = 1, ACK = 1;

/**
 * What a client may spend at once. A page that is left cancels as many streams as it has open, 100 at the most, and this is
 * several such pages.
 */
const BURST = 400;
/** What it gets back in a second. */
const REFILL_PER_SECOND = 40;

/**
 * Counts the frames of a client that cost the gateway something and bring nothing: streams that are reset, pings, settings,
 * empty data, continuations, whatever is unknown. The attacks of the kind (CVE-2019-9511 and those behind it,
 * CVE-2023-44487, CVE-2024-27983) all need thousands of them.
 *
 * It looks at frame heads alone, and only at what has been read; the protocol itself is for others to check.
 */
export class FrameGuard {
  #credit = BURST;
  #refilledAt = performance.now();
  /** Bytes to pass over before the next frame's head. */
  #skip = PREFACE_LENGTH;
  readonly #head = new Uint8Array(FRAME_HEAD);
  #headLength = 0;

  /** @returns Whether these bytes, the next ones of the connection, are still within what a client may send. */
  allows(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length;) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, bytes.length - at);
        this.#skip -= passed;
        at += passed;
        continue;
      }
      this.#head[this.#headLength++] = bytes[at++] as number;
      if (this.#headLength < FRAME_HEAD) continue;
      this.#headLength = 0;
      const [high = 0, middle = 0, low = 0, type = 0, flags = 0] = this.#head;
      this.#skip = (high << 16) | (middle << 8) | low;
      if (!this.#spend(costOf(type, flags, this.#skip))) return false;
    }
    return true;
  }

  #spend(cost: number): boolean {
    if (cost === 0) return true;
    this.#credit -= cost;
    if (this.#credit >= 0) return true;
    const now = performance.now();
    const earned = (now - this.#refilledAt) / 1000 * REFILL_PER_SECOND;
    this.#refilledAt = now;
    this.#credit = Math.min(BURST, this.#credit + earned);
    return this.#credit >= 0;
  }
}

function costOf(type: number, flags: number, length: number): number {
  switch (type) {
    case DATA: // without a byte and without an end it says nothing
      return length > 0 || (flags & END_STREAM) !== 0 ? 0 : 1;
    case HEADERS: // bounded by how many streams there may be, and by what their resets cost
      return 0;
    case SETTINGS:
    case PING:
      return (flags & ACK) !== 0 ? 0 : 1;
    case WINDOW_UPDATE: // one or two for each piece of a body that we send
      return 0;
    default:
      return 1;
  }
}

/** @param onFlood Called once, when the client goes too far. Nothing more is read then. */
export function guarded(stream: ByteStream, onFlood: () => void): ByteStream {
  const guard = new FrameGuard();
  return {
    async read(into) {
      const length = await stream.read(into);
      if (length === null || guard.allows(into.subarray(0, length))) return length;
      onFlood();
      return null;
    },
    write: (data) => stream.write(data),
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}
