import { type BufferPool, type ByteStream, closeQuietly, writeAll } from "../../../core/plugin/mod.ts";
import { type FramedWriter, isFramedWriter } from "../websocket/framed_writer.ts";
import { bulkPool, smallBuffers } from "./buffers.ts";
import { GO_AWAY, HEADER_BYTES, writeHeader } from "./frame.ts";
import type { Outbox } from "./outbox.ts";

const NOTHING = new Uint8Array();
/** How long the last words may take. */
const FAREWELL_MS = 200;

/**
 * The one writer of a session: sends what the outbox has, as much as there is in one write, and holds memory only
 * meanwhile.
 */
export class FrameWriter {
  readonly #transport: ByteStream;
  /** The same, when it puts its own frames around ours where they lie. */
  readonly #framed: FramedWriter | undefined;
  /** What stays free at the beginning of a buffer for that. */
  readonly #headroom: number;
  readonly #outbox: Outbox;
  readonly #failed: (error: unknown) => void;
  #isRunning = false;
  #isClosing = false;
  #farewell: number | undefined;
  #farewellTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #closed = Promise.withResolvers<void>();

  /** @param failed Called at most once, when the transport takes no more. */
  constructor(transport: ByteStream, outbox: Outbox, failed: (error: unknown) => void) {
    this.#transport = transport;
    this.#framed = isFramedWriter(transport) ? transport : undefined;
    this.#headroom = this.#framed?.headroom ?? 0;
    this.#outbox = outbox;
    this.#failed = failed;
  }

  /** Resolves when the transport is closed. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** There may be something to send. */
  wake(): void {
    if (this.#isRunning || this.#isClosing) return;
    this.#isRunning = true;
    this.#run();
  }

  /**
   * Closes the transport: at once, or after what is on its way, and this go-away, for a moment at most.
   *
   * @param code Of the go-away.
   */
  close(code: number | undefined): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (code === undefined) return this.#closeTransport();
    this.#farewell = code;
    this.#farewellTimer = setTimeout(() => this.#closeTransport(), FAREWELL_MS);
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#run();
  }

  async #run(): Promise<void> {
    await undefined; // those who write in this turn share one write
    let pool: BufferPool = smallBuffers;
    let buffer: Uint8Array<ArrayBuffer> | undefined;
    let out = NOTHING;
    try {
      while (!this.#isClosing) {
        const wanted = this.#outbox.isLarge ? bulkPool() : smallBuffers;
        if (buffer === undefined || (wanted === smallBuffers) !== (pool === smallBuffers)) {
          if (buffer !== undefined) pool.give(buffer);
          pool = wanted;
          buffer = wanted.take() ?? new Uint8Array(wanted.size);
          out = buffer.subarray(this.#headroom);
        }
        const length = this.#outbox.fill(out, performance.now());
        if (length === 0) break;
        await this.#write(buffer, this.#headroom + length);
      }
      if (this.#farewell !== undefined) await this.#sayFarewell(this.#farewell);
    } catch (error) {
      if (!this.#isClosing) this.#failed(error);
    } finally {
      if (buffer !== undefined) pool.give(buffer);
      this.#isRunning = false;
      if (this.#isClosing) this.#closeTransport();
    }
  }

  /** Sends what stands in `buffer` from the headroom to `end`. */
  #write(buffer: Uint8Array, end: number): Promise<void> {
    if (this.#framed !== undefined) return this.#framed.writeInPlace(buffer, this.#headroom, end);
    return writeAll(this.#transport, buffer.subarray(this.#headroom, end));
  }

  #sayFarewell(code: number): Promise<void> {
    const frame = new Uint8Array(this.#headroom + HEADER_BYTES);
    writeHeader(frame, this.#headroom, GO_AWAY, 0, 0, code);
    return this.#write(frame, frame.length);
  }

  #closeTransport(): void {
    clearTimeout(this.#farewellTimer);
    closeQuietly(this.#transport);
    this.#closed.resolve();
  }
}
