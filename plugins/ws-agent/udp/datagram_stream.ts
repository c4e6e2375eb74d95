import { type ByteStream, isLending } from "../../../core/plugin/mod.ts";
import { atTurnsEnd } from "../turn.ts";
import { DatagramFault, DatagramFrames } from "./datagram_frames.ts";
import { DatagramQueue, type QueueMemory } from "./datagram_queue.ts";

/** For streams that do not lend out what they have received: those between data planes. */
const READ_BYTES = 16 * 1024;

/**
 * Does something with a datagram, which is good until the promise settles. Must not reject. The next one waits for it: of datagrams that
 * are given to the system together, the last may go first.
 */
export type TakeDatagram = (datagram: Uint8Array) => Promise<void> | undefined;

/**
 * Hands on each datagram of a stream, one after the other, until its end.
 *
 * @param rest The first bytes, which were read already.
 * @throws {DatagramFault} It breaks the format, or ends within a datagram. Else what the stream throws.
 */
export async function readDatagrams(
  stream: ByteStream,
  take: TakeDatagram,
  rest: Uint8Array = new Uint8Array(),
): Promise<void> {
  const frames = new DatagramFrames();
  await handOn(frames, rest, take);
  if (isLending(stream)) {
    for (let bytes; (bytes = await stream.borrow()) !== null;) {
      try {
        await handOn(frames, bytes, take);
      } finally {
        stream.giveBack(bytes.length);
      }
    }
  } else {
    const buffer = new Uint8Array(READ_BYTES);
    for (let length; (length = await stream.read(buffer)) !== null;) {
      await handOn(frames, buffer.subarray(0, length), take);
    }
  }
  if (!frames.isBetween) throw new DatagramFault("Stream that ended within a datagram");
}

async function handOn(frames: DatagramFrames, bytes: Uint8Array, take: TakeDatagram): Promise<void> {
  frames.feed(bytes);
  for (let datagram; (datagram = frames.next()) !== undefined;) {
    const pending = take(datagram);
    if (pending !== undefined) await pending;
  }
}

/** What a {@link DatagramSender} tells. */
export interface SenderEvents {
  /** So many datagrams are the stream's now: they are dropped no more. */
  sent?(datagrams: number): void;
  /** The stream takes no more. Called once. */
  failed(): void;
}

/**
 * Sends datagrams by a stream. Whoever has one is never held up: what the stream does not take in time waits in a queue, of which the
 * oldest are dropped. All that waits goes out in one write, which costs as much as five datagrams do: where several have come at once,
 * those that come within the next turn of the event loop go with them. One by itself waits for nothing.
 */
export class DatagramSender {
  readonly #queue: DatagramQueue;
  readonly #events: SenderEvents;
  #stream: Pick<ByteStream, "write"> | undefined;
  /** What is being written. */
  #batch: Uint8Array | undefined;
  /** Whether a write follows as soon as nothing more comes at once. */
  #isDue = false;
  #isClosed = false;

  constructor(memory: QueueMemory, events: SenderEvents) {
    this.#queue = new DatagramQueue(memory);
    this.#events = events;
  }

  /** There is a stream now. */
  start(stream: Pick<ByteStream, "write">): void {
    this.#stream = stream;
    this.#write();
  }

  /** @returns How many datagrams were dropped. */
  send(datagram: Uint8Array): number {
    if (this.#isClosed) return 1;
    const dropped = this.#queue.put(datagram);
    if (!this.#isDue && this.#batch === undefined) {
      this.#isDue = true;
      atTurnsEnd(this.#turnEnds);
    }
    return dropped;
  }

  /** Forgets what waits. The stream stays its owner's to close. @returns How many datagrams were dropped. */
  close(): number {
    this.#isClosed = true;
    const dropped = this.#queue.length;
    this.#queue.close();
    return dropped;
  }

  readonly #turnEnds = (): void => {
    if (this.#queue.length > 1) atTurnsEnd(this.#nextTurnEnds);
    else this.#nextTurnEnds();
  };

  readonly #nextTurnEnds = (): void => {
    this.#isDue = false;
    this.#write();
  };

  #write(): void {
    if (this.#stream === undefined || this.#batch !== undefined || this.#queue.isEmpty) return;
    this.#events.sent?.(this.#queue.length);
    this.#batch = this.#queue.take();
    this.#stream.write(this.#batch).then(this.#written, this.#fail);
  }

  readonly #written = (length: number): void => {
    const batch = this.#batch;
    if (this.#isClosed || batch === undefined) return;
    if (length < batch.length) {
      this.#batch = batch.subarray(length);
      this.#stream?.write(this.#batch).then(this.#written, this.#fail);
      return;
    }
    this.#batch = undefined;
    if (this.#queue.isEmpty) this.#queue.trim();
    else this.#write();
  };

  readonly #fail = (): void => {
    if (!this.#isClosed) this.#events.failed();
  };
}
