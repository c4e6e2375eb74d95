import { type ByteStream, GatewayError, messageOf } from "../../../core/plugin/mod.ts";
import { ACK, DATA, FIN, type FrameHeader, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE } from "./frame.ts";
import { FrameBudget } from "./frame_budget.ts";
import { type FrameHandler, FrameReader } from "./frame_reader.ts";
import { FrameWriter } from "./frame_writer.ts";
import { InFlight } from "./in_flight.ts";
import { Outbox } from "./outbox.ts";
import { Pings } from "./pings.ts";
import { ReceiveBudget } from "./receive_window.ts";
import { RoundTrips } from "./round_trips.ts";
import type { Stream, StreamHost } from "./stream.ts";
import { StreamTable } from "./stream_table.ts";
import { startTicking, stopTicking, type Ticking } from "./ticker.ts";
import {
  DEFAULT_MAX_BUFFERED_BYTES,
  type GoAwayCode,
  type SessionEnd,
  type YamuxOptions,
  type YamuxSession,
  type YamuxStream,
} from "./yamux.ts";

const DEFAULT_MAX_STREAMS = 1000;
const DEFAULT_PING_INTERVAL_MS = 15_000;
const DEFAULT_PING_TIMEOUT_MS = 20_000;
/** While too much waits, streams are reset that nobody has read for so long, those with most of it first. */
const UNREAD_MS = 5000;
/** Hashicorp's refuses more. */
const DEFAULT_MAX_UNACCEPTED = 256;
/** While data comes, the round trip is measured at least so often: windows follow it. */
const MEASURE_MS = 1000;
/** What is worth a write of its own to whoever reads: readers with less wait until nothing more lies ready. */
const ENOUGH_BYTES = 64 * 1024;
/** Opening a stream costs the receiver more than other frames do. */
const SYN_COST = 3;

const GO_AWAY_CODES: Record<GoAwayCode, number> = { normal: 0, protocol_error: 1, internal_error: 2 };

/** See {@link openYamux}. Other classes of this folder see more of it than its owner does. */
export class Session implements YamuxSession, StreamHost, FrameHandler, Ticking {
  readonly budget: ReceiveBudget;
  readonly ended: Promise<SessionEnd>;
  onGoAway: (() => void) | undefined;

  readonly #onStream: ((stream: YamuxStream) => void) | undefined;
  #maxStreams: number;

  readonly #streams: StreamTable;
  readonly #roundTrips = new RoundTrips();
  readonly #inFlight = new InFlight(this.#roundTrips);
  readonly #pings: Pings;
  readonly #outbox: Outbox;
  readonly #writer: FrameWriter;
  readonly #frames: FrameBudget;

  #end: SessionEnd | undefined;
  #goesAway = false;
  #peerGoesAway = false;
  /** `performance.now()` of this turn's beginning: one look at the clock serves for all frames of a read. */
  #now: number;
  #lastHeardAt: number;
  #bytesRead = 0;
  #bytesPaidFor = 0;
  /** Goes on with reading; present while too much waits for its readers. */
  #room: (() => void) | undefined;

  /** The stream that the present data frame is for, unless that is over, and whether a FIN follows. */
  #target: Stream | undefined;
  #finFollows = false;
  /** Readers that something has come for. */
  readonly #filled: Stream[] = [];

  constructor(transport: ByteStream, options: YamuxOptions) {
    const now = performance.now();
    this.#now = this.#lastHeardAt = now;
    this.budget = new ReceiveBudget(options.maxBufferedBytes ?? DEFAULT_MAX_BUFFERED_BYTES);
    this.#onStream = options.onStream;
    this.#maxStreams = options.maxStreams ?? DEFAULT_MAX_STREAMS;
    const { pingIntervalMs = DEFAULT_PING_INTERVAL_MS, pingTimeoutMs = DEFAULT_PING_TIMEOUT_MS } = options;
    this.#pings = new Pings(pingIntervalMs, pingTimeoutMs, now);
    this.#outbox = new Outbox(this.#inFlight, () => this.#pings.nextId());
    this.#streams = new StreamTable(options.role, options.maxUnaccepted ?? DEFAULT_MAX_UNACCEPTED);
    this.#frames = new FrameBudget(now);
    this.#writer = new FrameWriter(transport, this.#outbox, (error) => {
      this.#finish({ kind: "transport_failed", detail: messageOf(error) });
    });
    this.ended = this.#writer.closed.then(() => this.#end ?? { kind: "closed" });
    startTicking(this);
    this.#read(transport);
  }

  get streams(): number {
    return this.#streams.size;
  }

  get streamsOfPeer(): number {
    return this.#streams.ofPeer;
  }

  get roundTripMs(): number | undefined {
    return this.#roundTrips.last;
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#outbox.dataBytes;
  }

  get lastHeardAt(): number {
    return this.#lastHeardAt;
  }

  get peerGoesAway(): boolean {
    return this.#peerGoesAway;
  }

  get room(): number {
    return this.budget.left;
  }

  get now(): number {
    return this.#now;
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  set maxBufferedBytes(bytes: number) {
    this.budget.most = bytes;
  }

  set maxStreams(streams: number) {
    this.#maxStreams = streams;
  }

  open(): YamuxStream {
    if (this.isOver) throw new GatewayError("dial-failed", "The tunnel is closed");
    if (this.#peerGoesAway) {
      throw new GatewayError("dial-failed", "The tunnel takes no new streams: its peer goes away");
    }
    const stream = this.#streams.open(this, performance.now());
    if (stream === undefined) {
      throw new GatewayError(
        "dial-failed",
        "The tunnel takes no new streams: its peer has not answered those before",
      );
    }
    this.#frames.opened();
    this.wantsToTell(stream);
    return stream;
  }

  ping(): Promise<number> {
    if (this.isOver) return Promise.reject(sessionEnded());
    return new Promise((resolve, reject) => this.#ping(performance.now(), resolve, reject));
  }

  goAway(code: GoAwayCode = "normal"): void {
    if (this.isOver || this.#goesAway) return;
    this.#goesAway = true;
    this.#outbox.goAway(GO_AWAY_CODES[code]);
    this.#writer.wake();
  }

  close(code: GoAwayCode = "normal"): void {
    this.#finish({ kind: "closed" }, code);
  }

  wantsToSend(stream: Stream): void {
    if (this.isOver) return;
    this.#outbox.queue(stream);
    this.#writer.wake();
  }

  wantsToTell(stream: Stream): void {
    if (this.isOver) return;
    this.#outbox.tell(stream);
    this.#writer.wake();
  }

  wantsRefill(stream: Stream): void {
    const now = performance.now();
    if (this.#pings.oldestAt === undefined && this.#wantsMeasure(now)) this.#ping(now);
    stream.creditDue += stream.window.refill(now, this.#roundTrips.least);
    if (stream.creditDue > 0) this.wantsToTell(stream);
  }

  streamIsOver(stream: Stream): void {
    this.#streams.delete(stream);
  }

  turnBegins(bytes: number): void {
    this.#now = this.#lastHeardAt = performance.now();
    const moved = bytes + this.bytesWritten - this.#bytesPaidFor;
    this.#bytesPaidFor = this.bytesWritten;
    this.#frames.earn(this.#now, moved);
  }

  frame(header: FrameHeader): SessionEnd | undefined {
    if ((header.type !== DATA || header.length === 0) && !this.#frames.spend(1)) {
      return protocolError("too many frames without data");
    }
    switch (header.type) {
      case PING:
        return this.#takePing(header);
      case GO_AWAY:
        return this.#takeGoAway(header.length);
      default:
        return this.#takeStreamFrame(header);
    }
  }

  data(bytes: Uint8Array, at: number, end: number, more: number): void {
    this.#bytesRead += end - at;
    if (this.#target?.receive(bytes, at, end, more)) this.#filled.push(this.#target);
  }

  dataEnded(): void {
    if (this.#finFollows) this.#target?.receiveFin();
    this.#target = undefined;
  }

  get readersWait(): boolean {
    return this.#filled.length > 0;
  }

  wakeReaders(): void {
    for (const stream of this.#filled) stream.wake();
    this.#filled.length = 0;
  }

  turnEnds(): Promise<void> | undefined {
    if (this.budget.isFull || this.#filled.some(({ ready }) => ready >= ENOUGH_BYTES)) this.wakeReaders();
    if (this.isOver) return undefined;
    this.#makeRoom();
    if (!this.budget.isFull) return undefined;
    return new Promise((resolve) => {
      this.#room = resolve;
      this.budget.onRoom = () => this.#goOn(performance.now());
    });
  }

  tick(now: number): void {
    this.#now = now;
    if (this.#inFlight.giveUpStalled(now)) this.#writer.wake();
    if (this.#room !== undefined) return this.#makeRoom();
    if (this.#pings.showDeath(now, this.#lastHeardAt, this.#inFlight.oldestAt)) {
      return this.#finish({ kind: "timeout", detail: "a ping was not answered" });
    }
    if (this.#pings.isDue(now)) this.#ping(now);
  }

  async #read(transport: ByteStream): Promise<void> {
    try {
      const end = await new FrameReader(transport, this).run();
      this.#finish(end, end.kind === "protocol_error" ? "protocol_error" : undefined);
    } catch (error) { // of whom streams are handed to
      this.#finish({ kind: "closed", detail: messageOf(error) }, "internal_error");
    }
  }

  #takePing({ flags, length: id }: FrameHeader): SessionEnd | undefined {
    if (flags === SYN) {
      if (!this.#outbox.answer(id)) return protocolError("too many pings that could not be answered");
      this.#writer.wake();
      return undefined;
    }
    if (this.#inFlight.answered(id, this.#now) !== undefined) {
      this.#writer.wake();
      return undefined;
    }
    const roundTripMs = this.#pings.answered(id, this.#now);
    if (roundTripMs !== undefined) this.#roundTrips.add(roundTripMs, this.#now);
    return undefined;
  }

  #takeGoAway(code: number): SessionEnd | undefined {
    if (code !== GO_AWAY_CODES.normal) return { kind: "peer_closed", detail: `go-away with code ${code}` };
    if (this.#peerGoesAway) return undefined;
    this.#peerGoesAway = true;
    this.onGoAway?.();
    return undefined;
  }

  #takeStreamFrame(header: FrameHeader): SessionEnd | undefined {
    const { type, flags, streamId, length } = header;
    if ((flags & SYN) !== 0) {
      const over = this.#takeSyn(streamId);
      if (over !== undefined) return over;
    }
    const bytes = type === DATA ? length : 0;
    const stream = this.#streams.get(streamId);
    this.#target = stream;
    this.#finFollows = false;
    if (stream === undefined) {
      return this.#streams.takeStray(streamId, bytes) ? undefined : protocolError("a frame for no stream");
    }
    if (!stream.accepted && (flags & RST) === 0) this.#streams.accept(stream);
    if (!stream.takesData && bytes > 0) {
      return protocolError("data behind the end of a stream");
    }
    if (!stream.window.use(bytes)) return protocolError("more data than a stream's window holds");
    if (type === WINDOW_UPDATE && !stream.addCredit(length)) {
      return protocolError("a window that is too large");
    }
    if ((flags & RST) !== 0) stream.receiveReset();
    else if ((flags & FIN) === 0) return undefined;
    else if (type === DATA) this.#finFollows = true;
    else stream.receiveFin();
    return undefined;
  }

  /** The peer opens a stream. */
  #takeSyn(id: number): SessionEnd | undefined {
    if (!this.#frames.spend(SYN_COST)) return protocolError("too many streams opened");
    if (!this.#streams.announce(id)) {
      return protocolError("a stream id that is used, or not the peer's to use");
    }
    if (this.#onStream === undefined || this.#goesAway || this.#streams.ofPeer >= this.#maxStreams) {
      this.#streams.refuse();
      if (!this.#outbox.refuse(id)) return protocolError("too many streams that could not be refused");
      this.#writer.wake();
      return undefined;
    }
    const stream = this.#streams.take(this, id, this.#now);
    stream.flagsDue = ACK;
    this.wantsToTell(stream);
    this.#onStream(stream);
    return undefined;
  }

  /** While too much waits, nothing is read for anybody: streams have to go whose readers do not read. */
  #makeRoom(): void {
    while (this.budget.isFull) {
      const stream = this.#streams.fullestUnread(this.#now - UNREAD_MS);
      if (stream === undefined) return;
      stream.reset();
    }
  }

  #goOn(now: number): void {
    const resume = this.#room;
    if (resume === undefined) return;
    this.#room = this.budget.onRoom = undefined;
    this.#lastHeardAt = now; // nobody has listened meanwhile
    resume();
  }

  /** Whether the round trip should be measured, because windows follow it. */
  #wantsMeasure(now: number): boolean {
    return this.#roundTrips.least === undefined || now - this.#pings.lastAt >= MEASURE_MS;
  }

  #ping(now: number, resolve?: (roundTripMs: number) => void, reject?: (error: Error) => void): void {
    this.#outbox.ping(this.#pings.ask({ askedAt: now, resolve, reject }));
    this.#writer.wake();
  }

  #finish(end: SessionEnd, code?: GoAwayCode): void {
    if (this.isOver) return;
    this.#end = end;
    stopTicking(this);
    this.#streams.dieAll();
    this.#outbox.clear();
    this.#pings.fail(sessionEnded());
    this.#goOn(performance.now());
    this.#writer.close(code === undefined ? undefined : GO_AWAY_CODES[code]);
  }
}

function protocolError(detail: string): SessionEnd {
  return { kind: "protocol_error", detail };
}

function sessionEnded(): Error {
  return new Deno.errors.ConnectionReset("The session has ended");
}
