import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import type { ByteStream } from "../../byte_stream.ts";
import type { Endpoint } from "../../plugin/contract.ts";
import { coarseNow, type Timed, unwatch, watch } from "./coarse_timeouts.ts";

/** What an idle stream holds for its next read. */
const SMALL_READ = 4096;
/** What a busy one reads into: measured, 256 KiB moves no more through TLS, and 16 KiB a third less. */
const LARGE_READ = 65536;

export interface StreamDuplexOptions {
  /** Bytes that were read from the stream already; they come first. */
  readonly replay?: Uint8Array | undefined;
  /** Who is at the other end, for libraries that ask a socket for it. */
  readonly remote?: Endpoint | undefined;
}

/**
 * A byte stream as a `node:stream` Duplex, for libraries that want a socket: `node:tls`, `node:http`, `ws`.
 *
 * It owns the stream: destroying the Duplex closes it. Half-close is kept both ways. The next read starts when the
 * reader wants more, and a write calls back when the stream has taken all of it, which is the backpressure.
 */
export class StreamDuplex extends Duplex implements Timed {
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  /** As of `net.Socket`; 0: never. */
  timeoutMs = 0;
  lastActive = 0;
  readonly #stream: ByteStream;
  readonly #small = new Uint8Array(SMALL_READ);
  #large: Uint8Array | undefined;
  #replay: Uint8Array | undefined;
  #reading = false;
  #wanted = false;
  #held = false;

  constructor(stream: ByteStream, { replay, remote }: StreamDuplexOptions = {}) {
    super({ highWaterMark: LARGE_READ, allowHalfOpen: true });
    this.#stream = stream;
    this.#replay = replay?.length ? replay : undefined;
    this.remoteAddress = remote?.address;
    this.remotePort = remote?.port;
  }

  override _read(): void {
    this.#wanted = true;
    this.#readMore();
  }

  /**
   * Stops reading from the stream, however much the reader wants. For readers that pause without telling: TLS on
   * this runtime keeps decrypting into memory of its own while nobody takes the plaintext.
   */
  hold(): void {
    this.#held = true;
  }

  /** Reads on after {@link hold}. */
  release(): void {
    this.#held = false;
    if (this.#wanted) this.#readMore();
  }

  #readMore(): void {
    if (this.#replay !== undefined) {
      const first = this.#replay;
      this.#replay = undefined;
      this.#wanted = false;
      this.push(asBuffer(first));
      return;
    }
    if (this.#reading || this.#held || this.destroyed) return;
    this.#reading = true;
    this.#stream.read(this.#large ?? this.#small).then(this.#onRead, this.#onReadFailure);
  }

  readonly #onRead = (length: number | null): void => {
    this.#reading = false;
    if (this.destroyed) return;
    this.lastActive = coarseNow();
    this.#wanted = false;
    this.push(length === null ? null : this.#take(length));
  };

  readonly #onReadFailure = (error: unknown): void => {
    this.#reading = false;
    if (!this.destroyed) this.destroy(asError(error));
  };

  /**
   * The bytes of the last read, in memory that the reader may keep. A read that filled its buffer has more behind
   * it, so the next one is large; a large buffer that came back well filled is given away rather than copied.
   */
  #take(length: number): Buffer {
    const large = this.#large;
    if (large === undefined) {
      if (length === SMALL_READ) this.#large = new Uint8Array(LARGE_READ);
      return copyOf(this.#small, length);
    }
    if (length >= LARGE_READ / 2) {
      this.#large = new Uint8Array(LARGE_READ);
      return asBuffer(large.subarray(0, length));
    }
    if (length <= SMALL_READ) this.#large = undefined;
    return copyOf(large, length);
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.lastActive = coarseNow();
    const send = (rest: Uint8Array): void => {
      this.#stream.write(rest).then((length) => {
        if (length < rest.length) send(rest.subarray(length));
        else done();
      }, (error) => done(asError(error)));
    };
    send(chunk);
  }

  override _writev(
    chunks: { chunk: Uint8Array; encoding: string }[],
    done: (error?: Error | null) => void,
  ): void {
    const [first] = chunks;
    const one = first !== undefined && chunks.length === 1;
    this._write(one ? first.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)), "", done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.closeWrite().then(() => done(), (error) => done(asError(error)));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    unwatch(this);
    this.#large = undefined;
    this.#replay = undefined;
    try {
      this.#stream.close();
    } catch {
      // closed already: by its peer's death or by whoever watches over its time
    }
    done(error);
  }

  /** As of `net.Socket`: emits `timeout` when nothing has moved for `ms`. Cheap enough to call for each request. */
  setTimeout(ms: number, onTimeout?: () => void): this {
    this.timeoutMs = ms;
    this.lastActive = coarseNow();
    if (ms > 0 && !this.destroyed) watch(this);
    else unwatch(this);
    if (onTimeout) {
      if (ms > 0) this.once("timeout", onTimeout);
      else this.off("timeout", onTimeout);
    }
    return this;
  }

  timedOut(): void {
    this.lastActive = coarseNow();
    this.emit("timeout");
  }

  // What libraries call on a socket and what the byte stream beneath has settled already.
  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function copyOf(from: Uint8Array, length: number): Buffer {
  const copy = Buffer.allocUnsafe(length);
  copy.set(from.subarray(0, length));
  return copy;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
