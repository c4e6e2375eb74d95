import { RequestHead, ResponseHead } from "../../../core/http1/mod.ts";
import { HeadCollector } from "../agent/head_collector.ts";
import type { StreamWatcher } from "../agent/watched_stream.ts";
import { CapturedBody } from "./captured_body.ts";
import type { Exchange, Origin } from "./exchange.ts";
import type { ExchangeLog } from "./exchange_log.ts";

export interface ExchangeTapOptions {
  readonly log: ExchangeLog;
  readonly origin: Origin;
  /** Milliseconds that only go up. */
  readonly now: () => number;
  /** Of which exchange these are replays. */
  readonly replayOf?: number | undefined;
}

/** One that has not come to its end. */
interface Open {
  readonly exchange: Exchange;
  /** When the request's first byte came. */
  readonly since: number;
}

/** Requests that wait for their answers; a gateway sends one at a time. */
const MAX_WAITING = 64;

/**
 * Makes exchanges of the HTTP/1.1 that goes by on one connection. It reads and copies, and holds up nothing; what it does not
 * understand ends the looking and nothing else.
 */
export class ExchangeTap implements StreamWatcher {
  readonly #options: ExchangeTapOptions;
  readonly #requests = new HeadCollector(new RequestHead(), (data) => this.#keepRequest(data));
  readonly #responses = new HeadCollector(new ResponseHead(), (data) => this.#keepResponse(data));
  /** Those that have no answer yet, oldest first. */
  #waiting: Open[] = [];
  /** Whose request is coming, and whose response is. */
  #asking: Exchange | undefined;
  #answering: Open | undefined;
  #latest: Exchange | undefined;
  /** When the head that is coming began. */
  #since: number | undefined;
  #mode: "http" | "upgraded" | "over" = "http";

  constructor(options: ExchangeTapOptions) {
    this.#options = options;
  }

  /** The one that has begun last. */
  get latest(): Exchange | undefined {
    return this.#latest;
  }

  /** Whether some exchange may still get something. */
  get isOpen(): boolean {
    return this.#waiting.length > 0 || this.#answering !== undefined;
  }

  request(bytes: Uint8Array): void {
    if (this.#mode === "upgraded") this.#answering?.exchange.request.body.pass(bytes.length);
    else this.#follow(bytes, (at) => this.#takeRequest(bytes, at));
  }

  response(bytes: Uint8Array): void {
    if (this.#mode === "upgraded") this.#answering?.exchange.response?.body.pass(bytes.length);
    else this.#follow(bytes, (at) => this.#takeResponse(bytes, at));
  }

  /** @param problem Why no more will come, if something is wrong. */
  end(problem?: string): void {
    if (this.#mode === "over") return;
    const answering = this.#answering;
    const { head, body } = this.#responses;
    // A body that only the connection's end delimits has ended; any other is cut off.
    const isWhole = this.#mode === "upgraded" || head.body === "until-close" || body.done;
    if (answering !== undefined && isWhole && problem === undefined) this.#finish(answering);
    this.#giveUp(problem ?? (this.#answering ? "The connection ended within the response" : "No response"));
  }

  /** Nothing that goes by may be hurt by a mistake in here. */
  #follow(bytes: Uint8Array, take: (at: number) => number): void {
    try {
      for (let at = 0; at < bytes.length && this.#mode === "http";) at = take(at);
    } catch {
      this.#lose();
    }
  }

  #takeRequest(bytes: Uint8Array, at: number): number {
    const { body, head } = this.#requests;
    if (!body.done) return this.#passRequestBody(bytes, at);
    this.#since ??= this.#options.now();
    const next = this.#requests.take(bytes, at, (seen) => head.parse(seen));
    if (next === undefined) return this.#lose();
    if (!this.#requests.complete) return next;
    if (this.#waiting.length >= MAX_WAITING) return this.#lose();
    const exchange = this.#begin();
    this.#requests.release();
    body.start(head.body, head.contentLength);
    exchange.request.isComplete = body.done;
    return next;
  }

  #begin(): Exchange {
    const { log, origin, replayOf, now } = this.#options;
    const { head } = this.#requests;
    const exchange = log.add({
      time: Date.now(),
      origin,
      ...(replayOf !== undefined && { replayOf }),
      request: {
        method: head.method,
        target: head.target,
        version: head.version,
        fields: head.fields.text,
        body: new CapturedBody(head.contentLength),
        ...(head.upgrade !== undefined && { upgrade: head.upgrade }),
        isComplete: false,
      },
      state: "waiting",
    }, head.length);
    this.#waiting.push({ exchange, since: this.#since ?? now() });
    this.#since = undefined;
    this.#asking = this.#latest = exchange;
    return exchange;
  }

  #passRequestBody(bytes: Uint8Array, at: number): number {
    const { body } = this.#requests;
    const next = body.skip(bytes, at);
    if (next === undefined) return this.#lose();
    if (body.done && this.#asking !== undefined) {
      this.#asking.request.isComplete = true;
      this.#options.log.changed();
    }
    return next;
  }

  #takeResponse(bytes: Uint8Array, at: number): number {
    const { body, head } = this.#responses;
    if (!body.done) return this.#passResponseBody(bytes, at);
    const [asked] = this.#waiting;
    if (asked === undefined) return this.#lose();
    const next = this.#responses.take(bytes, at, (seen) => head.parse(seen, asked.exchange.request.method));
    if (next === undefined) return this.#lose();
    if (!this.#responses.complete) return next;
    if (head.status < 200 && head.status !== 101) return next; // the answer itself follows
    this.#waiting.shift();
    this.#answer(asked);
    this.#responses.release();
    if (head.status === 101) return this.#upgrade(asked.exchange, bytes.subarray(next));
    body.start(head.body, head.contentLength);
    if (body.done) this.#finish(asked);
    return next;
  }

  #answer(open: Open): void {
    const { head } = this.#responses;
    const { exchange } = open;
    exchange.response = {
      version: head.version,
      status: head.status,
      reason: head.reason,
      fields: head.fields.text,
      body: new CapturedBody(head.contentLength),
    };
    exchange.state = "answering";
    exchange.headMs = this.#options.now() - open.since;
    this.#answering = open;
    this.#options.log.answered(exchange, head.length);
  }

  #passResponseBody(bytes: Uint8Array, at: number): number {
    const { body } = this.#responses;
    const next = body.skip(bytes, at);
    if (next === undefined) return this.#lose();
    if (body.done && this.#answering !== undefined) this.#finish(this.#answering);
    return next;
  }

  /** @param rest What follows the head of the response already. @returns An offset behind any bytes. */
  #upgrade(exchange: Exchange, rest: Uint8Array): number {
    exchange.state = "upgraded";
    this.#mode = "upgraded";
    this.response(rest);
    return Infinity;
  }

  #finish({ exchange, since }: Open): void {
    if (exchange.state !== "upgraded") exchange.state = "done";
    exchange.totalMs = this.#options.now() - since;
    this.#answering = undefined;
    this.#options.log.changed();
  }

  /** @returns An offset behind any bytes. */
  #lose(): number {
    this.#giveUp("What went by here is not understood; it was passed on all the same");
    return Infinity;
  }

  #giveUp(problem: string): void {
    this.#mode = "over";
    this.#requests.release();
    this.#responses.release();
    const open = [...this.#answering ? [this.#answering] : [], ...this.#waiting];
    this.#waiting = [];
    this.#answering = this.#asking = undefined;
    for (const { exchange, since } of open) {
      exchange.state = "broken";
      exchange.problem = problem;
      exchange.totalMs = this.#options.now() - since;
    }
    if (open.length > 0) this.#options.log.changed();
  }

  #keepRequest(data: Uint8Array): void {
    const exchange = this.#asking;
    if (exchange !== undefined) this.#options.log.keep(exchange, exchange.request.body, data);
  }

  #keepResponse(data: Uint8Array): void {
    const exchange = this.#answering?.exchange;
    if (exchange?.response !== undefined) this.#options.log.keep(exchange, exchange.response.body, data);
  }
}
