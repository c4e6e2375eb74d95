import { INITIAL_WINDOW_BYTES, RST, SYN } from "./frame.ts";
import { ReceivedBytes } from "./received_bytes.ts";
import { type ReceiveBudget, ReceiveWindow } from "./receive_window.ts";
import type { YamuxStream } from "./yamux.ts";

/** The specification's lengths are 32 bits wide. */
const MOST_CREDIT = 2 ** 32 - 1;

/** What a stream asks of its session. */
export interface StreamHost {
  readonly budget: ReceiveBudget;
  /** `performance.now()`, at most a tick ago. */
  readonly now: number;
  /** The stream has data or a FIN to send. */
  wantsToSend(stream: Stream): void;
  /** The stream has to say something that is no data. */
  wantsToTell(stream: Stream): void;
  /** So much of the stream was read that the peer should be told. */
  wantsRefill(stream: Stream): void;
  /** Nothing more goes either way, or waits to be read. */
  streamIsOver(stream: Stream): void;
}

/** Somebody who waits for bytes: with memory of their own, or to be lent some. */
type Reader = {
  readonly into: Uint8Array;
  readonly resolve: (length: number | null) => void;
  readonly reject: (error: Error) => void;
} | {
  readonly into: undefined;
  readonly resolve: (bytes: Uint8Array | null) => void;
  readonly reject: (error: Error) => void;
};

/** Somebody whose bytes wait to be sent. */
interface Writer {
  readonly data: Uint8Array;
  readonly resolve: (length: number) => void;
  readonly reject: (error: Error) => void;
}

/** One stream. Its session calls what the first half has; the second half is what its owner sees. */
export class Stream implements YamuxStream {
  readonly id: number;
  readonly window: ReceiveWindow;
  readonly #host: StreamHost;
  accepted: boolean;
  onReset: (() => void) | undefined;

  /** The next one of those that wait for their turn to send data: see {@link StreamQueue}. */
  next: Stream | undefined;
  isQueued = false;
  /** The same of those that have something else to say. */
  nextTelling: Stream | undefined;
  isTelling = false;
  /** SYN, ACK or RST, when it has still to be said. */
  flagsDue = 0;
  /** Bytes that the peer has still to be told that it may send. */
  creditDue = 0;
  /** Which answer to a mark the session had when it last sent, and how much it has sent since: who sends little goes first. */
  sentAfter = 0;
  recentlySent = 0;
  /** When somebody last took of the bytes that wait, or they began to wait. */
  unreadSince = 0;

  #sendCredit = INITIAL_WINDOW_BYTES;
  #writer: Writer | undefined;
  #written = 0;
  #finWanted = false;
  #finSent = false;

  #reader: Reader | undefined;
  #filled = 0;
  #received: ReceivedBytes | undefined;
  #lent = false;
  #finReceived = false;
  #peerIsDone = false;

  #dead = false;
  #deathSeen = false;
  #closed = false;

  constructor(host: StreamHost, id: number, { accepted, now }: { accepted: boolean; now: number }) {
    this.#host = host;
    this.id = id;
    this.accepted = accepted;
    this.window = new ReceiveWindow(host.budget, now);
  }

  /** Whether it has bytes, or a FIN, that may be sent now. */
  get canSend(): boolean {
    if (this.#dead) return false;
    return this.#writer === undefined ? this.#finWanted && !this.#finSent : this.#sendCredit > 0;
  }

  /** Bytes that wait to be sent and may be. */
  get sendable(): number {
    if (this.#writer === undefined || this.#dead) return 0;
    return Math.min(this.#writer.data.length - this.#written, this.#sendCredit);
  }

  /** Whether the next frame is a FIN. @returns True once. */
  takeFin(): boolean {
    if (this.#writer !== undefined || !this.#finWanted || this.#finSent || this.#dead) return false;
    this.#finSent = true;
    this.#retire();
    return true;
  }

  /** Copies bytes that wait to be sent: `length` of them, at most {@link sendable}. */
  takeData(into: Uint8Array, at: number, length: number): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    into.set(writer.data.subarray(this.#written, this.#written + length), at);
    this.#written += length;
    this.#sendCredit -= length;
    if (this.#written < writer.data.length) return;
    this.#writer = undefined;
    writer.resolve(this.#written);
  }

  /** The peer may be sent more. @returns False when that is more than the protocol can count. */
  addCredit(bytes: number): boolean {
    this.#sendCredit += bytes;
    if (this.#sendCredit > MOST_CREDIT) return false;
    if (this.canSend) this.#host.wantsToSend(this);
    return true;
  }

  /** Whether data may still come: the peer has ended neither its side nor the stream. */
  get takesData(): boolean {
    return !this.#peerIsDone;
  }

  /** Bytes that wait to be read. */
  get waiting(): number {
    return this.#received?.length ?? 0;
  }

  /** Bytes that have come for the reader that waits. */
  get ready(): number {
    return this.#reader === undefined ? 0 : this.#filled + this.waiting;
  }

  /**
   * Data of the peer: straight to who waits for it, as far as there is room.
   *
   * @param more How much of the frame is still to come.
   * @returns Whether this is the first for a reader that waits: {@link wake} it when no more comes at once.
   */
  receive(bytes: Uint8Array, at: number, end: number, more: number): boolean {
    if (this.#closed || this.#dead) return false;
    const reader = this.#reader;
    const isFirst = reader !== undefined && this.ready === 0;
    if (reader?.into !== undefined) {
      const length = Math.min(end - at, reader.into.length - this.#filled);
      if (length > 0) reader.into.set(bytes.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
    }
    if (at < end) {
      if (this.#received === undefined) {
        this.#received = new ReceivedBytes();
        this.unreadSince = this.#host.now;
      }
      this.#received.put(bytes, at, end, more);
      this.#host.budget.wait(end - at);
    }
    return isFirst;
  }

  /** Hands a reader what has come for it. */
  wake(): void {
    const reader = this.#reader;
    if (reader === undefined || this.ready === 0) return;
    this.#reader = undefined;
    if (reader.into === undefined) return reader.resolve(this.#lend());
    const length = this.#filled;
    this.#filled = 0;
    this.#wasRead(length);
    reader.resolve(length);
  }

  /** The peer's FIN. */
  receiveFin(): void {
    this.#finReceived = this.#peerIsDone = true;
    this.creditDue = 0;
    this.wake();
    this.#reader?.resolve(null);
    this.#reader = undefined;
    this.#retire();
  }

  /** The peer's RST. */
  receiveReset(): void {
    this.#peerIsDone = true;
    this.die();
  }

  /** The stream's sudden end, or the session's: nothing goes or comes any more, but for what waits to be read. */
  die(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.flagsDue = this.creditDue = 0;
    this.wake();
    this.#rejectWaiting();
    this.#retire();
    if (!this.#closed) this.onReset?.();
  }

  #rejectWaiting(): void {
    const [reader, writer] = [this.#reader, this.#writer];
    this.#reader = this.#writer = undefined;
    if (reader === undefined && writer === undefined) return;
    const reset = connectionReset();
    reader?.reject(reset);
    // Part of it may be with the peer by now: whoever would send it again, on another stream, has to know.
    const isBegun = writer !== undefined && this.#written > 0;
    if (isBegun) writer.resolve(this.#written);
    else writer?.reject(reset);
    this.#deathSeen = reader !== undefined || !isBegun;
  }

  read(into: Uint8Array): Promise<number | null> {
    if (into.length === 0 && !this.#closed) return Promise.resolve(0);
    const ended = this.#endOfReading();
    if (ended !== undefined) return ended;
    if (this.#received !== undefined) return Promise.resolve(this.#takeReceived(this.#received, into));
    return new Promise((resolve, reject) => this.#reader = { into, resolve, reject });
  }

  borrow(): Promise<Uint8Array | null> {
    const ended = this.#endOfReading();
    if (ended !== undefined) return ended;
    if (this.#received !== undefined) return Promise.resolve(this.#lend());
    return new Promise((resolve, reject) => this.#reader = { into: undefined, resolve, reject });
  }

  giveBack(length: number): void {
    this.#lent = false;
    const received = this.#received;
    if (received === undefined) return;
    const read = received.giveBack(length);
    this.unreadSince = this.#host.now;
    if (received.length === 0) this.#received = undefined;
    this.#host.budget.wait(-read);
    if (read > 0) this.#wasRead(read);
    if (received.length === 0) this.#retire();
  }

  write(data: Uint8Array): Promise<number> {
    if (this.#closed) return Promise.reject(badResource());
    if (this.#writer !== undefined) return Promise.reject(new TypeError("A write is pending already"));
    if (data.length === 0) return Promise.resolve(0);
    if (this.#dead && !this.#deathSeen) {
      this.#deathSeen = true;
      return Promise.reject(connectionReset());
    }
    if (this.#dead && !this.#deathSeen) return this.#seeDeath();
    if (this.#dead || this.#finWanted) return Promise.reject(new Deno.errors.BrokenPipe("Broken pipe"));
    return new Promise((resolve, reject) => {
      this.#writer = { data, resolve, reject };
      this.#written = 0;
      if (this.#sendCredit > 0) this.#host.wantsToSend(this);
    });
  }

  closeWrite(): Promise<void> {
    if (this.#closed) return Promise.reject(badResource());
    this.#wantFin();
    return Promise.resolve();
  }

  close(): void {
    if (this.#closed) throw badResource();
    const endsWell = this.#finReceived && this.#received === undefined && this.#filled === 0;
    this.#interrupt();
    if (endsWell) this.#wantFin();
    else this.#giveUp();
  }

  reset(): void {
    if (this.#closed) return;
    this.#interrupt();
    this.#giveUp();
  }

  /** What a read comes to that brings nothing; `undefined`: there is something, or there will be. */
  #endOfReading(): Promise<null> | undefined {
    if (this.#closed) return Promise.reject(badResource());
    if (this.#reader !== undefined || this.#lent) {
      return Promise.reject(new TypeError("A read is pending already"));
    }
    if (this.#received !== undefined) return undefined;
    if (this.#finReceived || this.#dead && this.#deathSeen) return Promise.resolve(null);
    return this.#dead ? this.#seeDeath() : undefined;
  }

  /** Told once, as the kernel does: what follows is the end, or a broken pipe. */
  #seeDeath(): Promise<never> {
    this.#deathSeen = true;
    return Promise.reject(connectionReset());
  }

  #lend(): Uint8Array | null {
    this.#lent = true;
    return this.#received?.lend() ?? null;
  }

  #takeReceived(received: ReceivedBytes, into: Uint8Array): number {
    const length = received.take(into);
    if (received.length === 0) this.#received = undefined;
    this.unreadSince = this.#host.now;
    this.#host.budget.wait(-length);
    this.#wasRead(length);
    if (received.length === 0) this.#retire();
    return length;
  }

  #wasRead(length: number): void {
    this.window.consume(length);
    if (!this.#dead && !this.#finReceived && this.window.wantsRefill) this.#host.wantsRefill(this);
  }

  #wantFin(): void {
    if (this.#finWanted || this.#dead) return;
    this.#finWanted = true;
    this.#host.wantsToSend(this);
  }

  /** Ends what its owner has pending, and forgets what nobody will read. */
  #interrupt(): void {
    this.#closed = true;
    const { Interrupted } = Deno.errors;
    this.#reader?.reject(new Interrupted("operation canceled"));
    this.#writer?.reject(new Interrupted("operation canceled"));
    this.#reader = this.#writer = undefined;
    this.#filled = 0;
    this.#host.budget.wait(-(this.#received?.clear() ?? 0));
    if (!this.#lent) this.#received = undefined;
    this.#retire();
  }

  /** Tells the peer that nothing more comes, and that nothing is wanted. */
  #giveUp(): void {
    if (this.#dead || this.#finSent && this.#finReceived) return;
    this.#dead = true;
    this.creditDue = 0;
    this.flagsDue = (this.flagsDue & SYN) === 0 ? RST : 0; // the peer has not heard of a stream that was not announced
    this.#host.wantsToTell(this);
    this.#retire();
  }

  #retire(): void {
    if (this.#received !== undefined) return;
    if (this.#dead || this.#finSent && this.#finReceived) this.#host.streamIsOver(this);
  }
}

function connectionReset(): Error {
  return new Deno.errors.ConnectionReset("Connection reset by peer");
}

function badResource(): Error {
  return new Deno.errors.BadResource("Bad resource ID");
}
