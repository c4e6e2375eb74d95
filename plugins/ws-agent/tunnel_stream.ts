import {
  BufferPool,
  type ByteStream,
  isLending,
  type LendingStream,
  writeAll,
} from "../../core/plugin/mod.ts";

/** What still fits behind the header in one piece. Larger first writes go by themselves: a copy would cost more than a frame. */
const MAX_TOGETHER_BYTES = 16 * 1024;

/** What most headers and first requests fit into, for the time of one write. */
const buffers = new BufferPool(2048, Infinity, 256);

/**
 * A stream to an agent that begins with `header`. It goes out together with the first bytes, as one frame of the
 * multiplexer, or alone as soon as somebody waits for the other side: the service may be the first to speak.
 */
export function withHeader(stream: ByteStream, header: Uint8Array): ByteStream {
  return isLending(stream) ? new LendingTunnelStream(stream, header) : new TunnelStream(stream, header);
}

class TunnelStream implements ByteStream {
  readonly #stream: ByteStream;
  /** Not sent yet. */
  #header: Uint8Array | undefined;
  /** The header is on its way by itself; only one write may be pending. */
  #sending: Promise<void> | undefined;

  constructor(stream: ByteStream, header: Uint8Array) {
    this.#stream = stream;
    this.#header = header;
  }

  read(into: Uint8Array): Promise<number | null> {
    this.sendHeader();
    return this.#stream.read(into);
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#header === undefined && this.#sending === undefined) return this.#stream.write(data);
    return this.#writeFirst(data);
  }

  async closeWrite(): Promise<void> {
    this.sendHeader();
    await this.#sending;
    await this.#stream.closeWrite();
  }

  close(): void {
    this.#header = undefined;
    this.#stream.close();
  }

  async #writeFirst(data: Uint8Array): Promise<number> {
    const header = this.#header;
    if (header === undefined || data.length === 0 || data.length > MAX_TOGETHER_BYTES) {
      this.sendHeader();
      await this.#sending;
      return await this.#stream.write(data);
    }
    this.#header = undefined;
    const length = header.length + data.length;
    const buffer = length <= buffers.size ? buffers.take() : undefined;
    const together = buffer?.subarray(0, length) ?? new Uint8Array(length);
    together.set(header);
    together.set(data, header.length);
    const progress = { sent: 0 };
    const sending = send(this.#stream, together, progress);
    this.#sending = quietly(sending);
    try {
      await sending;
    } catch (error) {
      // Whoever might send the same again elsewhere has to know that some of it is out.
      if (progress.sent > header.length) return progress.sent - header.length;
      throw error;
    } finally {
      this.#sending = undefined;
      if (buffer !== undefined) buffers.give(buffer);
    }
    return data.length;
  }

  /** Sends the header by itself, unless it has been. What goes wrong shows at the next operation. */
  protected sendHeader(): void {
    const header = this.#header;
    if (header === undefined) return;
    this.#header = undefined;
    this.#sending = quietly(writeAll(this.#stream, header)).then(() => this.#sending = undefined);
  }
}

/** Over a stream that lends: so does this. */
class LendingTunnelStream extends TunnelStream implements LendingStream {
  readonly #lender: LendingStream;

  constructor(stream: LendingStream, header: Uint8Array) {
    super(stream, header);
    this.#lender = stream;
  }

  borrow(): Promise<Uint8Array | null> {
    this.sendHeader();
    return this.#lender.borrow();
  }

  giveBack(length: number): void {
    this.#lender.giveBack(length);
  }
}

async function send(to: ByteStream, data: Uint8Array, progress: { sent: number }): Promise<void> {
  while (progress.sent < data.length) {
    progress.sent += await to.write(progress.sent === 0 ? data : data.subarray(progress.sent));
  }
}

function quietly(promise: Promise<void>): Promise<void> {
  return promise.catch(() => {});
}
