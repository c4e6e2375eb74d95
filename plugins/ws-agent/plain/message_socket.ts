import type { ByteStream } from "../../../core/plugin/mod.ts";
import { MAX_MESSAGE_BYTES } from "../control/codec.ts";
import { ControlFault } from "../control/fault.ts";
import { WebSocketBytes, type WebSocketOptions } from "../websocket/web_socket_bytes.ts";

/** Most messages have some 20 bytes, and an idle tunnel should cost little. */
const SMALL_BYTES = 256;

/**
 * A WebSocket whose messages mean something: each holds one control message. Reads only when it is asked for one, so an agent that sends
 * more than is taken is held back. Each write to {@link bytes} is a message.
 */
export class MessageSocket {
  /** What is written, and closed. Only {@link receive} reads from it. */
  readonly bytes: ByteStream;
  #buffer = new Uint8Array(SMALL_BYTES);
  /** What was received and not given out yet. */
  #from = 0;
  #to = 0;
  /** Where whole messages end in it. */
  #ends: number[] = [];
  /** The peer has closed. */
  #isOver = false;

  /** Owns the transport. */
  constructor(transport: ByteStream, options: Omit<WebSocketOptions, "onMessageEnd">) {
    this.bytes = new WebSocketBytes(transport, {
      ...options,
      onMessageEnd: (at) => this.#ends.push(this.#to + at),
    });
  }

  /**
   * The next message, which is good until the next call, or `null` when the peer has closed behind the last.
   *
   * @throws {ControlFault} It is too long, or cut off. {WebSocketFault} The peer broke a rule. Else what the transport throws.
   */
  async receive(): Promise<Uint8Array | null> {
    for (;;) {
      const end = this.#ends.shift();
      if (end !== undefined) return this.#take(end);
      if (this.#isOver) return this.#end();
      this.#makeRoom();
      await this.#read();
    }
  }

  /** Reads on. What has come before the end is given out before it: an empty message may have, of which a read says nothing. */
  async #read(): Promise<void> {
    try {
      const read = await this.bytes.read(this.#buffer.subarray(this.#to));
      if (read === null) this.#isOver = true;
      else this.#to += read;
    } catch (error) {
      if (this.#ends.length === 0) throw error;
    }
  }

  #take(end: number): Uint8Array {
    const message = this.#buffer.subarray(this.#from, end);
    this.#from = end;
    return message;
  }

  #end(): null {
    if (this.#from === this.#to) return null;
    throw new ControlFault(
      "truncated",
      "The WebSocket was closed inside a message",
      this.#buffer[this.#from],
    );
  }

  /** Makes room for more of a message: as its bytes come, up to the most that one may have. */
  #makeRoom(): void {
    if (this.#from === this.#to) {
      if (this.#buffer.length > SMALL_BYTES) this.#buffer = new Uint8Array(SMALL_BYTES);
      this.#from = this.#to = 0;
    }
    if (this.#to < this.#buffer.length) return;
    this.#buffer.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
    if (this.#to < this.#buffer.length) return;
    if (this.#to >= MAX_MESSAGE_BYTES) {
      throw new ControlFault("too_long", `A message of over ${MAX_MESSAGE_BYTES} bytes`, this.#buffer[0]);
    }
    const larger = new Uint8Array(Math.min(MAX_MESSAGE_BYTES, 2 * this.#buffer.length));
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}
