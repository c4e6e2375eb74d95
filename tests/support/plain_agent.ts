import assert from "node:assert/strict";
import type * as ws from "../plugins/ws-agent/websocket/ws.d.ts";
import { granted } from "./permissions.ts";
import { until } from "./until.ts";

/** The library reads the environment while it is imported. */
export const canPlain = granted("env", "read", "net");

type Socket = ws.WebSocket & { pause(): void; resume(): void; readonly readyState: number };
/** `readyState` of a WebSocket that is over. */
const CLOSED = 3;

/** A message as the description has it: its type, and what it holds. */
export interface PlainMessage {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** The types of messages. */
export const TYPE = {
  auth: 0x01,
  authOk: 0x02,
  authFail: 0x03,
  register: 0x10,
  registerOk: 0x11,
  registerFail: 0x12,
  connect: 0x20,
  connectAck: 0x21,
  connectFail: 0x22,
  heartbeat: 0x30,
  heartbeatAck: 0x31,
  unregister: 0x40,
  disconnect: 0x41,
} as const;

/** A public connection that the gateway tells of. */
export interface PlainConnect {
  /** 32 hexadecimal digits. */
  readonly service: string;
  /** As a UUID is written. */
  readonly id: string;
  readonly client: string;
}

/** What a Register asks for beside the name. */
export interface PlainService {
  /** @default 0, assigned */
  readonly remotePort?: number;
  /** @default false: tcp */
  readonly udp?: boolean;
  readonly localPort?: number;
}

/** The id of a service, or why there is none. */
export type PlainAnswer = { readonly service: string } | { readonly reason: string };

/** What is done with the data WebSocket of a connection. */
export type ServeSocket = (socket: Socket) => void;

export interface PlainAgentOptions {
  /** Where the gateway listens, as `ws://127.0.0.1:1` or `wss://…`. */
  readonly origin: string;
  /** The endpoint's name. */
  readonly host: string;
  readonly token: string;
  /** @default sends back what comes */
  readonly serve?: ServeSocket;
  /** What is done about a connection. @default acknowledged, and come for */
  readonly onConnect?: (agent: PlainAgent, connect: PlainConnect) => void;
  /** @default true */
  readonly answersHeartbeats?: boolean;
  /** More for the WebSocket library: a CA, a name for SNI. */
  readonly socket?: Readonly<Record<string, unknown>>;
}

/**
 * An agent that speaks the control messages alone, one in each WebSocket message, and comes for connections with a WebSocket each.
 * Written from the description, with a library that nothing of the gateway knows.
 */
export class PlainAgent implements AsyncDisposable {
  readonly received: PlainMessage[] = [];
  readonly connects: PlainConnect[] = [];
  /** The last close of the control WebSocket: code, and reason. */
  closed: readonly [number, string] | undefined;
  /** Data WebSockets that were opened, in order. */
  readonly sockets: Socket[] = [];
  readonly #options: PlainAgentOptions;
  readonly #library: typeof ws;
  readonly #control: Socket;
  #taken = 0;

  private constructor(options: PlainAgentOptions, library: typeof ws) {
    this.#options = options;
    this.#library = library;
    this.#control = this.#dial("");
    this.#control.on("message", (data, isBinary) => this.#heard(new Uint8Array(data), isBinary));
    this.#control.on("close", (code, reason) => this.closed = [code, new TextDecoder().decode(reason)]);
  }

  /** Opens the control WebSocket. Fails with the status that it is refused with. */
  static async connect(options: PlainAgentOptions): Promise<PlainAgent> {
    const agent = new PlainAgent(options, await import("ws") as unknown as typeof ws);
    await opened(agent.#control);
    return agent;
  }

  /** As {@link connect}, and shows its token. Fails with the reason when it is not let in. */
  static async start(options: PlainAgentOptions): Promise<PlainAgent> {
    const agent = await PlainAgent.connect(options);
    const answer = await agent.authenticate();
    if (answer.type === TYPE.authOk) return agent;
    await agent[Symbol.asyncDispose]();
    throw new Error(reasonOf(answer));
  }

  get isClosed(): boolean {
    return this.closed !== undefined;
  }

  async authenticate(token = this.#options.token): Promise<PlainMessage> {
    const bytes = new TextEncoder().encode(token);
    const clientId = crypto.getRandomValues(new Uint8Array(16)); // as the program does: another one each time
    this.send(TYPE.auth, Uint8Array.of(bytes.length >> 8, bytes.length & 255, ...bytes, ...clientId));
    return await this.next(TYPE.authOk, TYPE.authFail);
  }

  async register(name: string, options?: PlainService): Promise<PlainAnswer> {
    this.askFor(name, options);
    return await this.registered();
  }

  /** Sends Register. */
  askFor(name: string, { remotePort = 0, udp = false, localPort = 22 }: PlainService = {}): void {
    const bytes = new TextEncoder().encode(name);
    const ports = [localPort, remotePort].flatMap((port) => [port >> 8, port & 255]);
    this.send(TYPE.register, Uint8Array.of(bytes.length, ...bytes, udp ? 1 : 0, ...ports));
  }

  /** The next answer to a Register. */
  async registered(): Promise<PlainAnswer> {
    const answer = await this.next(TYPE.registerOk, TYPE.registerFail);
    return answer.type === TYPE.registerOk
      ? { service: answer.payload.toHex() }
      : { reason: reasonOf(answer) };
  }

  send(type: number, payload: Uint8Array): void {
    this.#control.send(encodePlain(type, payload));
  }

  /** One WebSocket message of anything, or, without `fin`, the start of one. */
  sendRaw(bytes: Uint8Array | string, fin = true): void {
    this.#control.send(bytes, { binary: typeof bytes !== "string", fin });
  }

  acknowledge({ id }: PlainConnect): void {
    this.send(TYPE.connectAck, idBytes(id));
  }

  refuse({ id }: PlainConnect, reason: string): void {
    const bytes = new TextEncoder().encode(reason);
    this.send(
      TYPE.connectFail,
      Uint8Array.of(...idBytes(id), bytes.length >> 8, bytes.length & 255, ...bytes),
    );
  }

  /** Comes for a connection. Rejects with the status that this is refused with. @param origin By another way than its own. */
  async fetch(id: string, origin = this.#options.origin): Promise<Socket> {
    const socket = this.#dial(`/data/${id}`, origin);
    this.sockets.push(socket);
    const serve = this.#options.serve ?? sendBack;
    serve(socket);
    await opened(socket);
    return socket;
  }

  /** The next message of these types that has not been asked for before; others are passed over. */
  async next(...types: readonly number[]): Promise<PlainMessage> {
    return await until(() => {
      while (this.#taken < this.received.length) {
        const message = this.received[this.#taken++];
        if (message && types.includes(message.type)) return message;
      }
      return undefined;
    }, {
      what: () =>
        `${types}; came: ${this.received.map(({ type }) => type)}; closed: ${JSON.stringify(this.closed)}`,
    });
  }

  /** Reads nothing any more, and says nothing: as one whose network is gone. */
  freeze(): void {
    this.#control.pause();
  }

  thaw(): void {
    this.#control.resume();
  }

  /** Dies as a process that is killed. */
  kill(): void {
    this.#control.terminate();
    for (const socket of this.sockets) socket.terminate();
  }

  leave(): void {
    this.#control.close(1000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.thaw();
    this.kill();
    await until(() => this.isClosed && this.sockets.every(({ readyState }) => readyState === CLOSED), {
      what: "the agent's WebSockets to be closed",
    });
  }

  #dial(path: string, origin = this.#options.origin): Socket {
    const { host, socket } = this.#options;
    const url = `${origin}/tunnel/v1${path}`;
    return new this.#library.WebSocket(url, [], { headers: { Host: host }, ...socket }) as Socket;
  }

  #heard(data: Uint8Array, isBinary: boolean): void {
    assert.ok(isBinary);
    const message = decodePlain(data);
    this.received.push(message);
    if (message.type === TYPE.heartbeat && this.#options.answersHeartbeats !== false) {
      this.send(TYPE.heartbeatAck, message.payload);
    }
    if (message.type !== TYPE.connect) return;
    const connect = connectOf(message.payload);
    this.connects.push(connect);
    (this.#options.onConnect ?? come)(this, connect);
  }
}

function come(agent: PlainAgent, connect: PlainConnect): void {
  const isTold = ({ type, payload }: PlainMessage) =>
    type === TYPE.registerOk && payload.toHex() === connect.service;
  if (!agent.received.some(isTold)) return agent.refuse(connect, "unknown service");
  agent.acknowledge(connect);
  agent.fetch(connect.id).catch(() => {}); // the client has left
}

function sendBack(socket: Socket): void {
  socket.on("message", (data) => socket.send(data));
}

/** Resolves when the WebSocket is open. Rejects with what it is refused with; later errors are its end. */
function opened(socket: Socket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on("open", resolve);
  socket.on("error", reject);
  return promise;
}

/** Type (1), length of the payload (4), payload. */
export function encodePlain(type: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + payload.length);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, payload.length);
  bytes.set(payload, 5);
  return bytes;
}

/** Exactly one message: programs look at no more than one. */
function decodePlain(bytes: Uint8Array): PlainMessage {
  const [type = 0] = bytes;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  assert.equal(bytes.length, 5 + length, `a WebSocket message that is not one message: ${bytes.toHex()}`);
  return { type, payload: bytes.slice(5) };
}

function connectOf(payload: Uint8Array): PlainConnect {
  const hex = payload.subarray(16, 32).toHex();
  const length = new DataView(payload.buffer).getUint16(32);
  assert.equal(payload.length, 34 + length);
  return {
    service: payload.subarray(0, 16).toHex(),
    id: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-"),
    client: new TextDecoder().decode(payload.subarray(34)),
  };
}

function idBytes(id: string): Uint8Array {
  return Uint8Array.fromHex(id.replaceAll("-", ""));
}

/** The text of a message that is a reason and nothing else. */
export function reasonOf({ payload }: PlainMessage): string {
  const length = new DataView(payload.buffer, payload.byteOffset).getUint16(0);
  assert.equal(payload.length, 2 + length);
  return new TextDecoder().decode(payload.subarray(2));
}
