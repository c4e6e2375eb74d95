import type { Duplex } from "node:stream";
import type { ByteStream } from "../../byte_stream.ts";
import { freeMemory, isAlone } from "./free_memory.ts";

/** How much lies ready for a reader that is slower than its stream, before the stream is told to wait. */
const MAX_QUEUED_BYTES = 65536;

export interface DuplexStreamOptions {
  /** Stops and restarts the flow of data. @default the Duplex's own `pause` and `resume` */
  readonly flow?: { hold(): void; release(): void } | undefined;
  /** Waits until what {@link ByteStream.closeWrite} set going has left; where `end` calls back too early. */
  readonly flushed?: (() => Promise<void>) | undefined;
  /** Frees bulk as soon as it was read, where each piece has memory of its own. @default false: others may look at it, too */
  readonly freeing?: boolean | undefined;
}

interface WaitingRead {
  readonly into: Uint8Array;
  resolve(length: number | null): void;
  reject(error: Error): void;
}

/**
 * A `node:stream` Duplex as a byte stream. It behaves as a `Deno.TcpConn` does: half-close is kept, a reset rejects
 * with `ConnectionReset`, what is pending when the stream is closed rejects with `Interrupted`, and what comes
 * later with `BadResource`. Unlike there, a stream that failed never looks like one that ended.
 *
 * At most {@link MAX_QUEUED_BYTES} and one chunk wait in memory for a slow reader.
 */
export class DuplexStream implements ByteStream {
  readonly #duplex: Duplex;
  readonly #flow: { hold(): void; release(): void };
  readonly #flushed: (() => Promise<void>) | undefined;
  /** Until a piece comes that shares its memory. */
  #freeing: boolean;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #held = false;
  #ended = false;
  #closed = false;
  #failure: Error | undefined;
  #reader: WaitingRead | undefined;
  #rejectWrite: ((error: Error) => void) | undefined;

  constructor(duplex: Duplex, { flow, flushed, freeing = false }: DuplexStreamOptions = {}) {
    this.#duplex = duplex;
    this.#flow = flow ?? { hold: () => duplex.pause(), release: () => duplex.resume() };
    this.#flushed = flushed;
    this.#freeing = freeing;
    duplex.on("data", (chunk: Uint8Array) => this.#onData(chunk));
    duplex.once("end", () => this.#onEnd());
    duplex.on("error", (error: Error) => this.#fail(asDenoError(error)));
    duplex.once("close", () => this.#onClose());
  }

  #onData(chunk: Uint8Array): void {
    const reader = this.#reader;
    this.#freeing &&= isAlone(chunk);
    let rest = chunk;
    if (reader !== undefined) {
      const length = Math.min(chunk.length, reader.into.length);
      if (length === 0) return;
      reader.into.set(length === chunk.length ? chunk : chunk.subarray(0, length));
      this.#reader = undefined;
      reader.resolve(length);
      rest = chunk.subarray(length);
      if (rest.length === 0 && this.#freeing) freeMemory(chunk);
    }
    if (rest.length === 0 || this.#closed) return;
    this.#queue.push(rest);
    this.#queuedBytes += rest.length;
    if (this.#held || this.#queuedBytes < MAX_QUEUED_BYTES) return;
    this.#held = true;
    this.#flow.hold();
  }

  #onEnd(): void {
    this.#ended = true;
    this.#reader?.resolve(null);
    this.#reader = undefined;
  }

  /** Without `end` or `error` before it, the stream was cut off. */
  #onClose(): void {
    this.#fail(new Deno.errors.ConnectionReset("The stream was closed before its end"));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    if (this.#ended) { // all was received: only what is still to be sent fails
      this.#rejectWrite?.(error);
      return;
    }
    this.#rejectPending(error);
  }

  #rejectPending(error: Error): void {
    this.#reader?.reject(error);
    this.#reader = undefined;
    this.#rejectWrite?.(error);
    this.#rejectWrite = undefined;
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.#closed) return Promise.reject(new Deno.errors.BadResource("The stream is closed"));
    if (into.length === 0) return Promise.resolve(0);
    if (this.#queuedBytes > 0) return Promise.resolve(this.#unqueue(into));
    if (this.#ended) return Promise.resolve(null);
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#reader) return Promise.reject(new TypeError("A read is pending already"));
    return new Promise((resolve, reject) => this.#reader = { into, resolve, reject });
  }

  /** Takes as much of what waits as there is room for. */
  #unqueue(into: Uint8Array): number {
    const queue = this.#queue;
    let filled = 0;
    let used = 0;
    for (const chunk of queue) {
      const room = into.length - filled;
      if (chunk.length > room) {
        into.set(chunk.subarray(0, room), filled);
        queue[used] = chunk.subarray(room);
        filled += room;
        break;
      }
      into.set(chunk, filled);
      filled += chunk.length;
      used++;
      if (this.#freeing) freeMemory(chunk);
    }
    if (used === queue.length) this.#queue = [];
    else queue.splice(0, used);
    this.#queuedBytes -= filled;
    if (this.#held && this.#queuedBytes < MAX_QUEUED_BYTES / 2) {
      this.#held = false;
      this.#flow.release();
    }
    return filled;
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#closed) return Promise.reject(new Deno.errors.BadResource("The stream is closed"));
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#rejectWrite) return Promise.reject(new TypeError("A write is pending already"));
    return this.#pending((done) => this.#duplex.write(data, done), data.length);
  }

  async closeWrite(): Promise<void> {
    if (this.#closed) throw new Deno.errors.BadResource("The stream is closed");
    if (this.#failure) throw this.#failure;
    if (this.#duplex.writableEnded) return;
    await this.#pending((done) => this.#duplex.end(done), 0);
    await this.#flushed?.();
  }

  /** Waits for the callback of `start`, or for the end of the stream: a dead stream may never call back. */
  #pending(start: (done: (error?: Error | null) => void) => void, value: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#rejectWrite = reject;
      start((error) => {
        if (this.#rejectWrite === reject) this.#rejectWrite = undefined;
        if (error) reject(this.#failure ?? asDenoError(error));
        else resolve(value);
      });
    });
  }

  /** Closing twice is harmless. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#rejectPending(new Deno.errors.Interrupted("The stream was closed"));
    this.#duplex.destroy();
  }
}

/** Node's error codes as the error classes that a `Deno.TcpConn` would reject with. */
function asDenoError(error: Error & { code?: unknown }): Error {
  if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) return error;
  switch (error.code) {
    case "ECONNRESET":
    case "ERR_STREAM_PREMATURE_CLOSE":
    case "ERR_STREAM_DESTROYED":
      return new Deno.errors.ConnectionReset(error.message, { cause: error });
    case "EPIPE":
    case "ERR_STREAM_WRITE_AFTER_END":
      return new Deno.errors.BrokenPipe(error.message, { cause: error });
    default:
      return error;
  }
}
