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
 * Serves one public connection. When the promise is fulfilled, `writable` is closed if that is still to be done, and what still comes is
 * thrown away; when it is rejected, the connection is reset.
 */
export type StreamHandler = (stream: ConnectionStream, connection: ServedConnection) => Promise<void>;

/** Serves byte streams with a function. */
export function streamHandler(handle: StreamHandler): ConnectionHandler {
  return {
    async serve(stream, connection) {
      const state = { ended: false };
      const streams = { readable: readableOf(stream), writable: writableOf(stream, state) };
      await handle(streams, connection);
      if (!state.ended) await stream.closeWrite();
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

function writableOf(stream: ByteStream, state: { ended: boolean }): WritableStream<Uint8Array> {
  return new WritableStream({
    write: (chunk) => writeAll(stream, chunk),
    async close() {
      state.ended = true;
      await stream.closeWrite();
    },
    abort() {
      state.ended = true;
      closeQuietly(stream);
    },
  }, { highWaterMark: 1 });
}
