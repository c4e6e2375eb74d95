import { type ByteStream, closeQuietly, writeAll } from "../../../../core/plugin/mod.ts";
import type { ConnectionHandler, ServedConnection } from "./handler.ts";

/** What one read of a connection brings at most, in bytes. */
const READ_BYTES = 16 * 1024;

/**
 * One public connection as Web streams. Each direction ends by itself: the end of `readable` is the client's FIN, closing `writable`
 * sends one, and the other direction goes on.
 *
 * Cancelling `readable` lets what still comes wait unread; aborting `writable` resets the connection.
 */
export interface ConnectionStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<Uint8Array>;
}

/**
 * Serves one public connection. When the promise is fulfilled, what was written goes out, `writable` is closed if that is still to be done, and what still comes is
 * thrown away; when it is rejected, the connection is reset.
 */
export type StreamHandler = (stream: ConnectionStream, connection: ServedConnection) => Promise<void>;

/** Serves byte streams with a function. */
export function streamHandler(handle: StreamHandler): ConnectionHandler {
  return {
    async serve(stream, connection) {
      const outgoing = new Outgoing(stream);
      await handle({ readable: readableOf(stream), writable: outgoing.writable }, connection);
      await outgoing.finish();
    },
  };
}

function readableOf(stream: ByteStream): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      const buffer = new Uint8Array(READ_BYTES);
      const length = await stream.read(buffer);
      if (length === null) {
        controller.close();
        controller.byobRequest?.respond(0); // else who reads into memory of their own waits for ever
      } else controller.enqueue(buffer.subarray(0, length));
    },
  }, { highWaterMark: 0 });
}

/** What a handler sends. All that it has written when it returns still goes out, whether it has waited for that or not. */
class Outgoing {
  readonly writable: WritableStream<Uint8Array>;
  readonly #stream: ByteStream;
  readonly #flushed = Promise.withResolvers<void>();
  /** Chunks that were written, and are not out. */
  #waiting = 0;
  #isFinishing = false;
  /** Whether the handler itself has closed or aborted it, or the connection has failed. */
  #isOver = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
    this.writable = new WritableStream<Uint8Array>({
      write: (chunk) => this.#write(chunk),
      close: async () => {
        this.#end();
        await stream.closeWrite();
      },
      abort: () => {
        this.#end();
        closeQuietly(stream);
      },
    }, {
      highWaterMark: 1,
      size: () => { // asked for at every write, at once
        this.#waiting++;
        return 1;
      },
    });
  }

  /** The handler has returned. Rejects when the connection fails meanwhile. */
  async finish(): Promise<void> {
    this.#isFinishing = true;
    if (this.#waiting > 0 && !this.#isOver) await this.#flushed.promise;
    if (!this.#isOver) await this.#stream.closeWrite();
  }

  async #write(chunk: Uint8Array): Promise<void> {
    try {
      await writeAll(this.#stream, chunk);
    } catch (error) {
      this.#end();
      throw error;
    }
    if (--this.#waiting === 0 && this.#isFinishing) this.#flushed.resolve();
  }

  #end(): void {
    this.#isOver = true;
    this.#flushed.resolve();
  }
}
