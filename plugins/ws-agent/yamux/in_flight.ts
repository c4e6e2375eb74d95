import type { RoundTrips } from "./round_trips.ts";

/** Before anything was measured. */
const INITIAL_LIMIT = 256 * 1024;
/** Enough for marks to follow each other; on a slow line this is what an interactive stream may have to wait for. */
const LEAST_LIMIT = 32 * 1024;
const MOST_LIMIT = 16 * 1024 * 1024;
/**
 * How many round trips' worth of bytes are under way. What is more than one finds out whether the path takes more, and
 * is what other frames have to queue behind.
 */
const GAIN = 1.25;
/** The same in the beginning, until the rate has not grown by a quarter for three round trips. */
const STARTUP_GAIN = 2;
const STARTUP_GROWTH = 1.25;
const STARTUP_ROUNDS = 3;
/**
 * What the ends take to come round to it, beside the least round trip. Near by it is most of the way: measured on one
 * machine, without it 60 KiB were under way and every 16 KiB had an answer of their own, for twice the processor time.
 */
const TURN_MS = 0.25;
/** What streams that send little may go beyond the limit, so that they never wait for the others' marks. */
const OVERDRAFT = 32 * 1024;
const LEAST_MARK_INTERVAL = 8 * 1024;
const MOST_MARK_INTERVAL = 128 * 1024;
/** A round trip that is this much longer than the least has been in a queue, whether or not we sent all we could. */
const QUEUED_GROWTH = 1.5;
const QUEUED_MS = 1;
/** The best rate of the last one or two of these counts. */
const RATE_PERIOD_MS = 1000;
/** How often the queue that we make ourselves is drained for once, so that the round trip without it shows. */
const PROBE_PERIOD_MS = 5000;
/** A mark that is not answered for so long is taken for answered, so that a peer slow with pings is still sent to. */
const STALL_MS = 1000;
const STALL_ROUND_TRIPS = 4;

/** A ping behind a stretch of data: its answer says that everything before it has arrived. */
interface Mark {
  readonly id: number;
  /** All bytes sent up to and with this ping. */
  readonly position: number;
  readonly sentAt: number;
  /** What had been delivered, and since when that was known, when this mark was sent. */
  readonly delivered: number;
  readonly deliveredAt: number;
  /** Whether we had sent less than the path would have taken. */
  readonly starved: boolean;
}

/**
 * Bounds the bytes under way to the peer, so that they do not pile up in the sockets' buffers, where nothing that is
 * more urgent could overtake them. The bound follows the rate of delivery and the least round trip, as that of BBR does
 * (draft-ietf-ccwg-bbr). Times are `performance.now()`, rates bytes a millisecond.
 */
export class InFlight {
  readonly #roundTrips: RoundTrips;
  readonly #marks: Mark[] = [];
  #limit = INITIAL_LIMIT;
  #sent = 0;
  #markedAt = 0;
  #delivered = 0;
  #deliveredAt = 0;
  #starvedUntil = 0;
  #wasFull = false;
  #rate = 0;
  #rateBefore = 0;
  #ratePeriodEnds = 0;
  #probeAt = 0;
  /** While the queue is drained: what had been sent when that began. */
  #probeFrom: number | undefined;
  #answers = 0;
  /** In the beginning: the rate to outgrow, for how many round trips it was not, and where the present one ends. */
  #startupRate = 0;
  #startupRounds = 0;
  #roundEnds = 0;

  constructor(roundTrips: RoundTrips) {
    this.#roundTrips = roundTrips;
  }

  /** Bytes that may be under way. */
  get limit(): number {
    if (this.#probeFrom === undefined) return this.#limit;
    return Math.max(LEAST_LIMIT, this.#limit >> 1);
  }

  /** Bytes that were sent and not reported yet as having arrived. */
  get bytes(): number {
    return this.#sent - this.#delivered;
  }

  /** Whether streams that send much may go on. */
  get hasRoom(): boolean {
    if (this.bytes < this.limit) return true;
    this.#wasFull = true;
    return false;
  }

  /** Whether streams that send little may go on. */
  get hasOverdraft(): boolean {
    return this.bytes < this.limit + OVERDRAFT;
  }

  /** Counts the answers to marks: about four a round trip while there is much to send. */
  get answers(): number {
    return this.#answers;
  }

  /** When the oldest mark without an answer was sent. */
  get oldestAt(): number | undefined {
    return this.#marks[0]?.sentAt;
  }

  sent(bytes: number): void {
    this.#sent += bytes;
  }

  /** There is room, and nothing to send: what is measured now says nothing of the path. */
  ranDry(): void {
    this.#starvedUntil = this.#sent;
  }

  /** How many bytes may be sent until a ping should follow them. */
  get untilMark(): number {
    const interval = Math.min(MOST_MARK_INTERVAL, Math.max(LEAST_MARK_INTERVAL, this.limit >> 2));
    return interval - (this.#sent - this.#markedAt);
  }

  get markIsDue(): boolean {
    return this.untilMark <= 0;
  }

  /** Such a ping was sent, and counted. */
  marked(id: number, now: number): void {
    this.#markedAt = this.#sent;
    this.#marks.push({
      id,
      position: this.#sent,
      sentAt: now,
      delivered: this.#delivered,
      deliveredAt: this.#deliveredAt === 0 ? now : this.#deliveredAt,
      starved: this.#starvedUntil > this.#delivered,
    });
  }

  /**
   * A ping was answered.
   *
   * @returns The round trip in milliseconds, or `undefined` when it is not one of the marks.
   */
  answered(id: number, now: number): number | undefined {
    const index = this.#marks.findIndex((mark) => mark.id === id);
    const mark = this.#marks[index];
    if (mark === undefined) return undefined;
    this.#marks.splice(0, index + 1);
    this.#answers++;
    const roundTripMs = now - mark.sentAt;
    this.#roundTrips.add(roundTripMs, now);
    const tells = this.#tells(mark, roundTripMs);
    if (mark.position > this.#delivered) {
      this.#measure(mark, now, tells);
      this.#delivered = mark.position;
      this.#deliveredAt = now;
    }
    if (tells && mark.delivered >= this.#roundEnds) this.#endRound();
    this.#adjust();
    this.#probe(mark, now);
    return roundTripMs;
  }

  /** Lets go of a mark that waits for too long. @returns Whether there is room now that was not there before. */
  giveUpStalled(now: number): boolean {
    const [oldest] = this.#marks;
    if (oldest === undefined || this.hasRoom) return false;
    const patience = Math.max(STALL_MS, STALL_ROUND_TRIPS * (this.#roundTrips.least ?? 0));
    if (now - Math.max(oldest.sentAt, this.#deliveredAt) < patience) return false;
    this.#delivered = Math.max(this.#delivered, oldest.position);
    this.#deliveredAt = now;
    this.#marks.shift();
    return true;
  }

  /** Whether a mark has found out what the path can take. */
  #tells(mark: Mark, roundTripMs: number): boolean {
    if (!mark.starved) return true;
    const wasQueued = roundTripMs > (this.#roundTrips.least ?? 0) * QUEUED_GROWTH + QUEUED_MS;
    return wasQueued && mark.position - mark.delivered >= this.limit / 2;
  }

  #measure(mark: Mark, now: number, tells: boolean): void {
    const elapsed = now - mark.deliveredAt;
    if (elapsed <= 0) return;
    const rate = (mark.position - mark.delivered) / elapsed;
    if (!tells && rate <= Math.max(this.#rate, this.#rateBefore)) return;
    if (now >= this.#ratePeriodEnds) {
      this.#ratePeriodEnds = now + Math.max(RATE_PERIOD_MS, 10 * (this.#roundTrips.least ?? 0));
      this.#rateBefore = this.#rate;
      this.#rate = 0;
    }
    if (rate > this.#rate) this.#rate = rate;
  }

  /** In the beginning: looks whether the path took more than a round trip ago. */
  #endRound(): void {
    this.#roundEnds = this.#sent;
    if (this.#startupRounds >= STARTUP_ROUNDS) return;
    const rate = Math.max(this.#rate, this.#rateBefore);
    if (rate >= this.#startupRate * STARTUP_GROWTH) {
      this.#startupRate = rate;
      this.#startupRounds = 0;
    } else {
      this.#startupRounds++;
    }
  }

  #adjust(): void {
    const least = this.#roundTrips.least;
    const rate = Math.max(this.#rate, this.#rateBefore);
    if (least === undefined || rate === 0) return;
    const gain = this.#startupRounds < STARTUP_ROUNDS ? STARTUP_GAIN : GAIN;
    const wanted = Math.floor(rate * (least * gain + TURN_MS));
    this.#limit = Math.min(MOST_LIMIT, Math.max(LEAST_LIMIT, wanted));
  }

  /** Now and then, halves what is under way, until a mark that was sent in that state is answered. */
  #probe(mark: Mark, now: number): void {
    if (this.#probeFrom !== undefined) {
      if (mark.delivered < this.#probeFrom) return;
      this.#probeFrom = undefined;
    }
    if (now < this.#probeAt) return;
    if (this.#probeAt > 0 && this.#wasFull) this.#probeFrom = this.#sent;
    this.#probeAt = now + PROBE_PERIOD_MS;
    this.#wasFull = false;
  }
}
