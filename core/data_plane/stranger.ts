import type { Socket } from "node:net";
import { connect, type SecureVersion, type TLSSocket } from "node:tls";
import { closeQuietly, writeAll } from "../byte_stream.ts";
import type { RogueCertificate } from "../tls/rogue.ts";
import { SSL_REQUEST } from "./preface/postgres.ts";
import { StreamDuplex } from "./streams/duplex.ts";

/** The only place from which the self-test's clients come. */
export const LOCALHOST = "127.0.0.1";
/** PostgreSQL's "S". */
const YES = 0x53;

/** A client that must not get in. */
export interface Stranger {
  readonly name: string;
  /** As which user of TLS it begins. */
  readonly protocol: "tls" | "postgres";
  readonly version: SecureVersion;
  readonly certificate: RogueCertificate | undefined;
}

/** Such a client, from its connection to the end of it. Its owner disposes it. */
export class Visit implements Disposable {
  /** The client's own. */
  readonly port: number;
  readonly #conn: Deno.TcpConn;
  #socket: TLSSocket | undefined;
  /** Whether the gateway has turned the client away, by an alert or by hanging up. */
  over = false;

  private constructor(conn: Deno.TcpConn, stranger: Stranger) {
    this.#conn = conn;
    this.port = conn.localAddr.port;
    this.#run(stranger).catch(() => {}).finally(() => this.#end()); // being refused is what it is here for
  }

  static async begin(port: number, stranger: Stranger): Promise<Visit> {
    return new Visit(await Deno.connect({ hostname: LOCALHOST, port }), stranger);
  }

  /** It has seen enough. */
  leave(): void {
    this.#socket?.end();
  }

  [Symbol.dispose](): void {
    this.#end();
  }

  /** The gateway waits for this, so that its alert is not lost. */
  #end(): void {
    if (this.over) return;
    this.over = true;
    this.#socket?.destroy();
    closeQuietly(this.#conn);
  }

  async #run({ name, protocol, version, certificate }: Stranger): Promise<void> {
    await writeAll(this.#conn, proxyHeader(this.#conn));
    if (protocol === "postgres") await this.#askForTls();
    const transport = new StreamDuplex(this.#conn);
    const socket = this.#socket = connect({
      socket: transport as unknown as Socket,
      servername: name,
      rejectUnauthorized: false, // it is the gateway that is tested, not the one that issued its certificate
      minVersion: version,
      maxVersion: version,
      ...certificate,
    });
    await new Promise<void>((resolve) => {
      for (const end of ["end", "error", "close"]) {
        socket.on(end, () => resolve());
        transport.on(end, () => resolve());
      }
      socket.resume();
    });
  }

  async #askForTls(): Promise<void> {
    await writeAll(this.#conn, SSL_REQUEST);
    const answer = new Uint8Array(1);
    if (await this.#conn.read(answer) !== 1 || answer[0] !== YES) {
      throw new TypeError("No TLS for PostgreSQL");
    }
  }
}

/** From an address of its own, so that a plugin that counts the failures of each does not mind these. */
function proxyHeader({ localAddr, remoteAddr }: Deno.TcpConn): Uint8Array<ArrayBuffer> {
  const [a, b, c] = crypto.getRandomValues(new Uint8Array(3));
  const line = `PROXY TCP4 127.${a}.${b}.${c} ${LOCALHOST} ${localAddr.port} ${remoteAddr.port}\r\n`;
  return new TextEncoder().encode(line);
}
