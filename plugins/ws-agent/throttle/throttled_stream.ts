import type { ByteStream } from "../../../core/plugin/mod.ts";
import type { Bandwidth, Payment } from "./bandwidth.ts";

/** What waits in one piece: small, so that those who share a bandwidth take turns. */
const MAX_PIECE_BYTES = 16 * 1024;

/** What streams that go by the same limit share. */
export interface StreamThrottle {
  /** Of what is written. */
  readonly sending: Bandwidth;
  /** Of what is read. */
  readonly receiving: Bandwidth;
  /** By the monotonic clock, in milliseconds. */
  now(): number;
  /** Waits until bytes may go: {@link Bandwidth.tick} is to be called for it from now on. */
  wait(bandwidth: Bandwidth, payment: Payment): void;
}

/**
 * A stream whose bytes go no faster than a bandwidth that it shares with others. They are only ever late: whoever sends
 * is held up by the window of its stream, and nothing is dropped.
 */
export class ThrottledStream implements ByteStream {
  readonly #stream: ByteStream;
  readonly #throttle: StreamThrottle;
  /** Those of a read and of a write that wait. */
  readonly #payments = new Map<Payment, Bandwidth>();
  #isClosed = false;

  constructor(stream: ByteStream, throttle: StreamThrottle) {
    this.#stream = stream;
    this.#throttle = throttle;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#stream.read(into.subarray(0, MAX_PIECE_BYTES));
    // After the read, because how much there is to pay for, and when, nobody knows before it.
    if (length !== null) await this.#pay(this.#throttle.receiving, length);
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    const piece = data.subarray(0, MAX_PIECE_BYTES);
    await this.#pay(this.#throttle.sending, piece.length);
    const length = await this.#stream.write(piece);
    if (length < piece.length) this.#throttle.sending.giveBack(piece.length - length);
    return length;
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#isClosed = true;
    for (const [payment, bandwidth] of this.#payments) bandwidth.giveUp(payment);
    this.#stream.close();
  }

  async #pay(bandwidth: Bandwidth, bytes: number): Promise<void> {
    if (!bandwidth.take(bytes, this.#throttle.now())) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const payment: Payment = { bytes, settle: resolve };
      this.#payments.set(payment, bandwidth);
      this.#throttle.wait(bandwidth, payment);
      await promise;
      this.#payments.delete(payment);
    }
    if (this.#isClosed) throw new Deno.errors.Interrupted("The stream was closed");
  }
}
