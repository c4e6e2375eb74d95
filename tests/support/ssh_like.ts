import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { readToEnd } from "./echo.ts";

const BANNER = "SSH-2.0-test\r\n";

/** A client that says it speaks SSH: the shortest first bytes by which a gateway can tell a protocol. */
export class SshLikeClient implements Disposable {
  readonly conn: Deno.TcpConn;

  private constructor(conn: Deno.TcpConn) {
    this.conn = conn;
  }

  /** Connects, and says hello. */
  static async connect(port: number): Promise<SshLikeClient> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await writeAll(conn, new TextEncoder().encode(BANNER));
    return new SshLikeClient(conn);
  }

  /** Resolves once an echo server behind the gateway has sent the hello back. */
  async greeted(): Promise<this> {
    const got = await this.#read(BANNER.length);
    if (got !== BANNER) throw new Error(`Expected the hello back, got ${JSON.stringify(got)}`);
    return this;
  }

  /** Sends a text, and waits for the same to come back. */
  async echo(text: string): Promise<void> {
    const [got] = await Promise.all([
      this.#read(new TextEncoder().encode(text).length),
      writeAll(this.conn, new TextEncoder().encode(text)),
    ]);
    if (got !== text) throw new Error(`Expected an echo of ${text.length} characters, got ${got.length}`);
  }

  /** Sends FIN, and reads what still comes. */
  async finish(): Promise<string> {
    await this.conn.closeWrite();
    return new TextDecoder().decode(await readToEnd(this.conn));
  }

  [Symbol.dispose](): void {
    closeQuietly(this.conn);
  }

  async #read(length: number): Promise<string> {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const n = await this.conn.read(bytes.subarray(filled));
      if (n === null) break;
      filled += n;
    }
    return new TextDecoder().decode(bytes.subarray(0, filled));
  }
}

/** Says hello, and FIN at once: what the gateway, or who is behind it, answers. A reset counts as silence. */
export async function sayHello(port: number): Promise<string> {
  try {
    using client = await SshLikeClient.connect(port);
    return await client.finish();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) return "";
    throw error;
  }
}

/** What an echo server makes of {@link sayHello}. */
export const ECHOED: string = BANNER;
