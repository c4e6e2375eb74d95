import {
  BodyReader,
  HeadWriter,
  type HttpFault,
  LAST_CHUNK,
  type RequestHead,
} from "../../../core/http1/mod.ts";
import type { RequestBody } from "./exchange.ts";
import { NOT_FORWARDED_BEHIND } from "./fields.ts";
import type { ReadAhead } from "./read_ahead.ts";

/** As much of a body goes out with the head: that makes one packet of most forms and API calls. */
const MAX_IN_HEAD = 16 * 1024;

/** Who hears how a request's body comes along. */
export interface BodyListener {
  /** So many bytes of it have come, without framing. */
  counted(bytes: number): void;
  /** The client is waited for. */
  awaited(): void;
  /** Something came, and the service is to take it. */
  arrived(): void;
  /** The body has come to its end. */
  completed(): void;
  /** There will be no end. @param fault The rule that the client broke; absent: it has left. */
  broken(fault?: HttpFault): void;
}

/** The bodies of the requests of one HTTP/1.1 connection, one after the other. */
export class Http1Body implements RequestBody {
  readonly #client: ReadAhead;
  readonly #body: BodyReader;
  readonly #listener: BodyListener;
  #chunked = false;
  #lastIsOut = false;
  #ended = true;

  constructor(client: ReadAhead, listener: BodyListener) {
    this.#client = client;
    this.#body = new BodyReader(client.bytes);
    this.#listener = listener;
  }

  /** Whether all of the present one has come. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Begins with the body of `head`, which has been consumed, and puts what lies ready of it behind the head for the service.
   *
   * @returns Whether that is all of it.
   */
  start(head: RequestHead, to: HeadWriter): boolean {
    this.#ended = head.body === "none";
    if (this.#ended) return true;
    this.#chunked = head.body === "chunked";
    this.#lastIsOut = false;
    this.#body.start(head.body, head.contentLength);
    return this.#client.bytes.available <= MAX_IN_HEAD && this.#putInto(to);
  }

  #putInto(to: HeadWriter): boolean {
    for (;;) {
      const piece = this.#body.next();
      if (piece === "end") {
        if (this.#chunked) to.lastChunk(this.#body.trailers, NOT_FORWARDED_BEHIND);
        this.#complete();
        return true;
      }
      if (!(piece instanceof Uint8Array)) return false; // faults come again from `next()`
      this.#listener.counted(piece.length);
      if (this.#chunked) to.chunk(piece);
      else to.raw(piece);
    }
  }

  #complete(): void {
    this.#ended = true;
    this.#listener.completed();
  }

  async next(): Promise<Uint8Array | "end" | "broken"> {
    for (;;) {
      const piece = this.#body.next();
      if (piece instanceof Uint8Array) return this.#framed(piece);
      if (piece === "end") return this.#end();
      if (piece !== "more") return this.#broken(piece);
      this.#listener.awaited();
      try {
        if (!await this.#client.fill()) return this.#broken();
      } catch {
        return this.#broken();
      }
    }
  }

  #framed(piece: Uint8Array<ArrayBuffer>): Uint8Array {
    this.#listener.counted(piece.length);
    this.#listener.arrived();
    if (!this.#chunked) return piece;
    this.#lastIsOut = this.#body.done && this.#body.trailers === undefined;
    return this.#body.asChunk(piece, this.#lastIsOut);
  }

  #end(): Uint8Array | "end" {
    if (!this.#ended) this.#complete();
    if (!this.#chunked || this.#lastIsOut) return "end";
    this.#lastIsOut = true;
    const { trailers } = this.#body;
    if (trailers === undefined) return LAST_CHUNK;
    return new HeadWriter().clear().lastChunk(trailers, NOT_FORWARDED_BEHIND).bytes();
  }

  #broken(fault?: HttpFault): "broken" {
    this.#listener.broken(fault);
    return "broken";
  }
}
