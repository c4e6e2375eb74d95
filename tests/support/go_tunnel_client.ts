import { SignJWT } from "jose";
import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { openYamux, type YamuxSession, type YamuxStream } from "../../plugins/ws-agent/yamux/mod.ts";
import { Freezable } from "./test_agent.ts";
import { until } from "./until.ts";

/** What a gateway has to be told so that it takes the tokens of {@link goTunnelToken}. */
export const GO_TUNNEL_SECRET = "a secret of go-tunnel, long enough";

/** A token as the program makes it: it says who issued it, and nothing of who it is for. */
export function goTunnelToken(
  { seconds = 3600, secret = GO_TUNNEL_SECRET, issuer = "mytunnel", claims = {} }: {
    readonly seconds?: number;
    readonly secret?: string;
    readonly issuer?: string;
    readonly claims?: Record<string, unknown>;
  } = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ ...claims, iss: issuer, iat: now, exp: now + seconds })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .sign(new TextEncoder().encode(secret));
}

/** Serves one public connection. The stream is closed when it is done. */
export type ServeHost = (stream: YamuxStream, host: string) => Promise<void>;

export interface GoTunnelOptions {
  readonly routes: Readonly<Record<string, string>>;
  readonly modes?: Readonly<Record<string, string>>;
  /** @default a good one */
  readonly token?: string;
  /** @default sends back all that comes */
  readonly serve?: ServeHost;
  /** @default true */
  readonly answersPings?: boolean;
}

/** One line of JSON from the gateway. */
export type GoTunnelLine = Readonly<Record<string, unknown>>;

/** An agent of go-tunnel, written from the description of its protocol: yamux at once, lines of JSON, streams by host. */
export class GoTunnelClient implements AsyncDisposable {
  readonly yamux: YamuxSession;
  readonly control: YamuxStream;
  readonly transport: Freezable;
  /** All lines that came. */
  readonly received: GoTunnelLine[] = [];
  /** The hosts of the streams that came. */
  readonly hosts: string[] = [];
  readonly #options: Partial<GoTunnelOptions>;
  readonly #reading: Promise<void>;
  readonly #serving = new Set<Promise<void>>();

  constructor(stream: ByteStream, options: Partial<GoTunnelOptions> = {}) {
    this.#options = options;
    this.transport = new Freezable(stream);
    this.yamux = openYamux(this.transport, {
      role: "client",
      pingIntervalMs: 0,
      onStream: (stream) => this.#take(stream),
    });
    this.control = this.yamux.open();
    this.#reading = this.#read();
  }

  /** Connects and registers. Fails when it is refused, by what it was told. */
  static async start(stream: ByteStream, options: GoTunnelOptions): Promise<GoTunnelClient> {
    const client = new GoTunnelClient(stream, options);
    const ack = await client.register();
    if (ack["ok"] === true) return client;
    await client[Symbol.asyncDispose]();
    throw new Error(String(ack["error"]));
  }

  /** Resolves to the answer. */
  async register(): Promise<GoTunnelLine> {
    const { routes = {}, modes, token = await goTunnelToken() } = this.#options;
    await this.sendLine({ type: "register", token, routes, ...(modes && { modes }) });
    return await this.next("ack");
  }

  sendLine(line: unknown): Promise<void> {
    return this.sendText(`${JSON.stringify(line)}\n`);
  }

  sendText(text: string): Promise<void> {
    return this.sendBytes(new TextEncoder().encode(text));
  }

  /** Anything at all. */
  sendBytes(bytes: Uint8Array): Promise<void> {
    return writeAll(this.control, bytes);
  }

  /** The last line of this type, once there is one. */
  next(type: string): Promise<GoTunnelLine> {
    return until(() => this.received.findLast((line) => line["type"] === type), {
      what: () => `${type}; came: ${JSON.stringify(this.received)}`,
    });
  }

  /** Dies as a process that is killed. */
  kill(): void {
    closeQuietly(this.transport);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.transport.thaw();
    this.yamux.close();
    closeQuietly(this.transport);
    await this.yamux.ended;
    await this.#reading;
    await Promise.all(this.#serving);
  }

  /** As the program: it leaves when its control stream ends. */
  async #read(): Promise<void> {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const buffer = new Uint8Array(4096);
    let text = "";
    try {
      for (let length; (length = await this.control.read(buffer)) !== null;) {
        text += decoder.decode(buffer.subarray(0, length), { stream: true });
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) await this.#heard(JSON.parse(line));
      }
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof TypeError) throw error;
    } finally {
      this.yamux.close();
    }
  }

  async #heard(line: GoTunnelLine): Promise<void> {
    this.received.push(line);
    if (line["type"] !== "ping" || this.#options.answersPings === false) return;
    await this.sendLine({ type: "pong", ts: Date.now() });
  }

  #take(stream: YamuxStream): void {
    const serving = this.#serve(stream).catch(() => stream.reset()).finally(() => closeQuietly(stream));
    this.#serving.add(serving);
    serving.then(() => this.#serving.delete(serving));
  }

  async #serve(stream: YamuxStream): Promise<void> {
    const [version, high = 0, low = 0] = await readExactly(stream, 3);
    if (version !== 1) throw new Error(`A stream of version ${version}`);
    const host = new TextDecoder().decode(await readExactly(stream, high * 256 + low));
    this.hosts.push(host);
    await (this.#options.serve ?? sendBack)(stream, host);
  }
}

async function readExactly(stream: ByteStream, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const read = await stream.read(bytes.subarray(at));
    if (read === null) throw new Error("A stream ended inside its header");
    at += read;
  }
  return bytes;
}

async function sendBack(stream: ByteStream): Promise<void> {
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await stream.read(buffer)) !== null;) {
    await writeAll(stream, buffer.subarray(0, length));
  }
  await stream.closeWrite();
}

/** Relays each stream to the target of its host, as the program does: the end of one side ends both. */
export function toTargets(targets: Readonly<Record<string, string>>): ServeHost {
  return async (stream, host) => {
    const [hostname = "", port] = (targets[host] ?? "").split(":");
    using local = await Deno.connect({ hostname, port: Number(port) });
    const up = copy(stream, local).catch(() => {}).finally(() => closeQuietly(local));
    await copy(local, stream).catch(() => {});
    await stream.closeWrite();
    await up;
  };
}

async function copy(from: ByteStream, to: ByteStream): Promise<void> {
  const buffer = new Uint8Array(32 * 1024);
  for (let length; (length = await from.read(buffer)) !== null;) {
    await writeAll(to, buffer.subarray(0, length));
  }
}
