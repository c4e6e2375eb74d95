import {
  BodyReader,
  ByteReader,
  HeadWriter,
  type HttpFault,
  RequestHead,
} from "../../../../core/http1/mod.ts";
import { type ByteStream, writeAll } from "../../../../core/plugin/mod.ts";
import { nextTurn } from "../../turn.ts";
import type { ConnectionHandler, ServedConnection } from "./handler.ts";
import { toRequest } from "./http_request.ts";
import { RequestBody } from "./http_request_body.ts";
import { type Answered, OutgoingResponse } from "./http_response.ts";

const CONTINUE = new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n");

/**
 * Answers a request of the public. `request.url` has the public host name, and `request.signal` is aborted when the client is gone before
 * it has all of the answer.
 *
 * What it throws is a 500 without any detail to the client, and goes to the agent's events.
 */
export type FetchHandler = (
  request: Request,
  connection: ServedConnection,
) => Response | Promise<Response>;

/** Serves HTTP/1.1, as the gateway speaks it to services, with a function. */
export function httpHandler(fetch: FetchHandler): ConnectionHandler {
  return {
    async serve(stream, connection, failed) {
      const server = new HttpServer(stream, connection, fetch, failed);
      try {
        while (await server.next());
        await stream.closeWrite();
      } finally {
        server.release();
      }
    },
  };
}

/** One connection's requests, one after the other (RFC 9112 §9.3). */
class HttpServer {
  readonly #stream: ByteStream;
  readonly #connection: ServedConnection;
  readonly #fetch: FetchHandler;
  readonly #failed: (error: unknown) => void;
  readonly #reader: ByteReader;
  readonly #head = new RequestHead();
  readonly #body: BodyReader;
  readonly #writer = new HeadWriter();
  /** Reads that are still on their way when the connection ends. */
  #reading = false;

  constructor(
    stream: ByteStream,
    connection: ServedConnection,
    fetch: FetchHandler,
    failed: (error: unknown) => void,
  ) {
    this.#stream = stream;
    this.#connection = connection;
    this.#fetch = fetch;
    this.#failed = failed;
    this.#reader = new ByteReader(stream);
    this.#body = new BodyReader(this.#reader);
  }

  /** Gives the memory back, unless somebody reads into it still. */
  release(): void {
    this.#writer.release();
    if (this.#reading) return;
    this.#reader.release();
    this.#head.fields.release();
  }

  /**
   * Serves one request.
   *
   * @returns Whether another may follow.
   * @throws When the connection is to be reset.
   */
  async next(): Promise<boolean> {
    const found = await this.#readHead();
    if (found === "end") return false;
    if (found !== "done") return await this.#refuse(found.status);
    const { method, version, keepAlive, expectsContinue, body: kind, contentLength, length } = this.#head;
    const { signal } = this.#connection;
    const to: Answered = { method, version, keepAlive, signal };
    const interim = new Interim(this.#stream, expectsContinue);
    const body = new RequestBody(this.#body, () => interim.send());
    let request: Request;
    try {
      request = toRequest(this.#head, kind === "none" ? undefined : body.stream, signal);
    } catch {
      return await this.#refuse(method === "TRACK" ? 501 : 400);
    }
    this.#reader.consume(length);
    this.#body.start(kind, contentLength);
    this.#reading = kind !== "none";
    const response = await this.#answer(request, to, interim);
    await response.send(this.#stream, () => interim.close());
    if (!response.keepsAlive) return false;
    if (!await body.finish()) return false;
    this.#reading = false;
    return true;
  }

  async #readHead(): Promise<"done" | "end" | HttpFault> {
    for (;;) {
      const found = this.#head.parse(this.#reader.bytes);
      if (found !== "more") return found;
      if (!await this.#reader.fill()) return "end";
    }
  }

  async #answer(request: Request, to: Answered, interim: Interim): Promise<OutgoingResponse> {
    // Who still waits for 100 may send the body behind this answer, or never.
    const prepare = (response: unknown) =>
      new OutgoingResponse(response, { ...to, keepAlive: to.keepAlive && !interim.isOpen }, this.#writer);
    try {
      return prepare(await this.#fetch(request, this.#connection));
    } catch (error) {
      if (to.signal.aborted) throw error;
      this.#failed(error);
      return prepare(plain(500, "Internal Server Error"));
    }
  }

  async #refuse(status: number): Promise<false> {
    const to = { method: "GET", version: "1.1", keepAlive: false, signal: this.#connection.signal } as const;
    const response = new OutgoingResponse(plain(status, "The request was refused"), to, this.#writer);
    await response.send(this.#stream, () => Promise.resolve());
    return false;
  }
}

/** `100 Continue`, for a client that waits for it before it sends the body (RFC 9110 §10.1.1). */
class Interim {
  readonly #stream: ByteStream;
  #sending: Promise<void> | undefined;
  /** Whether it is still waited for. */
  isOpen: boolean;

  constructor(stream: ByteStream, isOpen: boolean) {
    this.#stream = stream;
    this.isOpen = isOpen;
  }

  async send(): Promise<void> {
    if (this.isOpen && this.#sending === undefined) {
      this.isOpen = false;
      this.#sending = writeAll(this.#stream, CONTINUE);
    }
    await this.#sending;
  }

  /**
   * Called when the answer is about to begin. One that is made from the request has begun to ask for it by then, or does so within a
   * turn. Nothing of this is written any more when it resolves, and nothing will be. Never rejects.
   */
  async close(): Promise<void> {
    if (this.isOpen) await nextTurn();
    this.isOpen = false;
    this.#sending ??= Promise.resolve();
    await this.#sending.catch(() => {});
  }
}

function plain(status: number, text: string): Response {
  return new Response(`${status} ${text}\n`, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" },
  });
}
