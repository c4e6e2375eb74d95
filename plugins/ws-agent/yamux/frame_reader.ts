import { type BufferPool, type ByteStream, messageOf } from "../../../core/plugin/mod.ts";
import { bigBuffers, bulkPool, smallBuffers } from "./buffers.ts";
import { DATA, emptyHeader, type FrameHeader, HEADER_BYTES, parseHeader } from "./frame.ts";
import type { SessionEnd } from "./yamux.ts";

/** What is done with the frames of a session, in the order in which they come. */
export interface FrameHandler {
  /** Whether nothing more is wanted. */
  readonly isOver: boolean;
  /** How many bytes more may wait for those who read streams. */
  readonly room: number;
  /**
   * A frame, or the header of one with data. Must be done with `header` when it returns.
   *
   * @returns Why the session ends here, if it does.
   */
  frame(header: FrameHeader): SessionEnd | undefined;
  /** A stretch of the data of the last such header, of which `more` is still to come. Must be done with `bytes` when it returns. */
  data(bytes: Uint8Array, at: number, end: number, more: number): void;
  /** All of that data has come; for a frame without any at once. */
  dataEnded(): void;
  /** Something has come from the transport. */
  turnBegins(bytes: number): void;
  /** All that came is through. @returns What to wait for before anything more is read. */
  turnEnds(): Promise<void> | undefined;
  /** Whether readers wait for {@link wakeReaders}. */
  readonly readersWait: boolean;
  /** Nothing more lies ready: what has come is handed to its readers. */
  wakeReaders(): void;
}

/**
 * After so many steps of the microtask queue a read has ended if bytes lay ready: measured, a runtime's TLS connection
 * takes four, and a WebSocket around it one more. TLS brings 16 KiB a read, and a write to a socket costs as much as
 * decrypting them: together, those of several reads cost half.
 */
const READY_STEPS = 8;

/** The one reader of a session: cuts what comes into frames. Waits with little memory, and reads bulk with much. */
export class FrameReader {
  readonly #transport: ByteStream;
  readonly #handler: FrameHandler;
  readonly #header = emptyHeader();
  #pool: BufferPool = smallBuffers;
  #buffer: Uint8Array<ArrayBuffer> = smallBuffers.take() ?? new Uint8Array(smallBuffers.size);
  /** How many bytes at the beginning of the buffer belong to a header that has not come as a whole. */
  #kept = 0;
  /** How many bytes of the present frame's data have still to come. */
  #left = 0;
  /** Counts reads that brought something. */
  #turn = 0;

  constructor(transport: ByteStream, handler: FrameHandler) {
    this.#transport = transport;
    this.#handler = handler;
  }

  /** Reads until the end, and says why it ended. Never rejects, but for what the handler throws. */
  async run(): Promise<SessionEnd> {
    try {
      for (;;) {
        const into = this.#kept === 0 ? this.#buffer : this.#buffer.subarray(this.#kept);
        let length: number | null;
        try {
          const reading = this.#transport.read(into);
          if (this.#handler.readersWait) this.#wakeUnlessMore();
          length = await reading;
        } catch (error) {
          return { kind: "transport_failed", detail: messageOf(error) };
        }
        this.#turn++;
        if (length === null) return this.#endOfTransport();
        this.#handler.turnBegins(length);
        const end = this.#cut(this.#kept + length);
        const wait = this.#handler.turnEnds();
        if (end !== undefined) return end;
        if (wait !== undefined) await wait;
        if (this.#handler.isOver) return { kind: "closed" };
        this.#resize(length === into.length);
      }
    } finally {
      this.#pool.give(this.#buffer);
    }
  }

  /** Gives a read that has just begun the chance to end at once, as it does when bytes lie ready. */
  async #wakeUnlessMore(): Promise<void> {
    const turn = this.#turn;
    for (let step = 0; step < READY_STEPS; step++) {
      await undefined;
      if (this.#turn !== turn) return;
    }
    this.#handler.wakeReaders();
  }

  /** @param end Where the bytes in the buffer end. */
  #cut(end: number): SessionEnd | undefined {
    const handler = this.#handler;
    let at = 0;
    while (!handler.isOver) {
      if (this.#left > 0) {
        const length = Math.min(this.#left, end - at);
        if (length === 0) break;
        this.#left -= length;
        handler.data(this.#buffer, at, at + length, this.#left);
        at += length;
        if (this.#left === 0) handler.dataEnded();
        continue;
      }
      const parsed = parseHeader(this.#buffer, at, end, this.#header);
      if (parsed === "more") break;
      if (parsed !== "yes") return { kind: "protocol_error", detail: `a frame with a bad ${parsed}` };
      at += HEADER_BYTES;
      const over = handler.frame(this.#header);
      if (over !== undefined) return over;
      if (this.#header.type !== DATA) continue;
      this.#left = this.#header.length;
      if (this.#left === 0) handler.dataEnded();
    }
    this.#kept = end - at;
    if (this.#kept > 0) this.#buffer.copyWithin(0, at, end);
    return undefined;
  }

  /** A full buffer, or much that is announced: a large one. Else a small one, because what waits for a silent peer must be small. */
  #resize(wasFull: boolean): void {
    const wantsBulk = (wasFull || this.#left > smallBuffers.size) && this.#handler.room >= bigBuffers.size;
    if (wantsBulk === (this.#pool !== smallBuffers)) return;
    const pool = wantsBulk ? bulkPool() : smallBuffers;
    const buffer = pool.take() ?? new Uint8Array(pool.size);
    buffer.set(this.#buffer.subarray(0, this.#kept));
    this.#pool.give(this.#buffer);
    this.#pool = pool;
    this.#buffer = buffer;
  }

  #endOfTransport(): SessionEnd {
    if (this.#left === 0 && this.#kept === 0) return { kind: "peer_closed" };
    return { kind: "peer_closed", detail: "in the middle of a frame" };
  }
}
