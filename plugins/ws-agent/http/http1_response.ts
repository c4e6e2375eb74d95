import { HeadWriter } from "../../../core/http1/mod.ts";
import { type ByteStream, writeAll } from "../../../core/plugin/mod.ts";
import { NOT_RETURNED } from "./fields.ts";
import type { ErrorPage } from "./pages.ts";
import type { Patience } from "./patience.ts";
import type { RequestRecord } from "./record.ts";
import type { Upstream } from "./upstream.ts";

/** What is put together into one write. Larger pieces go out as they are, without a copy. */
const MAX_TOGETHER = 16 * 1024;

/** How the client is answered. */
export interface ResponseShape {
  readonly version: "1.0" | "1.1";
  /** Whether the connection goes on behind this. */
  readonly keepAlive: boolean;
}

/** Sends the responses of one HTTP/1.1 connection, one after the other. */
export class Http1Responses {
  readonly #client: ByteStream;
  readonly #record: RequestRecord;
  readonly #patience: Patience;
  readonly #writer = new HeadWriter();

  /**
   * @param record Gets the status and counts the bodies, without framing.
   * @param patience Renewed whenever the service has sent something, and the client taken something.
   */
  constructor(client: ByteStream, record: RequestRecord, patience: Patience) {
    this.#client = client;
    this.#record = record;
    this.#patience = patience;
  }

  /** Sends on a 1xx. */
  informational({ head }: Upstream): Promise<void> {
    this.#writer.clear().statusLine(head.status, head.reason).fieldsOf(head.fields, NOT_RETURNED);
    if (head.status === 101) {
      this.#record.status = 101;
      this.#writer.field("Connection", "Upgrade").field("Upgrade", head.upgrade ?? "");
    }
    this.#writer.end();
    return this.#flush();
  }

  /** Sends one of the gateway's own answers. */
  page({ status, reason, headers, body }: ErrorPage, method: string, keepAlive: boolean): Promise<void> {
    const writer = this.#writer.clear().statusLine(status, reason);
    for (const [name, value] of headers) writer.field(name, value);
    if (!keepAlive) writer.field("Connection", "close");
    writer.end();
    this.#record.status = status;
    if (method !== "HEAD") {
      writer.raw(body);
      this.#record.bytesOut = body.length;
    }
    return this.#flush();
  }

  /**
   * Sends on a response, each read of its body at once.
   *
   * @returns Whether it came to its end; otherwise the client's connection must not look as if it had.
   * @throws What the client's stream throws.
   */
  forward(upstream: Upstream, shape: ResponseShape): Promise<boolean> {
    const { head } = upstream;
    this.#record.status = head.status;
    const writer = this.#writer.clear().statusLine(head.status, head.reason).fieldsOf(
      head.fields,
      NOT_RETURNED,
    );
    const isDelimited = head.body === "none" || head.body === "length";
    // A response to HEAD, and 304, may say how long the body would be (RFC 9110 §8.6); 204 must not.
    if (isDelimited && head.contentLength >= 0 && head.status !== 204) {
      writer.field("Content-Length", head.contentLength);
    }
    const chunked = !isDelimited && shape.version === "1.1";
    if (chunked) writer.field("Transfer-Encoding", "chunked");
    if (!shape.keepAlive) writer.field("Connection", "close");
    writer.end();
    return this.#body(upstream, chunked);
  }

  async #body(upstream: Upstream, chunked: boolean): Promise<boolean> {
    const { body, head } = upstream;
    const writer = this.#writer;
    let needsLast = chunked;
    body.start(head.body, head.contentLength);
    for (;;) {
      const piece = body.next();
      if (piece instanceof Uint8Array) {
        this.#record.bytesOut += piece.length;
        if (writer.length + piece.length > MAX_TOGETHER) {
          const last = needsLast && body.done && body.trailers === undefined;
          if (last) needsLast = false;
          await this.#sendLarge(chunked ? body.asChunk(piece, last) : piece);
        } else if (chunked) writer.chunk(piece);
        else writer.raw(piece);
      } else if (piece === "more") {
        if (writer.length > 0) await this.#flush();
        const came = await filled(upstream);
        if (came === undefined || (!came && body.ended() !== "end")) return false;
        this.#patience.renew();
      } else if (piece === "end") {
        if (needsLast) writer.lastChunk(body.trailers);
        if (writer.length > 0) await this.#flush();
        writer.release();
        return true;
      } else {
        return false;
      }
    }
  }

  async #sendLarge(piece: Uint8Array): Promise<void> {
    if (this.#writer.length > 0) await this.#flush();
    await writeAll(this.#client, piece);
    this.#patience.renew();
  }

  /** Nothing is being sent any more. */
  release(): void {
    this.#writer.release();
  }

  async #flush(): Promise<void> {
    await writeAll(this.#client, this.#writer.bytes());
    this.#writer.clear();
    this.#patience.renew();
  }
}

/** Whether bytes have come, or FIN; `undefined` when the stream has died, which is never the end of a body. */
async function filled(upstream: Upstream): Promise<boolean | undefined> {
  try {
    return await upstream.fill();
  } catch {
    return undefined;
  }
}
