import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { encodeControl } from "../../plugins/ws-agent/control/codec.ts";
import type { ControlMessage, RegisterService, Uuid } from "../../plugins/ws-agent/control/messages.ts";
import { ControlReader } from "../../plugins/ws-agent/control/reader.ts";
import { readStreamHeader, type StreamHeader } from "../../plugins/ws-agent/stream_header.ts";
import { connectWebSocket } from "../../plugins/ws-agent/websocket/connect.ts";
import { openYamux, type YamuxSession, type YamuxStream } from "../../plugins/ws-agent/yamux/mod.ts";
import { until } from "./until.ts";

type MessageOf<Type extends ControlMessage["type"]> = Extract<ControlMessage, { type: Type }>;

/** Serves one public connection. The stream is closed when it is done. */
export type ServeStream = (stream: YamuxStream, header: StreamHeader, rest: Uint8Array) => Promise<void>;

export interface TestAgentOptions {
  readonly token?: string;
  /** Whole digits of the client id: agents with different ones are different holders. @default 1 */
  readonly client?: number;
  /** Absent: the header is left out. */
  readonly epoch?: number | undefined;
  readonly slot?: number;
  readonly host?: string;
  readonly path?: string;
  readonly protocol?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** @default {@link echo} */
  readonly serve?: ServeStream;
  /** @default true */
  readonly answersHeartbeats?: boolean;
  /** Whether it leaves when it is told to. @default true */
  readonly leaves?: boolean;
  /** Whether it stops to read its control stream once it is in. @default false */
  readonly stalls?: boolean;
}

/** An agent for tests, which does as it is told: also what no agent should. Speaks the protocol over any transport. */
export class TestAgent implements AsyncDisposable {
  readonly yamux: YamuxSession;
  readonly control: YamuxStream;
  readonly transport: Freezable;
  /** All that came on the control stream, heartbeats too. */
  readonly received: ControlMessage[] = [];
  /** Headers of the streams that came. */
  readonly streams: StreamHeader[] = [];
  answersHeartbeats: boolean;
  leaves: boolean;
  readonly #stalls: boolean;
  readonly #token: string;
  readonly #clientId: Uuid;
  readonly #serve: ServeStream;
  readonly #reading: Promise<void>;
  readonly #serving = new Set<Promise<void>>();
  #writing: Promise<void> = Promise.resolve();
  #taken = 0;

  private constructor(transport: Freezable, websocket: ByteStream, options: TestAgentOptions) {
    this.transport = transport;
    this.answersHeartbeats = options.answersHeartbeats ?? true;
    this.leaves = options.leaves ?? true;
    this.#stalls = options.stalls ?? false;
    this.#token = options.token ?? "";
    this.#clientId = clientIdOf(options.client ?? 1);
    this.#serve = options.serve ?? echo;
    this.yamux = openYamux(websocket, {
      role: "client",
      pingIntervalMs: 0,
      onStream: (stream) => this.#take(stream),
    });
    this.control = this.yamux.open();
    this.#reading = this.#read();
  }

  /** Opens WebSocket and yamux over a connection to the endpoint, and owns it. */
  static async connect(stream: ByteStream, options: TestAgentOptions = {}): Promise<TestAgent> {
    const { epoch, slot = 0, host = "tunnel.example.com", path = "/tunnel/v1" } = options;
    const transport = new Freezable(stream);
    const websocket = await connectWebSocket(transport, {
      host,
      path,
      protocol: options.protocol ?? "postern.v1",
      headers: {
        ...(epoch !== undefined && { "Postern-Agent": `epoch=${epoch}; connection=${slot}` }),
        ...options.headers,
      },
    });
    return new TestAgent(transport, websocket, options);
  }

  /** As {@link connect}, and shows its token. Fails when it is not let in. */
  static async start(stream: ByteStream, options: TestAgentOptions = {}): Promise<TestAgent> {
    const agent = await TestAgent.connect(stream, options);
    const answer = await agent.authenticate();
    if (answer.type === "authOk") return agent;
    await agent[Symbol.asyncDispose]();
    throw new Error(`Not let in: ${JSON.stringify(answer)}`);
  }

  /** Shows its token, and resolves to the answer. */
  async authenticate(token: string = this.#token): Promise<ControlMessage> {
    await this.send({ type: "auth", token, clientId: this.#clientId });
    return await this.next("authOk", "authFail", "disconnect");
  }

  async register(service: RegisterService): Promise<MessageOf<"serviceRegistered" | "registerFail">> {
    await this.send({ type: "registerService", ...service });
    return await this.next("serviceRegistered", "registerFail");
  }

  /** As {@link register}; fails when it is refused. */
  async serve(service: RegisterService): Promise<MessageOf<"serviceRegistered">> {
    const answer = await this.register(service);
    if (answer.type === "serviceRegistered") return answer;
    throw new Error(`"${service.name}" was refused: ${answer.reason}`);
  }

  send(message: ControlMessage): Promise<void> {
    return this.sendBytes(encodeControl(message));
  }

  /** Sends anything at all on the control stream, behind what is on its way. */
  sendBytes(bytes: Uint8Array): Promise<void> {
    const sent = this.#writing.then(() => writeAll(this.control, bytes));
    this.#writing = sent.catch(() => {});
    return sent;
  }

  /** The next message of these types that has not been asked for before; others are passed over. */
  async next<Type extends ControlMessage["type"]>(...types: readonly Type[]): Promise<MessageOf<Type>> {
    return await until(() => {
      while (this.#taken < this.received.length) {
        const message = this.received[this.#taken++];
        if (message && types.includes(message.type as Type)) return message as MessageOf<Type>;
      }
      return undefined;
    }, { what: () => `${types.join(" or ")}; came: ${JSON.stringify(this.received)}` });
  }

  /** Whether the gateway has ended the session, or the transport has died. */
  get ended(): Promise<unknown> {
    return this.yamux.ended;
  }

  /** Dies as a process that is killed: the connection ends, and nothing is said. */
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

  async #read(): Promise<void> {
    const reader = new ControlReader(this.control);
    try {
      for (let message; (message = await reader.read()) !== null;) {
        this.received.push(message);
        if (this.leaves && (message.type === "disconnect" || message.type === "authFail")) {
          return this.yamux.close();
        }
        if (this.#stalls && message.type === "authOk") return;
        if (message.type === "heartbeat" && this.answersHeartbeats) {
          await this.send({ type: "heartbeatAck", time: message.time });
        }
      }
    } catch {
      // The session has ended.
    }
  }

  #take(stream: YamuxStream): void {
    const serving = this.#serveOne(stream).catch(() => stream.reset()).finally(() => closeQuietly(stream));
    this.#serving.add(serving);
    serving.then(() => this.#serving.delete(serving));
  }

  async #serveOne(stream: YamuxStream): Promise<void> {
    const { header, rest } = await readStreamHeader(stream);
    this.streams.push(header);
    await this.#serve(stream, header, rest.slice());
  }
}

/** Sends back all that comes, to the end. */
export async function echo(stream: ByteStream, _header: StreamHeader, rest: Uint8Array): Promise<void> {
  await writeAll(stream, rest);
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await stream.read(buffer)) !== null;) {
    await writeAll(stream, buffer.subarray(0, length));
  }
  await stream.closeWrite();
}

/** Answers every HTTP request without a body by `text`. */
export function respond(text: string): ServeStream {
  return async (stream, _header, rest) => {
    let seen = new TextDecoder().decode(rest);
    const buffer = new Uint8Array(16 * 1024);
    for (;;) {
      for (let end; (end = seen.indexOf("\r\n\r\n")) >= 0; seen = seen.slice(end + 4)) {
        await writeAll(
          stream,
          new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`),
        );
      }
      const length = await stream.read(buffer);
      if (length === null) return;
      seen += new TextDecoder().decode(buffer.subarray(0, length));
    }
  };
}

/** A stream that can become what a half-open connection is: nothing comes, what is sent is lost, and nobody says so. */
export class Freezable implements ByteStream {
  readonly #stream: ByteStream;
  #frozen: PromiseWithResolvers<void> | undefined;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  freeze(): void {
    this.#frozen ??= Promise.withResolvers();
  }

  thaw(): void {
    this.#frozen?.resolve();
    this.#frozen = undefined;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#stream.read(into);
    await this.#frozen?.promise;
    return length;
  }

  write(data: Uint8Array): Promise<number> {
    return this.#frozen ? Promise.resolve(data.length) : this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#frozen ? Promise.resolve() : this.#stream.closeWrite();
  }

  close(): void {
    this.thaw();
    this.#stream.close();
  }
}

export function clientIdOf(client: number): Uuid {
  return `00000000-0000-0000-0000-${String(client).padStart(12, "0")}`;
}
