import { type ByteStream, closeQuietly } from "../../../core/plugin/mod.ts";
import { RequestHead, ResponseHead } from "../../../core/http1/mod.ts";
import { BodySkipper } from "./body_skipper.ts";

/** An exchange that passed by. */
export interface Exchange {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly status: number;
  /** From the request's first byte to the head of the answer. */
  readonly ms: number;
}

/** What a head may have before nobody looks any further. */
const MAX_HEAD_BYTES = 32 * 1024;
/** Requests that wait for their answers; a gateway sends one at a time. */
const MAX_WAITING = 64;
const MAX_PATH = 256;

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly at: number;
}

/**
 * Looks at HTTP/1.1 going by, both ways, and tells what was asked and answered. It never changes or holds up a byte; what it does not
 * understand ends the looking and nothing else.
 */
export class HttpObserver {
  readonly #seen: (exchange: Exchange) => void;
  readonly #now: () => number;
  readonly #requests = new HeadCollector(new RequestHead());
  readonly #responses = new HeadCollector(new ResponseHead());
  #waiting: Asked[] = [];
  /** When the head that is coming began. */
  #since: number | undefined;
  #looking = true;

  constructor(seen: (exchange: Exchange) => void, now: () => number) {
    this.#seen = seen;
    this.#now = now;
  }

  /** Bytes from the client. */
  request(bytes: Uint8Array): void {
    if (!this.#looking) return;
    this.#guard(() => {
      for (let at = 0; at < bytes.length && this.#looking;) at = this.#takeRequest(bytes, at);
    });
  }

  /** Bytes from the service. */
  response(bytes: Uint8Array): void {
    if (!this.#looking) return;
    this.#guard(() => {
      for (let at = 0; at < bytes.length && this.#looking;) at = this.#takeResponse(bytes, at);
    });
  }

  /** Nothing that goes by may be hurt by a mistake in here. */
  #guard(look: () => void): void {
    try {
      look();
    } catch {
      this.#stop();
    }
  }

  #takeRequest(bytes: Uint8Array, at: number): number {
    const { body, head } = this.#requests;
    if (!body.done) return body.skip(bytes, at) ?? this.#stop();
    this.#since ??= this.#now();
    const next = this.#requests.take(bytes, at, (seen) => head.parse(seen));
    if (next === undefined) return this.#stop();
    if (!this.#requests.complete) return next;
    if (this.#waiting.length >= MAX_WAITING) return this.#stop();
    this.#waiting.push({ method: head.method, path: head.pathname(MAX_PATH), at: this.#since });
    this.#since = undefined;
    body.start(head.body, head.contentLength);
    return next;
  }

  #takeResponse(bytes: Uint8Array, at: number): number {
    const { body, head } = this.#responses;
    if (!body.done) return body.skip(bytes, at) ?? this.#stop();
    const [asked] = this.#waiting;
    if (asked === undefined) return this.#stop();
    const next = this.#responses.take(bytes, at, (seen) => head.parse(seen, asked.method));
    if (next === undefined) return this.#stop();
    if (!this.#responses.complete) return next;
    const { status } = head;
    if (status < 200 && status !== 101) return next; // the answer itself follows
    this.#waiting.shift();
    this.#seen({ method: asked.method, path: asked.path, status, ms: this.#now() - asked.at });
    if (status === 101) return this.#stop(); // what follows is no HTTP any more
    body.start(head.body, head.contentLength);
    return next;
  }

  /** @returns An offset behind any bytes. */
  #stop(): number {
    this.#looking = false;
    this.#waiting = [];
    return Infinity;
  }
}

/** Puts heads together that come in pieces. One that lies whole in the bytes at hand is read there. */
class HeadCollector<Head extends { length: number }> {
  readonly head: Head;
  readonly body = new BodySkipper();
  /** Whether the last {@link take} completed a head. */
  complete = false;
  #begun: Uint8Array | undefined;
  #length = 0;

  constructor(head: Head) {
    this.head = head;
  }

  /** @returns Where the head ends in `bytes`, or their length; `undefined`: it is none, or too long. */
  take(bytes: Uint8Array, at: number, parse: (seen: Uint8Array) => unknown): number | undefined {
    const before = this.#length;
    const seen = before === 0 ? bytes.subarray(at) : this.#append(bytes.subarray(at));
    if (seen === undefined) return undefined;
    const result = parse(seen);
    this.complete = result === "done";
    if (this.complete) {
      this.#begun = undefined;
      this.#length = 0;
      return at + this.head.length - before;
    }
    if (result !== "more" || (before === 0 && this.#append(seen) === undefined)) return undefined;
    return bytes.length;
  }

  #append(bytes: Uint8Array): Uint8Array | undefined {
    const length = this.#length + bytes.length;
    // What follows the head may be in it too; a head that is not there by then is too long.
    if (length > MAX_HEAD_BYTES) return undefined;
    if (this.#begun === undefined || this.#begun.length < length) {
      const larger = new Uint8Array(Math.min(MAX_HEAD_BYTES, Math.max(2048, 2 * length)));
      if (this.#begun) larger.set(this.#begun.subarray(0, this.#length));
      this.#begun = larger;
    }
    this.#begun.set(bytes, this.#length);
    this.#length = length;
    return this.#begun.subarray(0, length);
  }
}

/** The same stream, with somebody looking: what is read from it are requests, what is written to it are the answers. */
export class ObservedStream implements ByteStream {
  readonly #stream: ByteStream;
  readonly #observer: HttpObserver;

  constructor(stream: ByteStream, observer: HttpObserver) {
    this.#stream = stream;
    this.#observer = observer;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#stream.read(into);
    if (length !== null) this.#observer.request(into.subarray(0, length));
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    const length = await this.#stream.write(data);
    this.#observer.response(length === data.length ? data : data.subarray(0, length));
    return length;
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    closeQuietly(this.#stream);
  }
}
