import { INITIAL_WINDOW_BYTES, SYN } from "./frame.ts";
import { Stream, type StreamHost } from "./stream.ts";
import { StreamIds } from "./stream_ids.ts";
import type { YamuxRole } from "./yamux.ts";

/** What a peer may have under way on streams that are over is counted up to here: 256 streams with full windows. */
const MOST_STRAY_BYTES = 256 * INITIAL_WINDOW_BYTES;

/** The streams of a session that are open, and what is remembered of those that were. */
export class StreamTable {
  readonly #ids: StreamIds;
  readonly #maxUnaccepted: number;
  readonly #streams = new Map<number, Stream>();
  readonly #peersParity: number;
  #ofPeer = 0;
  #unaccepted = 0;
  #strayBytes = 0;

  constructor(role: YamuxRole, maxUnaccepted: number) {
    this.#ids = new StreamIds(role);
    this.#maxUnaccepted = maxUnaccepted;
    this.#peersParity = role === "server" ? 1 : 0;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** How many of them the peer has opened. */
  get ofPeer(): number {
    return this.#ofPeer;
  }

  get(id: number): Stream | undefined {
    return this.#streams.get(id);
  }

  /** Opens one of our own; `undefined` when there are too many that the peer has not taken, or no ids left. */
  open(host: StreamHost, now: number): Stream | undefined {
    if (this.#unaccepted >= this.#maxUnaccepted) return undefined;
    const id = this.#ids.take();
    if (id === undefined) return undefined;
    const stream = new Stream(host, id, { accepted: false, now });
    stream.flagsDue = SYN;
    this.#unaccepted++;
    this.#streams.set(id, stream);
    return stream;
  }

  /** The peer has said that it takes a stream of ours. */
  accept(stream: Stream): void {
    stream.accepted = true;
    this.#unaccepted--;
  }

  /** The peer uses up an id for a new stream. @returns False when it may not. */
  announce(id: number): boolean {
    return this.#ids.takePeers(id);
  }

  /** Takes a stream that was announced. */
  take(host: StreamHost, id: number, now: number): Stream {
    const stream = new Stream(host, id, { accepted: true, now });
    this.#ofPeer++;
    this.#streams.set(id, stream);
    return stream;
  }

  /** A stream that was announced is refused: what the peer sends on it meanwhile goes nowhere. */
  refuse(): void {
    this.#addStray(INITIAL_WINDOW_BYTES);
  }

  /** The stream is over. Harmless when repeated. */
  delete(stream: Stream): void {
    if (!this.#streams.delete(stream.id)) return;
    if (stream.id % 2 === this.#peersParity) this.#ofPeer--;
    if (!stream.accepted) this.#unaccepted--;
    const credit = stream.window.close();
    if (stream.takesData) this.#addStray(credit);
  }

  /**
   * A frame for a stream that is not here, with `bytes` of data. The peer may not know yet that the stream is over.
   *
   * @returns False when it can't be that.
   */
  takeStray(id: number, bytes: number): boolean {
    if (!this.#ids.wasOpened(id)) return false;
    this.#strayBytes -= bytes;
    return this.#strayBytes >= 0;
  }

  /** Of those that nobody has read since `time`, the one with most bytes that wait for their reader. */
  fullestUnread(time: number): Stream | undefined {
    let fullest: Stream | undefined;
    for (const stream of this.#streams.values()) {
      if (stream.waiting > (fullest?.waiting ?? 0) && stream.unreadSince <= time) fullest = stream;
    }
    return fullest;
  }

  /** Every stream dies. What waits in them may still be read. */
  dieAll(): void {
    for (const stream of [...this.#streams.values()]) stream.die();
    this.#streams.clear();
  }

  #addStray(bytes: number): void {
    this.#strayBytes = Math.min(MOST_STRAY_BYTES, this.#strayBytes + bytes);
  }
}
