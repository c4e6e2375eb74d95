import { Buffer } from "node:buffer";
import { type ByteStream, closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import type { ConnectionInfo } from "../../../../core/plugin/contract.ts";
import {
  Draining,
  type HttpBackend,
  type HttpTimeouts,
  type RequestEvent,
  serveHttp,
  type ServeHttpOptions,
} from "../../../../plugins/ws-agent/http/mod.ts";
import { until } from "../../../support/until.ts";
import { connection } from "../../connection.ts";

export const HOSTNAME = "demo.localhost";

export interface ProxyOptions {
  /** The port of the service, or how a stream to it is opened. */
  readonly to: number | HttpBackend["open"];
  /** @default HOSTNAME */
  readonly hostname?: string;
  readonly timeouts?: Partial<HttpTimeouts>;
  readonly info?: Partial<ConnectionInfo>;
  readonly secure?: boolean;
  /** Between the socket and the proxy: TLS, as a rule. */
  readonly accept?: (stream: Deno.TcpConn) => Promise<{ stream: ByteStream; info: Partial<ConnectionInfo> }>;
}

/** The proxy on a port of its own, in front of a service that it dials. */
export class TestProxy implements AsyncDisposable {
  readonly events: RequestEvent[] = [];
  readonly port: number;
  readonly address: { readonly hostname: string; readonly port: number };
  /** How often the service was dialed. */
  opened = 0;
  readonly #options: ProxyOptions;
  readonly #listener: Deno.TcpListener;
  readonly #ending = new AbortController();
  readonly #draining = new Draining();
  readonly #open = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.address = { hostname: "127.0.0.1", port: this.port };
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    for await (const socket of this.#listener) {
      socket.setNoDelay();
      const served = this.#serve(socket).catch(() => closeQuietly(socket)).then(() => {
        this.#open.delete(served);
      });
      this.#open.add(served);
    }
  }

  async #serve(socket: Deno.TcpConn): Promise<void> {
    const { accept, info, secure } = this.#options;
    const accepted = await accept?.(socket) ?? { stream: socket, info: {} };
    const options: ServeHttpOptions = {
      signal: this.#ending.signal,
      draining: this.#draining,
      events: (event) => this.events.push(event),
      secure,
      timeouts: this.#options.timeouts,
    };
    await serveHttp(accepted.stream, connection({ ...info, ...accepted.info }), this.#backend(), options);
  }

  #backend(): HttpBackend {
    const { to, hostname = HOSTNAME } = this.#options;
    return {
      hostname,
      open: (signal) => {
        this.opened++;
        return typeof to === "number" ? dial(to) : to(signal);
      },
    };
  }

  drain(): void {
    this.#draining.begin();
  }

  /** Public connections that are open. */
  get connections(): number {
    return this.#open.size;
  }

  connect(): Promise<Deno.TcpConn> {
    return Deno.connect(this.address);
  }

  /** The first `count` events, once there are so many. */
  async told(count = 1): Promise<RequestEvent[]> {
    await until(() => this.events.length >= count, {
      what: () => `${count} events; there are ${JSON.stringify(this.events)}`,
    });
    return this.events;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.#ending.abort();
    await this.#accepting;
    await Promise.all(this.#open);
  }
}

export async function dial(port: number): Promise<Deno.TcpConn> {
  const stream = await Deno.connect({ hostname: "127.0.0.1", port });
  stream.setNoDelay();
  return stream;
}

/** A service that does byte by byte what a test says: called with each connection and its number, from 0. */
export class RawService implements AsyncDisposable {
  readonly port: number;
  accepted = 0;
  readonly #listener: Deno.TcpListener;
  readonly #streams = new Set<Deno.TcpConn>();
  readonly #served: Promise<void>[] = [];
  readonly #accepting: Promise<void>;

  constructor(serve: (stream: RawPeer, number: number) => Promise<void>) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept(serve);
  }

  async #accept(serve: (stream: RawPeer, number: number) => Promise<void>): Promise<void> {
    for await (const stream of this.#listener) {
      stream.setNoDelay();
      this.#streams.add(stream);
      this.#served.push(serve(new RawPeer(stream), this.accepted++).catch(() => closeQuietly(stream)));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const stream of this.#streams) closeQuietly(stream);
    await this.#accepting;
    await Promise.all(this.#served);
  }
}

const encoder = new TextEncoder();

/** One end of a connection, spoken in text. Each byte is one character. */
export class RawPeer implements Disposable {
  readonly stream: Deno.TcpConn;
  #text = "";
  #ended = false;

  constructor(stream: Deno.TcpConn) {
    this.stream = stream;
  }

  static async to(proxy: { connect(): Promise<Deno.TcpConn> }): Promise<RawPeer> {
    const stream = await proxy.connect();
    stream.setNoDelay();
    return new RawPeer(stream);
  }

  send(data: string | Uint8Array): Promise<void> {
    return writeAll(this.stream, typeof data === "string" ? encoder.encode(data) : data);
  }

  /** Up to and with `mark`, or all there is when the other side ends before. */
  async readTo(mark: string): Promise<string> {
    while (!this.#text.includes(mark) && await this.#more());
    const end = this.#text.indexOf(mark);
    return this.#take(end < 0 ? this.#text.length : end + mark.length);
  }

  /** A head, its empty line included. */
  readHead(): Promise<string> {
    return this.readTo("\r\n\r\n");
  }

  async readBytes(count: number): Promise<string> {
    while (this.#text.length < count && await this.#more());
    return this.#take(Math.min(count, this.#text.length));
  }

  /** A response with a Content-Length, or without a body. */
  async readResponse(): Promise<string> {
    const head = await this.readHead();
    const length = /^content-length: (\d+)\r$/im.exec(head)?.[1];
    return head + await this.readBytes(Number(length ?? 0));
  }

  /** All that still comes. A reset is an end, too. */
  async readToEnd(): Promise<string> {
    while (await this.#more());
    return this.#take(this.#text.length);
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    const buffer = new Uint8Array(65536);
    const length = await this.stream.read(buffer).catch((error) => {
      if (error instanceof Deno.errors.ConnectionReset) return null;
      throw error;
    });
    if (length === null) this.#ended = true;
    else this.#text += Buffer.from(buffer.buffer, 0, length).toString("latin1");
    return length !== null;
  }

  #take(length: number): string {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return taken;
  }

  close(): void {
    closeQuietly(this.stream);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
