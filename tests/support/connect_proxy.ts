import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { relay } from "../../core/data_plane/relay.ts";

export interface ConnectProxyOptions {
  /** `user:password` that it wants. Absent: it asks nobody. */
  readonly credentials?: string;
  /** Where its names lead. Others are refused with 502. */
  readonly names?: Readonly<Record<string, number>>;
  /** Says this, whatever was asked, and closes. `silent`: nothing at all. */
  readonly answer?: string | "silent";
}

/** A corporate HTTP proxy, over real sockets: CONNECT and nothing else. */
export class ConnectProxy implements AsyncDisposable {
  /** The heads that it was sent. */
  readonly heads: string[] = [];
  readonly port: number;
  readonly #options: ConnectProxyOptions;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.Conn>();
  readonly #running = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;

  constructor(options: ConnectProxyOptions = {}) {
    this.#options = options;
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeQuietly(this.#listener);
    for (const connection of this.#open) closeQuietly(connection);
    await Promise.all([this.#accepting, ...this.#running]);
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      this.#open.add(connection);
      const running = this.#serve(connection).catch(() => {}).finally(() => {
        closeQuietly(connection);
        this.#open.delete(connection);
        this.#running.delete(running);
      });
      this.#running.add(running);
    }
  }

  async #serve(client: Deno.Conn): Promise<void> {
    const head = await readHead(client);
    this.heads.push(head);
    const { answer, credentials, names = {} } = this.#options;
    if (answer === "silent") return void await client.read(new Uint8Array(1));
    if (answer !== undefined) return await say(client, answer);
    const [, shown = ""] = /^Proxy-Authorization: Basic (\S+)\r$/m.exec(head) ?? [];
    if (credentials !== undefined && atob(shown) !== credentials) {
      return await say(
        client,
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
      );
    }
    const [, name = ""] = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    const port = names[name];
    if (port === undefined) return await say(client, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    const upstream = await Deno.connect({ hostname: "127.0.0.1", port });
    this.#open.add(upstream);
    try {
      await say(client, `HTTP/1.0 200 Connection established\r\nProxy-Agent: test\r\n\r\n`);
      await relay({ client, upstream, sent: { bytes: 0 }, received: { bytes: 0 } });
    } finally {
      closeQuietly(upstream);
      this.#open.delete(upstream);
    }
  }
}

async function readHead(stream: ByteStream): Promise<string> {
  const byte = new Uint8Array(1);
  let head = "";
  while (!head.endsWith("\r\n\r\n") && await stream.read(byte) !== null) head += String.fromCharCode(...byte);
  return head;
}

async function say(stream: ByteStream, text: string): Promise<void> {
  await writeAll(stream, new TextEncoder().encode(text));
}
