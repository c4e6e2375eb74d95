import {
  CLOSE,
  type CloseStatus,
  isNormalClose,
  MAX_CONTROL_BYTES,
  parseClose,
  WebSocketFault,
} from "./closing.ts";
import {
  CONTROL_BIT,
  FIN,
  LENGTH_16,
  LENGTH_64,
  LENGTH_BITS,
  MASKED,
  MAX_HEADER_BYTES,
  OPCODE,
  OPCODE_BITS,
  RESERVED_BITS,
  type WebSocketRole,
} from "./frame.ts";
import { IdleFrameBudget } from "./idle_frame_budget.ts";
import { applyMask, rotatedKey } from "./masking.ts";

/**
 * The most payload of a received frame. Payload is passed on as it comes and never gathered, so that this bounds no
 * memory: it tells a peer that speaks something else, and is far above the 64 KiB to 1 MiB that anyone sends.
 */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/**
 * Takes the frames off a received byte stream and leaves their payload, strictly by RFC 6455 and without extensions.
 *
 * It works where the bytes lie: payload is unmasked and moved together in the reader's own buffer, and what is not
 * payload is taken into a few fields here. So there is never anything left over, and a frame costs no memory.
 */
export class FrameReader {
  readonly #expectsMask: boolean;
  readonly #onMessageEnd: ((at: number) => void) | undefined;
  readonly #budget: IdleFrameBudget;
  /** As much of the current header as has come, and how long it is as far as can be told. */
  readonly #header = new Uint8Array(MAX_HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  #headerHave = 0;
  #headerNeed = 2;
  /** Of the current frame, once its header is whole. */
  #opcode = 0;
  #payloadLeft = 0;
  /** Of the bytes that are being taken in: how much payload has been found so far. */
  #kept = 0;
  #key = 0;
  /** Behind a binary frame or a continuation without FIN. */
  #inMessage = false;
  #control: Uint8Array | undefined;
  #controlHave = 0;
  #ping: Uint8Array | undefined;
  #close: CloseStatus | undefined;
  #fault: WebSocketFault | undefined;

  /**
   * @param role Our own: a server takes masked frames only, a client only those that are not.
   * @param onMessageEnd Called where a message ends: with how much of the payload that the current {@link take} finds lies before it.
   */
  constructor(role: WebSocketRole, now: () => number, onMessageEnd?: (at: number) => void) {
    this.#expectsMask = role === "server";
    this.#onMessageEnd = onMessageEnd;
    this.#budget = new IdleFrameBudget(now);
  }

  /** Set once the peer has closed. Nothing behind that is looked at. */
  get close(): CloseStatus | undefined {
    return this.#close;
  }

  /** Set once the peer broke a rule. Nothing behind that is looked at. */
  get fault(): WebSocketFault | undefined {
    return this.#fault;
  }

  /** The payload of the last ping that waits for its pong, for the caller to keep. Earlier ones need none (§5.5.3). */
  takePing(): Uint8Array | undefined {
    const ping = this.#ping;
    this.#ping = undefined;
    return ping;
  }

  /**
   * Takes `bytes[0, length)` in, as it came from the transport.
   *
   * @returns How much of it is payload, which now stands at the start of `bytes`; the rest of it is garbage.
   */
  take(bytes: Uint8Array, length: number): number {
    let at = 0;
    this.#kept = 0;
    while (at < length && this.#close === undefined && this.#fault === undefined) {
      if (this.#headerHave < this.#headerNeed) {
        at = this.#takeHeader(bytes, at, length);
        continue;
      }
      const end = Math.min(length, at + this.#payloadLeft);
      if ((this.#opcode & CONTROL_BIT) === 0) this.#kept = this.#keep(bytes, at, end, this.#kept);
      else this.#takeControl(bytes, at, end);
      this.#payloadLeft -= end - at;
      at = end;
      if (this.#payloadLeft === 0) this.#endFrame();
    }
    return this.#kept;
  }

  #keep(bytes: Uint8Array, from: number, to: number, kept: number): number {
    if (from !== kept) bytes.copyWithin(kept, from, to);
    const end = kept + to - from;
    this.#unmask(bytes, kept, end);
    return end;
  }

  #unmask(bytes: Uint8Array, from: number, to: number): void {
    if (!this.#expectsMask) return;
    applyMask(bytes, from, to, this.#key);
    this.#key = rotatedKey(this.#key, to - from);
  }

  #takeControl(bytes: Uint8Array, from: number, to: number): void {
    const payload = this.#control ??= new Uint8Array(MAX_CONTROL_BYTES);
    const start = this.#controlHave;
    payload.set(bytes.subarray(from, to), start);
    this.#controlHave += to - from;
    this.#unmask(payload, start, this.#controlHave);
  }

  #endFrame(): void {
    this.#headerHave = 0;
    this.#headerNeed = 2;
    if ((this.#opcode & CONTROL_BIT) === 0) {
      if (!this.#inMessage) this.#onMessageEnd?.(this.#kept);
      return;
    }
    const payload = this.#control?.slice(0, this.#controlHave) ?? new Uint8Array(0);
    this.#controlHave = 0;
    if (this.#opcode === OPCODE.ping) this.#ping = payload;
    if (this.#opcode === OPCODE.close) this.#endStream(payload);
  }

  #endStream(payload: Uint8Array): void {
    const close = parseClose(payload);
    if (close instanceof WebSocketFault) this.#fault = close;
    else if (this.#inMessage && isNormalClose(close)) this.#fail("Normal close inside a message");
    else this.#close = close;
  }

  /** Takes in header bytes up to its end; each is checked when it comes. @returns Where they end. */
  #takeHeader(bytes: Uint8Array, at: number, length: number): number {
    while (at < length) {
      const byte = bytes[at++] ?? 0;
      this.#header[this.#headerHave++] = byte;
      if (this.#headerHave === 1) this.#checkFirst(byte);
      else if (this.#headerHave === 2) this.#checkSecond(byte);
      if (this.#fault !== undefined) break;
      if (this.#headerHave === this.#headerNeed) {
        this.#openFrame();
        break;
      }
    }
    return at;
  }

  #checkFirst(byte: number): void {
    const opcode = this.#opcode = byte & OPCODE_BITS;
    const isLast = (byte & FIN) !== 0;
    if ((byte & RESERVED_BITS) !== 0) return this.#fail("Frame with a reserved bit");
    switch (opcode) {
      case OPCODE.continuation:
        if (!this.#inMessage) return this.#fail("Continuation frame outside of a message");
        break;
      case OPCODE.binary:
        if (this.#inMessage) return this.#fail("New message inside a message");
        break;
      case OPCODE.text:
        return this.#fail("Text frame: only binary ones are spoken here", CLOSE.unsupportedData);
      case OPCODE.close:
      case OPCODE.ping:
      case OPCODE.pong:
        return isLast ? undefined : this.#fail("Fragmented control frame");
      default:
        return this.#fail(`Frame with the reserved opcode ${opcode}`);
    }
    this.#inMessage = !isLast;
  }

  #checkSecond(byte: number): void {
    const isMasked = (byte & MASKED) !== 0;
    const length = byte & LENGTH_BITS;
    if (isMasked !== this.#expectsMask) {
      return this.#fail(isMasked ? "Masked frame from a server" : "Frame of a client that is not masked");
    }
    if ((this.#opcode & CONTROL_BIT) !== 0 && length > MAX_CONTROL_BYTES) {
      return this.#fail("Control frame over 125 bytes");
    }
    const lengthBytes = length === LENGTH_16 ? 2 : length === LENGTH_64 ? 8 : 0;
    this.#headerNeed = 2 + lengthBytes + (isMasked ? 4 : 0);
  }

  /** The header is whole. */
  #openFrame(): void {
    const isControl = (this.#opcode & CONTROL_BIT) !== 0;
    const length = this.#readLength();
    if (length === undefined) return;
    if (length > MAX_FRAME_BYTES) {
      return this.#fail(`Frame of ${length} bytes, over ${MAX_FRAME_BYTES}`, CLOSE.tooBig);
    }
    if ((isControl || length === 0) && this.#opcode !== OPCODE.close && !this.#budget.spend()) {
      return this.#fail("Too many frames without data", CLOSE.policyViolation);
    }
    if (this.#expectsMask) this.#key = this.#view.getInt32(this.#headerNeed - 4, true);
    this.#payloadLeft = length;
    if (length === 0) this.#endFrame();
  }

  /** @returns `undefined` for a fault. */
  #readLength(): number | undefined {
    const short = this.#view.getUint8(1) & LENGTH_BITS;
    if (short < LENGTH_16) return short;
    const high = short === LENGTH_64 ? this.#view.getUint32(2) : 0;
    const length = short === LENGTH_64 ? high * 2 ** 32 + this.#view.getUint32(6) : this.#view.getUint16(2);
    if (high > 0x7fffffff) return this.#fail("Frame length with its highest bit set");
    if (length < LENGTH_16 || (short === LENGTH_64 && length <= 0xffff)) {
      return this.#fail("Frame length that is not written the shortest way");
    }
    return length;
  }

  #fail(message: string, code: number = CLOSE.protocolError): undefined {
    this.#fault = new WebSocketFault(code, message);
  }
}
