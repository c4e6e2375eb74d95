import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import type { ByteStream } from "../../byte_stream.ts";
import type { Endpoint } from "../../plugin/contract.ts";
import { freeMemory, isAlone } from "./free_memory.ts";
import { coarseNow, type Timed, unwatch, watch } from "./coarse_timeouts.ts";
import { GivenMemory, LentMemory, type ReadMemory } from "./read_memory.ts";

/** How much is on its way to a slow stream before writers are told to wait. */
const HIGH_WATER_MARK = 65536;

export interface StreamDuplexOptions {
  /** Bytes that were read from the stream already; they come first. */
  readonly replay?: Uint8Array | undefined;
  /** Who is at the other end, for libraries that ask a socket for it. */
  readonly remote?: Endpoint | undefined;
  /**
   * Lends out what was read: its memory is read into again as soon as the listeners to `data` have returned. For
   * readers that copy at once. @default false: they may keep it
   */
  readonly lending?: boolean | undefined;
  /**
   * Frees bulk as soon as it was sent, where it has memory of its own. For writers that do not look at it again. @default
   * false
   */
  readonly freeing?: boolean | undefined;
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
  readonly #memory: ReadMemory;
  readonly #freeing: boolean;
  #replay: Uint8Array | undefined;
  #reading = false;
  #wanted = false;
  #held = false;

  constructor(stream: ByteStream, { replay, remote, lending, freeing = false }: StreamDuplexOptions = {}) {
    super({ highWaterMark: HIGH_WATER_MARK, allowHalfOpen: true });
    this.#stream = stream;
    this.#memory = lending ? new LentMemory() : new GivenMemory();
    this.#freeing = freeing;
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
    this.#stream.read(this.#memory.bytes).then(this.#onRead, this.#onReadFailure);
  }

  readonly #onRead = (length: number | null): void => {
    this.lastActive = coarseNow();
    this.#wanted = false;
    if (length === null) this.#onEnd();
    else this.#onBytes(length);
  };

  #onBytes(length: number): void {
    if (!this.destroyed) this.push(this.#memory.hand(length));
    this.#reading = false; // not before: a listener that asks for more would have them read over what it looks at
    if (this.destroyed) return this.#memory.release();
    this.#memory.handed(length, this.readableLength > 0, this.#held);
    if (this.#wanted) this.#readMore();
  }

  #onEnd(): void {
    this.#reading = false;
    this.#memory.release();
    if (!this.destroyed) this.push(null);
  }

  readonly #onReadFailure = (error: unknown): void => {
    this.#reading = false;
    this.#memory.release();
    if (!this.destroyed) this.destroy(asError(error));
  };

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.lastActive = coarseNow();
    const send = (rest: Uint8Array): void => {
      this.#stream.write(rest).then((length) => {
        if (length < rest.length) return send(rest.subarray(length));
        if (this.#freeing && isAlone(chunk)) freeMemory(chunk);
        done();
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
    if (one) return this._write(first.chunk, "", done);
    const together = Buffer.concat(chunks.map(({ chunk }) => chunk));
    if (this.#freeing) chunks.forEach(({ chunk }) => isAlone(chunk) && freeMemory(chunk));
    this._write(together, "", done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.closeWrite().then(() => done(), (error) => done(asError(error)));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    unwatch(this);
    this.#replay = undefined;
    if (!this.#reading) this.#memory.release();
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

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
