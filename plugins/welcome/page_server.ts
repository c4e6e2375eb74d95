import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { StreamDuplex } from "../../core/data_plane/streams/duplex.ts";
import { type ByteStream, canonicalName, type ConnectionInfo } from "../../core/plugin/mod.ts";
import { CONTENT_SECURITY_POLICY, htmlPage, textPage } from "./page.ts";

/** A browser asks for the page and its icon at once; there is nothing to wait for after that. */
const KEEP_ALIVE_MS = 5000;
/** From the first byte, or from the response before, to the end of the headers. */
const HEADERS_TIMEOUT_MS = 10_000;
const CHECK_INTERVAL_MS = 2500;
const MAX_HEADER_BYTES = 16 * 1024;

const COMMON_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "referrer-policy": "no-referrer",
  "vary": "accept",
  "x-content-type-options": "nosniff",
};

/** Serves the page over byte streams. One HTTP server for all of them; it listens nowhere. */
export class PageServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #names = new WeakMap<object, string | undefined>();
  readonly #open = new Set<StreamDuplex>();

  constructor() {
    this.#server = createServer({
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    }, (request, response) => answer(request, response, this.#names.get(request.socket)));
    // The runtime closes a connection after one response unless its server listens, and checks timeouts from then on.
    Object.defineProperty(this.#server, "listening", { value: true });
    this.#server.emit("listening");
  }

  /** Takes over the stream. Resolves when it is closed. */
  serve(stream: ByteStream, connection: ConnectionInfo, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const duplex = new StreamDuplex(stream, { remote: connection.source });
    const leave = () => void duplex.destroy();
    this.#names.set(duplex, connection.tls?.serverName);
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

/** @param serverName What the client's TLS asked for; absent in plain HTTP. */
function answer(request: IncomingMessage, response: ServerResponse, serverName: string | undefined): void {
  const host = hostOf(request);
  if (serverName !== undefined && host !== serverName) {
    return refuse(response, 421, "Misdirected Request: the Host is not the name that TLS asked for\n");
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return refuse(response, 405, "Method Not Allowed: this page can only be read\n");
  }
  if (request.url !== "/") return send(response, 404, "text/plain", "Not Found: there is only / here\n");
  const name = host ?? "localhost";
  if (request.headers.accept?.includes("text/html")) send(response, 200, "text/html", htmlPage(name));
  else send(response, 200, "text/plain", textPage(name));
}

/** The canonical name in the Host header, without its port; `undefined` when it is no name. */
function hostOf({ headers: { host = "" } }: IncomingMessage): string | undefined {
  return canonicalName(host.replace(/:\d{0,5}$/, ""));
}

/** An answer after which the client's body, if any, is not waited for. */
function refuse(response: ServerResponse, status: number, text: string): void {
  response.setHeader("connection", "close");
  send(response, status, "text/plain", text);
}

/** Node's server leaves out the body of an answer to HEAD. */
function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    ...COMMON_HEADERS,
    "content-type": `${type}; charset=utf-8`,
    "content-length": new TextEncoder().encode(body).length,
  });
  response.end(body);
}
