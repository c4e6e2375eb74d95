import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { ByteStream } from "../../byte_stream.ts";
import type { ConnectionInfo } from "../../plugin/contract.ts";
import type { SignalScope } from "../../plugin/host.ts";
import { StreamDuplex } from "./duplex.ts";

const HEADERS_TIMEOUT_MS = 10_000;
/** How often the runtime looks whose time is over, at the least; with a short time, {@link CHECKS_PER_TIMEOUT} in it. */
const CHECK_INTERVAL_MS = 2500;
const CHECKS_PER_TIMEOUT = 4;
const MAX_HEADER_BYTES = 16 * 1024;

/** Answers a request, and closes its connection behind that: see {@link answerAndClose}. */
export type StreamHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface StreamHttpServerOptions {
  /**
   * From the first byte to the end of the request, in milliseconds; over 0. A slow client is cut off at most a quarter of
   * that later, and at most 2.5 s.
   *
   * @default 10_000
   */
  readonly headersTimeoutMs?: number;
}

/** An HTTP/1.1 server that listens nowhere: it serves the byte streams that it is given, one request each. */
export class StreamHttpServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #open = new Set<StreamDuplex>();

  constructor(
    handler: StreamHandler,
    { headersTimeoutMs = HEADERS_TIMEOUT_MS }: StreamHttpServerOptions = {},
  ) {
    this.#server = createServer({
      connectionsCheckingInterval: Math.min(
        CHECK_INTERVAL_MS,
        Math.ceil(headersTimeoutMs / CHECKS_PER_TIMEOUT),
      ),
      headersTimeout: headersTimeoutMs,
      requestTimeout: headersTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
    }, (request, response) => {
      if (countHosts(request) > 1) answerAndClose(response, 400, "Bad Request: more than one Host\n");
      else handler(request, response);
    });
    // The runtime closes a connection after one response unless its server listens, and checks timeouts from then on.
    Object.defineProperty(this.#server, "listening", { value: true });
    this.#server.emit("listening");
  }

  /** Takes over the stream. Resolves when it is closed, by the client, by a timeout or by `scope`. */
  serve(stream: ByteStream, connection: ConnectionInfo, { signal }: SignalScope): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const duplex = new StreamDuplex(stream, { remote: connection.source });
    const leave = () => void duplex.destroy();
    this.#open.add(duplex);
    duplex.on("error", () => {}); // a client that goes away is no fault
    duplex.once("close", () => {
      signal.removeEventListener("abort", leave);
      this.#open.delete(duplex);
      resolve();
    });
    if (signal.aborted) leave();
    else {
      signal.addEventListener("abort", leave);
      this.#server.emit("connection", duplex as unknown as Socket);
    }
    return promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const duplex of this.#open) duplex.destroy();
    this.#server.close();
    return Promise.resolve();
  }
}

/** RFC 9112 §3.2: two of them are an error. The runtime takes the first, and whoever comes behind may take the last. */
function countHosts({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === "host").length;
}

/**
 * Closes the connection once this answer has gone out. Saying `connection: close` alone would not: the runtime then
 * waits for a request's body, for as long as it takes.
 */
function closeAfter(response: ServerResponse): void {
  const { socket } = response;
  response.setHeader("connection", "close");
  response.once("finish", () => socket?.end(() => socket.destroy()));
}

/** An answer of plain text, after which the connection is closed. */
export function answerAndClose(response: ServerResponse, status: number, text: string): void {
  closeAfter(response);
  response.writeHead(status, {
    "cache-control": "no-store",
    "content-length": new TextEncoder().encode(text).length,
    "content-type": "text/plain; charset=utf-8",
  });
  response.end(text);
}
