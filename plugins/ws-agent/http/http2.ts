import * as http2 from "node:http2";
import type { Duplex } from "node:stream";
import { StreamDuplex } from "../../../core/data_plane/streams/duplex.ts";
import { MAX_HEAD } from "../../../core/http1/mod.ts";
import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import type { HttpBackend } from "./backend.ts";
import { ForwardedLines } from "./forwarded.ts";
import { guarded } from "./http2_guard.ts";
import { type Http2Context, Http2Exchange } from "./http2_stream.ts";
import type { ServingOptions } from "./options.ts";
import { Patience } from "./patience.ts";
import { UpstreamPool } from "./upstream.ts";

/** What RFC 9113 §6.5.2 recommends at the least, and what browsers get along with. */
const MAX_STREAMS = 100;
/** Streams that were cancelled count until their ends at the service are cleared away. */
const MAX_UNFINISHED = 2 * MAX_STREAMS;
/** Streams to the service that wait for a connection's next requests. */
const MAX_IDLE_UPSTREAMS = 8;
/** What the client may send ahead on one stream. 256 KiB: a long fat link's upload is not held up by its round trips. */
const WINDOW_BYTES = 256 * 1024;

/** The same on all of its streams together: else 64 KiB a round trip is all that they ever upload. */
const CONNECTION_WINDOW_BYTES = 512 * 1024;

const SETTINGS: http2.Settings = {
  maxConcurrentStreams: MAX_STREAMS,
  maxHeaderListSize: MAX_HEAD,
  initialWindowSize: WINDOW_BYTES,
  enablePush: false,
  enableConnectProtocol: false,
};

/** The runtime has it, and its types do not. */
const { performServerHandshake } = http2 as unknown as {
  performServerHandshake(socket: Duplex, options: http2.ServerOptions): http2.ServerHttp2Session;
};

/** Serves one public HTTP/2 connection: each of its streams by HTTP/1.1 over a stream to the service. */
export class Http2Connection {
  readonly #duplex: StreamDuplex;
  readonly #session: http2.ServerHttp2Session;
  readonly #context: Http2Context;
  readonly #patience = new Patience(() => this.#timedOut());
  readonly #exchanges = new Set<Http2Exchange>();
  readonly #over = Promise.withResolvers<void>();
  #isClosing = false;

  constructor(stream: ByteStream, connection: ConnectionInfo, backend: HttpBackend, options: ServingOptions) {
    this.#duplex = new StreamDuplex(guarded(stream, () => this.#calm()), { remote: connection.source });
    this.#duplex.on("error", () => {});
    this.#duplex.once("end", () => this.close()); // a client of HTTP/2 that sends FIN has left
    this.#duplex.once("close", () => this.close());
    this.#context = {
      hostname: backend.hostname,
      pool: new UpstreamPool(backend, MAX_IDLE_UPSTREAMS),
      lines: new ForwardedLines(connection, options.secure),
      options,
    };
    this.#session = performServerHandshake(this.#duplex, { settings: SETTINGS });
    this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    this.#session.on("error", () => {});
    this.#session.on("stream", this.#onStream);
    this.#session.once("close", () => this.close());
    this.#patience.allow(options.timeouts.keepAliveMs);
    if (options.draining?.begun) this.drain();
  }

  /** Resolves when the connection is closed and nothing of it is left; never rejects. */
  async serve(): Promise<void> {
    await this.#over.promise;
    this.#patience[Symbol.dispose]();
  }

  readonly #onStream = (
    stream: http2.ServerHttp2Stream,
    _headers: http2.IncomingHttpHeaders,
    flags: number,
    raw: readonly string[],
  ): void => {
    if (this.#isClosing || this.#exchanges.size >= MAX_UNFINISHED) {
      stream.on("error", () => {});
      return void stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    }
    this.#patience.allow(0);
    const endsHere = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const exchange = new Http2Exchange(stream, endsHere, this.#context);
    this.#exchanges.add(exchange);
    exchange.serve(raw).then(() => this.#ended(exchange));
  };

  #ended(exchange: Http2Exchange): void {
    this.#exchanges.delete(exchange);
    if (this.#exchanges.size > 0) return;
    if (this.#duplex.destroyed) this.#over.resolve();
    else this.#patience.allow(this.#context.options.timeouts.keepAliveMs);
  }

  /** No request for too long; or, behind our go-away, a client that does not go. */
  #timedOut(): void {
    if (this.#isClosing) return this.close();
    this.drain();
    this.#patience.allow(this.#context.options.timeouts.lingerMs);
  }

  /** RFC 9113 §10.5: the client makes work and asks for nothing. */
  #calm(): void {
    if (!this.#session.destroyed) this.#session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.close();
  }

  /** Says go-away, and closes once the streams that are open have ended. */
  drain(): void {
    this.#isClosing = true;
    if (!this.#session.closed) this.#session.close();
  }

  /** Ends everything at once; harmless twice. */
  close(): void {
    this.#isClosing = true;
    if (!this.#session.destroyed) this.#session.destroy();
    this.#duplex.destroy();
    for (const exchange of this.#exchanges) exchange.close();
    this.#context.pool.close();
    if (this.#exchanges.size === 0) this.#over.resolve();
  }
}
