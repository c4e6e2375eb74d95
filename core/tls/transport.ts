import { Buffer } from "node:buffer";
import { StreamDuplex, type StreamDuplexOptions } from "../data_plane/streams/duplex.ts";
import type { ByteStream } from "../byte_stream.ts";

/** The runtime copies before it decrypts, allocates anew for each piece that it has encrypted, and forgets that. */
export const RUNTIME_TLS = { lending: true, freeing: true } as const;

/** How much of what a refused client still sends is read away, so that a reset does not overtake its alert. */
const MAX_DISCARDED_BYTES = 65536;

/**
 * What a TLS socket of `node:tls` stands on.
 *
 * When a handshake fails, `node:tls` destroys its transport first and writes the alert afterwards, so that no client
 * ever sees one. Until the handshake is {@link settle settled}, this transport therefore survives being destroyed,
 * and keeps what is written then for {@link dismiss} to send.
 */
export class TlsTransport extends StreamDuplex {
  #phase: "handshake" | "failed" | "settled" = "handshake";
  readonly #lastWords: Uint8Array[] = [];

  constructor(stream: ByteStream, options: StreamDuplexOptions) {
    super(stream, { ...options, ...RUNTIME_TLS });
    // Whoever watches over its time may close the stream at any moment: nobody listening then would end the process.
    this.on("error", () => {});
  }

  /** The handshake is over: from now on this is an ordinary Duplex. */
  settle(): void {
    this.#phase = "settled";
  }

  /** The handshake is a failure, though `node:tls` may think otherwise: what it writes now is kept back. */
  fail(): void {
    this.#phase = "failed";
  }

  /** What `node:tls` wrote after it had given up, if anything. */
  get lastWords(): Uint8Array {
    return Buffer.concat(this.#lastWords);
  }

  override destroy(error?: Error): this {
    // With an error it is the stream beneath that died: then there is nobody to tell.
    if (error !== undefined || this.#phase === "settled") return super.destroy(error);
    this.fail();
    return this;
  }

  override _write(chunk: Uint8Array, encoding: string, done: (error?: Error | null) => void): void {
    if (this.#phase !== "failed") return super._write(chunk, encoding, done);
    this.#lastWords.push(chunk.slice());
    done();
  }

  /** Ends a failed handshake: sends `alert`, waits for the client to take it, and closes the stream. */
  async dismiss(alert: Uint8Array): Promise<void> {
    this.settle();
    if (alert.length > 0 && !this.destroyed) await this.#sayGoodbye(alert);
    this.destroy();
  }

  /** Until the client's FIN, or its reset, or the caller's patience with it is over and it closes the stream. */
  #sayGoodbye(alert: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      let discarded = 0;
      this.on("data", (chunk: Uint8Array) => {
        discarded += chunk.length;
        if (discarded > MAX_DISCARDED_BYTES) resolve();
      });
      this.once("end", resolve);
      this.once("close", resolve);
      if (this.readableEnded) resolve();
      this.end(alert);
      this.release();
      this.resume();
    });
  }
}
