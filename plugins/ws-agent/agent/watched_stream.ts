import { type ByteStream, closeQuietly } from "../../../core/plugin/mod.ts";

/**
 * Looks at the bytes of a public connection as they go by. It only reads them, and never throws. The memory is used again after the
 * call: what is needed longer is copied.
 */
export interface StreamWatcher {
  /** Bytes from the client. */
  request(bytes: Uint8Array): void;
  /** Bytes from the service. */
  response(bytes: Uint8Array): void;
  /** No more will come. */
  end?(): void;
}

/** One watcher for those that there are; `undefined` when there are none. */
export function watchTogether(
  first: StreamWatcher | undefined,
  second: StreamWatcher | undefined,
): StreamWatcher | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return {
    request(bytes) {
      first.request(bytes);
      second.request(bytes);
    },
    response(bytes) {
      first.response(bytes);
      second.response(bytes);
    },
    end() {
      first.end?.();
      second.end?.();
    },
  };
}

/** The same stream, with somebody looking: what is read from it are requests, what is written to it are the answers. */
export class WatchedStream implements ByteStream {
  readonly #stream: ByteStream;
  readonly #watcher: StreamWatcher;

  constructor(stream: ByteStream, watcher: StreamWatcher) {
    this.#stream = stream;
    this.#watcher = watcher;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#stream.read(into);
    if (length !== null) this.#watcher.request(into.subarray(0, length));
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    const length = await this.#stream.write(data);
    this.#watcher.response(length === data.length ? data : data.subarray(0, length));
    return length;
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    closeQuietly(this.#stream);
  }
}
