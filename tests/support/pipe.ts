import type { ByteStream } from "../../core/byte_stream.ts";

export interface PipeOptions {
  /** How many bytes one read or write carries; called for each. @default all that there are */
  readonly carry?: () => number;
  /** How many bytes wait for the reader before a write has to. @default 65536 */
  readonly capacity?: number;
}

/** One end of a {@link pipe}. */
export interface PipeEnd extends ByteStream {
  /** Dies as a connection does by RST: everything pending and everything later fails at both ends. */
  abort(): void;
  readonly closed: boolean;
  /** Bytes that wait at this end to be read. */
  readonly waiting: number;
}

/** Two byte streams in memory, each of which reads what is written to the other. They behave as TCP does. */
export function pipe({ carry = () => Infinity, capacity = 65536 }: PipeOptions = {}): [PipeEnd, PipeEnd] {
  const [there, back] = [new Direction(capacity, carry), new Direction(capacity, carry)];
  return [end(there, back), end(back, there)];
}

function end(incoming: Direction, outgoing: Direction): PipeEnd {
  let closed = false;
  const ifOpen = <T>(operation: () => Promise<T>): Promise<T> =>
    closed ? Promise.reject(new Deno.errors.BadResource("Bad resource ID")) : operation();
  return {
    read: (into) => ifOpen(() => incoming.read(into)),
    write: (data) => ifOpen(() => outgoing.write(data)),
    closeWrite: () =>
      ifOpen(() => {
        outgoing.finish();
        return Promise.resolve();
      }),
    close() {
      if (closed) throw new Deno.errors.BadResource("Bad resource ID");
      closed = true;
      const interrupted = new Deno.errors.Interrupted("operation canceled");
      incoming.leave(interrupted);
      outgoing.finish(interrupted);
    },
    abort() {
      const reset = new Deno.errors.ConnectionReset("Connection reset by peer");
      incoming.break(reset);
      outgoing.break(reset);
    },
    get closed() {
      return closed;
    },
    get waiting() {
      return incoming.waiting;
    },
  };
}

/** What flows one way. */
class Direction {
  readonly #capacity: number;
  readonly #carry: () => number;
  #bytes = new Uint8Array();
  #finished = false;
  #broken: Error | undefined;
  /** The reader has closed: why a read that is pending ends, and the other side may write no more. */
  #unread: Error | undefined;
  #wakeReader: ((failure?: Error) => void) | undefined;
  #wakeWriter: ((failure?: Error) => void) | undefined;

  constructor(capacity: number, carry: () => number) {
    this.#capacity = capacity;
    this.#carry = carry;
  }

  get waiting(): number {
    return this.#bytes.length;
  }

  async read(into: Uint8Array): Promise<number | null> {
    if (into.length === 0) return 0;
    while (this.#bytes.length === 0) {
      if (this.#broken) throw this.#broken;
      if (this.#unread) throw this.#unread;
      if (this.#finished) return null;
      await new Promise<void>((resolve, reject) => this.#wakeReader = (e) => e ? reject(e) : resolve());
    }
    const length = Math.max(1, Math.min(into.length, this.#bytes.length, this.#carry()));
    into.set(this.#bytes.subarray(0, length));
    this.#bytes = this.#bytes.slice(length);
    this.#wakeWriter?.();
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    if (data.length === 0) return 0;
    for (;;) {
      if (this.#broken) throw this.#broken;
      if (this.#finished || this.#unread) throw new Deno.errors.BrokenPipe("Broken pipe");
      if (this.#bytes.length < this.#capacity) break;
      await new Promise<void>((resolve, reject) => this.#wakeWriter = (e) => e ? reject(e) : resolve());
    }
    const length = Math.max(1, Math.min(data.length, this.#capacity - this.#bytes.length, this.#carry()));
    const joined = new Uint8Array(this.#bytes.length + length);
    joined.set(this.#bytes);
    joined.set(data.subarray(0, length), this.#bytes.length);
    this.#bytes = joined;
    this.#wakeReader?.();
    return length;
  }

  finish(pendingWrite?: Error): void {
    this.#finished = true;
    this.#wakeReader?.();
    this.#wakeWriter?.(pendingWrite);
  }

  leave(pendingRead: Error): void {
    this.#unread = pendingRead;
    this.#bytes = new Uint8Array();
    this.#wakeReader?.(pendingRead);
    this.#wakeWriter?.();
  }

  break(error: Error): void {
    this.#broken ??= error;
    this.#bytes = new Uint8Array();
    this.#wakeReader?.(error);
    this.#wakeWriter?.(error);
  }
}
