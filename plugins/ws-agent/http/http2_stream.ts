import { Buffer } from "node:buffer";
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { HeadWriter } from "../../../core/http1/mod.ts";
import { Exchange, type RequestBody } from "./exchange.ts";
import {
  badRequest,
  CLIENT_CLOSED,
  CLOSED,
  CUT_SHORT,
  type Failure,
  IDLE,
  SLOW_CLIENT,
  SLOW_SERVICE,
} from "./failure.ts";
import type { ForwardedLines } from "./forwarded.ts";
import {
  describeRequest,
  type Http2Head,
  lastChunkWith,
  type RawFields,
  translateRequest,
} from "./http2_request.ts";
import { responseFields, trailerFields } from "./http2_response.ts";
import type { ServingOptions } from "./options.ts";
import { errorPage } from "./pages.ts";
import { Patience } from "./patience.ts";
import { RequestRecord } from "./record.ts";
import type { Upstream, UpstreamPool } from "./upstream.ts";

/** What all streams of a connection share. */
export interface Http2Context {
  readonly hostname: string;
  readonly pool: UpstreamPool;
  readonly lines: ForwardedLines;
  readonly options: ServingOptions;
}

type Trailers = Readonly<Record<string, string | string[] | undefined>>;

/** One request of an HTTP/2 connection, and its response. */
export class Http2Exchange implements RequestBody {
  readonly #stream: ServerHttp2Stream;
  readonly #context: Http2Context;
  readonly #record: RequestRecord;
  readonly #patience = new Patience(() => this.#timedOut());
  /** For pieces of the request's body. */
  readonly #writer = new HeadWriter();
  readonly #closed = Promise.withResolvers<void>();
  #phase: "body" | "service" | "streaming" = "service";
  #exchange: Exchange | undefined;
  #failure: Failure | undefined;
  #chunked = false;
  #requestEnded: boolean;
  #lastIsOut = false;
  #trailers: Trailers | undefined;
  /** Whether all of the answer is with the runtime, which sends it as the client takes it. */
  #isAnswered = false;
  #wakeReader: () => void = () => {};
  #wakeWriter: () => void = () => {};

  /** @param endsHere Whether the request has no body. */
  constructor(stream: ServerHttp2Stream, endsHere: boolean, context: Http2Context) {
    this.#stream = stream;
    this.#context = context;
    this.#requestEnded = endsHere;
    this.#record = new RequestRecord("2", context.options.events);
    stream.on("error", () => {}); // what goes wrong shows when it closes
    stream.once("aborted", () => this.#onGone());
    stream.once("close", () => this.#onGone());
    stream.on("drain", () => this.#wakeWriter());
    if (endsHere) stream.resume();
    else this.#listenToBody(stream);
  }

  #listenToBody(stream: ServerHttp2Stream): void {
    const wake = () => this.#wakeReader();
    stream.on("readable", wake);
    stream.on("end", wake);
    stream.on("trailers", (trailers: unknown) => this.#trailers = trailers as Trailers);
  }

  /** Resolves when all is over; never rejects. @param raw The request's fields, as they came. */
  async serve(raw: RawFields): Promise<void> {
    const { hostname, lines } = this.#context;
    const { method, pathname, accept } = describeRequest(raw);
    this.#record.begin();
    this.#record.known(method, pathname, "2");
    const head = translateRequest(raw, hostname, lines, this.#requestEnded);
    try {
      const failure = "word" in head ? head : await this.#forward(head);
      if (failure !== undefined) this.#fail(failure, accept, method);
      if (this.#isAnswered) await this.#leaveIt();
    } catch {
      this.#reset(); // the runtime throws when the stream is gone
    }
    this.#record.tell(this.#failure);
    this.#exchange?.end();
    await this.#exchange?.sending;
    if ("head" in head) head.head.release();
    this.#writer.release();
    this.#patience[Symbol.dispose]();
  }

  /** @returns Why there is nothing to send on. */
  async #forward({ method, head, chunked }: Http2Head): Promise<Failure | undefined> {
    this.#chunked = chunked;
    const { timeouts } = this.#context.options;
    this.#await("service", this.#requestEnded ? timeouts.responseMs : timeouts.idleMs);
    const body = this.#requestEnded ? undefined : this;
    const exchange = this.#exchange = new Exchange(this.#context.pool, { method, head, body });
    let outcome = await exchange.begin();
    for (;; outcome = await exchange.next()) {
      if (outcome !== "head") return this.#failure ?? outcome;
      if (exchange.upstream.head.status >= 200) break;
      this.#stream.additionalHeaders(responseFields(exchange.upstream.head));
      this.#patience.renew();
    }
    await this.#respond(exchange.upstream);
    if (!exchange.isSent && this.#requestEnded) await exchange.sending;
    exchange.end();
    return undefined;
  }

  async #respond(upstream: Upstream): Promise<void> {
    const { body, head } = upstream;
    const stream = this.#stream;
    body.start(head.body, head.contentLength);
    const endStream = body.done;
    this.#await("streaming", this.#context.options.timeouts.idleMs);
    this.#record.status = head.status;
    stream.respond(responseFields(head), { endStream, waitForTrailers: head.body === "chunked" });
    if (!endStream) {
      if (!await this.#copyBody(upstream)) return this.#cutShort();
      const trailers = trailerFields(body.trailers);
      stream.once("wantTrailers", () => this.#sendTrailers(trailers));
      stream.end();
    }
    this.#isAnswered = true;
  }

  /** @returns Whether the body came to its end. */
  async #copyBody(upstream: Upstream): Promise<boolean> {
    const { body } = upstream;
    const stream = this.#stream;
    for (;;) {
      const piece = body.next();
      if (piece instanceof Uint8Array) {
        this.#record.bytesOut += piece.length;
        // A copy: the runtime keeps it until the client has a window for it.
        if (!stream.write(Buffer.from(piece)) && !await this.#drained()) return false;
        this.#patience.renew();
      } else if (piece === "more") {
        const came = await upstream.fill().catch(() => undefined);
        if (came === undefined || (!came && body.ended() !== "end")) return false;
      } else {
        return piece === "end";
      }
    }
  }

  /** @returns `false` when the client has gone instead. */
  async #drained(): Promise<boolean> {
    while (this.#stream.writableNeedDrain) {
      if (this.#isGone) return false;
      await new Promise<void>((resolve) => this.#wakeWriter = resolve);
    }
    return !this.#isGone;
  }

  #sendTrailers(trailers: OutgoingHttpHeaders): void {
    try {
      this.#stream.sendTrailers(trailers);
    } catch {
      this.#reset();
    }
  }

  #cutShort(): void {
    this.#failure ??= CUT_SHORT;
    this.#reset();
  }

  /** Answers by a page of the gateway's own. */
  #fail(failure: Failure, accept: string | undefined, method: string): void {
    this.#failure ??= failure;
    const { status } = failure;
    if (status === 0) return this.#reset();
    const page = errorPage(status, { accept, hostname: this.#context.hostname });
    const fields = Object.fromEntries(page.headers);
    const endStream = method === "HEAD";
    this.#await("streaming", this.#context.options.timeouts.idleMs);
    this.#stream.respond({ ...fields, ":status": status }, { endStream });
    this.#record.status = status;
    if (!endStream) {
      this.#record.bytesOut = page.body.length;
      this.#stream.end(page.body);
    }
    this.#isAnswered = true;
  }

  /** Waits until the client has taken the answer. What it still sends of the request, nobody wants (RFC 9113 §8.1). */
  async #leaveIt(): Promise<void> {
    const stop = () => this.#stream.close(constants.NGHTTP2_NO_ERROR);
    if (!this.#requestEnded) {
      if (this.#stream.writableFinished) stop();
      else this.#stream.once("finish", stop);
    }
    await this.#closed.promise;
  }

  /** By an error: `close` with a code would let what was sent look like all there is, as the runtime ends the body then. */
  #reset(): void {
    if (!this.#stream.destroyed) this.#stream.destroy(new Error("The request has failed"));
  }

  get #isGone(): boolean {
    return this.#stream.destroyed || this.#stream.aborted;
  }

  #onGone(): void {
    const wasCancelled = this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR;
    if (!this.#isAnswered || wasCancelled) this.#failure ??= CLIENT_CLOSED;
    if (!this.#isAnswered) this.#exchange?.abort();
    this.#wakeReader();
    this.#wakeWriter();
    this.#closed.resolve();
  }

  /** Ends it all: the connection is over. */
  close(): void {
    this.#failure ??= CLOSED;
    this.#reset();
    this.#exchange?.abort();
  }

  #await(phase: "body" | "service" | "streaming", ms: number): void {
    this.#phase = phase;
    this.#patience.allow(ms);
  }

  #timedOut(): void {
    if (this.#phase === "body") this.#failure ??= SLOW_CLIENT;
    else this.#failure ??= this.#phase === "service" ? SLOW_SERVICE : IDLE;
    this.#exchange?.abort();
    if (this.#phase === "streaming") this.#reset();
  }

  async next(): Promise<Uint8Array | "end" | "broken"> {
    for (;;) {
      const piece: Uint8Array | null = this.#stream.read();
      if (this.#isGone) return "broken"; // the runtime lets a body that was cancelled look as if it had ended
      if (piece !== null) return this.#framed(piece);
      if (this.#stream.readableEnded) return this.#endOfBody();
      if (this.#phase === "service") this.#await("body", this.#context.options.timeouts.bodyMs);
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
  }

  #framed(piece: Uint8Array): Uint8Array {
    this.#record.bytesIn += piece.length;
    if (this.#phase === "body") this.#await("service", this.#context.options.timeouts.idleMs);
    else this.#patience.renew();
    return this.#chunked ? this.#writer.clear().chunk(piece).bytes() : piece;
  }

  #endOfBody(): Uint8Array | "end" | "broken" {
    if (!this.#requestEnded) {
      this.#requestEnded = true;
      if (this.#phase !== "streaming") this.#await("service", this.#context.options.timeouts.responseMs);
    }
    if (!this.#chunked || this.#lastIsOut) return "end";
    this.#lastIsOut = true;
    const last = lastChunkWith(this.#trailers, this.#writer);
    if (last === undefined) this.#failure ??= badRequest({ status: 400, word: "trailers" });
    return last ?? "broken";
  }
}
