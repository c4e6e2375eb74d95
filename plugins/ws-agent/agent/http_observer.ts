import { RequestHead, ResponseHead } from "../../../core/http1/mod.ts";
import { HeadCollector } from "./head_collector.ts";
import type { StreamWatcher } from "./watched_stream.ts";

/** An exchange that passed by. */
export interface Exchange {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly status: number;
  /** From the request's first byte to the head of the answer. */
  readonly ms: number;
}

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
export class HttpObserver implements StreamWatcher {
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
    this.#requests.release();
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
    this.#responses.release();
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
    this.#requests.release();
    this.#responses.release();
    return Infinity;
  }
}
