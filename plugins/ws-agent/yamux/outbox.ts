import {
  ACK,
  DATA,
  FIN,
  GO_AWAY,
  HEADER_BYTES,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
  writeHeader,
} from "./frame.ts";
import type { InFlight } from "./in_flight.ts";
import type { Stream } from "./stream.ts";
import { StreamQueue } from "./stream_queue.ts";

/** What a stream sends in one turn while others wait for theirs. */
const TURN_BYTES = 16 * 1024;
/** Answers that wait to be sent. A peer has at most a few hundred pings under way, unless it wants to do harm. */
const MOST_ANSWERS = 4096;

/**
 * What waits to be sent, in the order in which it goes: what the session and the streams have to say, then data of
 * streams that send little, then the others' data, in turns.
 */
export class Outbox {
  readonly #inFlight: InFlight;
  readonly #nextPingId: () => number;
  /** Ping ids to send, to answer, and ids of streams to refuse. */
  #pings: number[] = [];
  #answers: number[] = [];
  #refused: number[] = [];
  #goAway: number | undefined;
  #firstTelling: Stream | undefined;
  #lastTelling: Stream | undefined;
  readonly #light = new StreamQueue();
  readonly #heavy = new StreamQueue();
  /** Bytes of streams that were put into frames so far. */
  dataBytes = 0;

  constructor(inFlight: InFlight, nextPingId: () => number) {
    this.#inFlight = inFlight;
    this.#nextPingId = nextPingId;
  }

  ping(id: number): void {
    this.#pings.push(id);
  }

  /** @returns False when too many answers wait already: the peer asks, and does not read. */
  answer(pingId: number): boolean {
    return this.#answers.push(pingId) <= MOST_ANSWERS;
  }

  /** @returns As {@link answer} does. */
  refuse(streamId: number): boolean {
    return this.#refused.push(streamId) <= MOST_ANSWERS;
  }

  goAway(code: number): void {
    this.#goAway = code;
  }

  /** The stream has flags or a window update to send. */
  tell(stream: Stream): void {
    if (stream.isTelling) return;
    stream.isTelling = true;
    if (this.#lastTelling === undefined) this.#firstTelling = stream;
    else this.#lastTelling.nextTelling = stream;
    this.#lastTelling = stream;
  }

  /** The stream has data or a FIN to send. */
  queue(stream: Stream): void {
    if (stream.isQueued) return;
    if (stream.sentAfter !== this.#inFlight.answers) {
      stream.sentAfter = this.#inFlight.answers;
      stream.recentlySent = 0;
    }
    const isLight = stream.recentlySent + stream.sendable <= TURN_BYTES;
    (isLight ? this.#light : this.#heavy).push(stream);
  }

  /** Whether a small buffer would not do. */
  get isLarge(): boolean {
    if (this.#heavy.first !== undefined) return true;
    return (this.#light.first?.sendable ?? 0) > 1024;
  }

  /** Forgets everything. */
  clear(): void {
    this.#pings = [];
    this.#answers = [];
    this.#refused = [];
    this.#goAway = undefined;
    while (this.#nextTelling() !== undefined);
    while ((this.#light.shift() ?? this.#heavy.shift()) !== undefined);
  }

  /**
   * Puts as many frames as fit, and as may go, into `out`.
   *
   * @param now `performance.now()`
   * @returns How many bytes that are; 0 when nothing waits, or what waits may not go now.
   */
  fill(out: Uint8Array, now: number): number {
    const end = out.length - HEADER_BYTES; // the rest is for a mark
    let at = this.#fillSession(out, end);
    at = this.#fillTelling(out, at, end);
    this.#inFlight.sent(at);
    at = this.#fillData(out, at, end, now);
    if (this.#light.first === undefined && this.#heavy.first === undefined && this.#inFlight.hasRoom) {
      this.#inFlight.ranDry();
    }
    // The limit may have fallen below what was sent since the last mark: nobody would ever lift it again.
    if (this.#inFlight.markIsDue) at = this.#fillMark(out, at, now);
    return at;
  }

  #fillSession(out: Uint8Array, end: number): number {
    let at = 0;
    if (this.#goAway !== undefined) {
      at = writeHeader(out, at, GO_AWAY, 0, 0, this.#goAway);
      this.#goAway = undefined;
    }
    const room = () => Math.max(0, Math.floor((end - at) / HEADER_BYTES));
    for (const id of taken(this.#answers, room())) at = writeHeader(out, at, PING, ACK, 0, id);
    for (const id of taken(this.#pings, room())) at = writeHeader(out, at, PING, SYN, 0, id);
    for (const id of taken(this.#refused, room())) at = writeHeader(out, at, WINDOW_UPDATE, RST, id, 0);
    return at;
  }

  #fillTelling(out: Uint8Array, at: number, end: number): number {
    while (at + HEADER_BYTES <= end) {
      const stream = this.#nextTelling();
      if (stream === undefined) break;
      const { flagsDue, creditDue } = stream;
      stream.flagsDue = stream.creditDue = 0;
      if (flagsDue === 0 && creditDue === 0) continue;
      at = writeHeader(out, at, WINDOW_UPDATE, flagsDue, stream.id, creditDue);
    }
    return at;
  }

  #fillData(out: Uint8Array, at: number, end: number, now: number): number {
    while (at + HEADER_BYTES < end) {
      const stream = this.#nextSending();
      if (stream === undefined) break;
      const length = Math.min(stream.sendable, end - at - HEADER_BYTES, this.#turnBytes);
      if (length > 0) {
        at = writeHeader(out, at, DATA, 0, stream.id, length);
        stream.takeData(out, at, length);
        at += length;
        stream.recentlySent += length;
        this.dataBytes += length;
        this.#inFlight.sent(HEADER_BYTES + length);
      } else if (stream.takeFin()) {
        at = writeHeader(out, at, WINDOW_UPDATE, FIN, stream.id, 0);
        this.#inFlight.sent(HEADER_BYTES);
      }
      if (stream.canSend) this.queue(stream);
      if (this.#inFlight.markIsDue) at = this.#fillMark(out, at, now);
    }
    return at;
  }

  #fillMark(out: Uint8Array, at: number, now: number): number {
    const id = this.#nextPingId();
    this.#inFlight.sent(HEADER_BYTES);
    this.#inFlight.marked(id, now);
    return writeHeader(out, at, PING, SYN, 0, id);
  }

  /** The most that a stream may send in its turn. */
  get #turnBytes(): number {
    const othersWait = this.#light.first !== undefined || this.#heavy.first !== undefined;
    return othersWait ? TURN_BYTES : Math.max(TURN_BYTES, this.#inFlight.untilMark);
  }

  #nextSending(): Stream | undefined {
    if (this.#light.first !== undefined && this.#inFlight.hasOverdraft) return this.#light.shift();
    return this.#inFlight.hasRoom ? this.#heavy.shift() : undefined;
  }

  #nextTelling(): Stream | undefined {
    const stream = this.#firstTelling;
    if (stream === undefined) return undefined;
    this.#firstTelling = stream.nextTelling;
    if (this.#firstTelling === undefined) this.#lastTelling = undefined;
    stream.nextTelling = undefined;
    stream.isTelling = false;
    return stream;
  }
}

const NONE: readonly number[] = [];

/** Takes up to `most` of the first out of `ids`. */
function taken(ids: number[], most: number): readonly number[] {
  return ids.length === 0 ? NONE : ids.splice(0, most);
}
