import type { TestAuthority } from "./certificates.ts";

const ALPN = ["echo"];
const NAME = "quic.test";
const LEAVING = { closeCode: 0, reason: "" };

/** A QUIC server on loopback (RFC 9000) that sends back what comes on a stream. */
export class QuicEcho implements AsyncDisposable {
  readonly #endpoint = new Deno.QuicEndpoint({ hostname: "127.0.0.1", port: 0 });
  readonly #listener: Deno.QuicListener;
  readonly #open = new Set<Deno.QuicConn>();
  readonly #running: Promise<void>;

  private constructor(identity: { readonly cert: string; readonly key: string }) {
    this.#listener = this.#endpoint.listen({ ...identity, alpnProtocols: ALPN });
    this.#running = this.#run();
  }

  static async start(authority: TestAuthority): Promise<QuicEcho> {
    const { certificate: cert, key } = await authority.issue({ names: [NAME] });
    return new QuicEcho({ cert, key });
  }

  get port(): number {
    return this.#endpoint.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const conn of this.#open) conn.close(LEAVING);
    this.#listener.stop();
    this.#endpoint.close(LEAVING);
    await this.#running;
  }

  async #run(): Promise<void> {
    const serving: Promise<void>[] = [];
    try {
      for (;;) {
        const conn = await (await this.#listener.incoming()).accept();
        this.#open.add(conn);
        serving.push(echoAll(conn));
      }
    } catch {
      // It was closed.
    }
    await Promise.all(serving);
  }
}

async function echoAll(conn: Deno.QuicConn): Promise<void> {
  const echoing: Promise<void>[] = [];
  try {
    for await (const stream of conn.incomingBidirectionalStreams) {
      echoing.push(stream.readable.pipeTo(stream.writable).catch(() => {}));
    }
  } catch {
    // The client has left.
  }
  await Promise.all(echoing);
}

/** Sends `data` on a stream of a connection of its own to `port` of loopback, and resolves to what comes back. */
export async function askQuic(
  port: number,
  authority: TestAuthority,
  data: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const endpoint = new Deno.QuicEndpoint({ hostname: "127.0.0.1", port: 0 });
  try {
    const conn = await Deno.connectQuic({
      endpoint,
      hostname: "127.0.0.1",
      port,
      serverName: NAME,
      caCerts: [authority.certificate],
      alpnProtocols: ALPN,
    });
    const stream = await conn.createBidirectionalStream();
    const sending = new Blob([data]).stream().pipeTo(stream.writable);
    const answer = await new Response(stream.readable).bytes();
    await sending;
    conn.close(LEAVING);
    await conn.closed;
    return answer;
  } finally {
    endpoint.close(LEAVING);
  }
}
