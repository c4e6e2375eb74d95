import { type ByteStream, closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { Agent, type AgentOptions } from "../../../../plugins/ws-agent/agent/agent.ts";
import type { AgentEvent } from "../../../../plugins/ws-agent/agent/events.ts";
import type { AgentService, AgentSettings } from "../../../../plugins/ws-agent/agent/settings.ts";
import { parseTarget } from "../../../../plugins/ws-agent/agent/target.ts";
import { encodeControl } from "../../../../plugins/ws-agent/control/codec.ts";
import type { ControlMessage, RegisterService, Uuid } from "../../../../plugins/ws-agent/control/messages.ts";
import { ControlReader } from "../../../../plugins/ws-agent/control/reader.ts";
import { encodeStreamHeader, type StreamHeader } from "../../../../plugins/ws-agent/stream_header.ts";
import { answerUpgrade } from "../../../../plugins/ws-agent/websocket/answer_upgrade.ts";
import { WebSocketBytes } from "../../../../plugins/ws-agent/websocket/web_socket_bytes.ts";
import { openYamux, type YamuxSession, type YamuxStream } from "../../../../plugins/ws-agent/yamux/mod.ts";
import type { MadeCertificate } from "../../../support/certificates.ts";
import { until } from "../../../support/until.ts";

export interface FakeGatewayOptions {
  readonly tls?: Pick<MadeCertificate, "certificate" | "key">;
  /** The answer to an upgrade instead of 101. */
  refuse?: ((attempt: number) => string | undefined) | undefined;
  /** Why an agent is not let in. */
  authFail?: ((auth: Extract<ControlMessage, { type: "auth" }>) => string | undefined) | undefined;
  /** Why a service is refused; `wait` lets the answer stay out. */
  registerFail?: ((service: RegisterService) => string | undefined) | undefined;
  /** Whether heartbeats are answered, and anything at all is read of a connection that stands. @default true */
  answers?: boolean;
}

/** One connection of an agent, as the gateway sees it. */
export interface FakeSession {
  readonly head: string;
  readonly yamux: YamuxSession;
  readonly auth: Extract<ControlMessage, { type: "auth" }>;
  readonly services: Map<Uuid, RegisterService>;
  readonly received: ControlMessage[];
  readonly ended: boolean;
  send(message: ControlMessage): Promise<void>;
  /** A public connection to a service, by its name. */
  open(service: string, more?: Partial<StreamHeader>): Promise<YamuxStream>;
  /** Says nothing more, takes nothing more, and does not close either. */
  freeze(): void;
}

/** A gateway for one test: real sockets, our own server sides of WebSocket and yamux, and no routing. */
export class FakeGateway implements AsyncDisposable {
  readonly options: FakeGatewayOptions;
  readonly sessions: FakeSession[] = [];
  readonly port: number;
  attempts = 0;
  readonly #listener: Deno.Listener;
  readonly #open = new Set<{ close(): void }>();
  readonly #running = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  #nextId = 1;

  constructor(options: FakeGatewayOptions = {}, port = 0) {
    this.options = options;
    const at = { hostname: "127.0.0.1", port };
    this.#listener = options.tls
      ? Deno.listenTls({ ...at, cert: options.tls.certificate, key: options.tls.key })
      : Deno.listen(at);
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.#accepting = this.#accept();
  }

  /** Sessions that stand. */
  get live(): FakeSession[] {
    return this.sessions.filter(({ ended }) => !ended);
  }

  async session(index: number): Promise<FakeSession> {
    return await until(() => this.sessions[index], { what: `session ${index}` });
  }

  /** A session with so many services registered. */
  async registered(index: number, services = 1): Promise<FakeSession> {
    const session = await this.session(index);
    await until(() => session.services.size === services, {
      what: () => `${services} services: ${JSON.stringify(session.received)}`,
    });
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeQuietly(this.#listener);
    for (const one of this.#open) closeQuietly(one);
    await Promise.all([this.#accepting, ...this.#running]);
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      this.attempts++;
      this.#open.add(connection);
      const running = this.#serve(connection).catch(() => {}).finally(() => {
        closeQuietly(connection);
        this.#open.delete(connection);
        this.#running.delete(running);
      });
      this.#running.add(running);
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(8192);
    let length = 0, head = "";
    while (!head.includes("\r\n\r\n")) {
      const read = await connection.read(buffer.subarray(length));
      if (read === null) return;
      length += read;
      head = new TextDecoder().decode(buffer.subarray(0, length));
    }
    const refusal = this.options.refuse?.(this.attempts);
    if (refusal !== undefined) return await writeAll(connection, new TextEncoder().encode(refusal));
    const [line = "", ...lines] = head.split("\r\n");
    const [method = "", target = "", version = ""] = line.split(" ");
    const fields = new Map(lines.map((field) => [
      field.slice(0, field.indexOf(":")).toLowerCase(),
      field.slice(field.indexOf(":") + 1).trim(),
    ]));
    const answer = answerUpgrade({ method, target, version, header: (name) => fields.get(name) }, [
      "postern.v1",
    ]);
    await writeAll(connection, answer.response);
    if (answer.kind === "accepted") await this.#converse(connection, head);
  }

  async #converse(connection: Deno.Conn, head: string): Promise<void> {
    const gate = new Gate(connection);
    const control = Promise.withResolvers<YamuxStream>();
    const yamux = openYamux(new WebSocketBytes(gate, { role: "server" }), {
      role: "server",
      onStream: control.resolve,
      pingIntervalMs: 0,
    });
    this.#open.add(yamux);
    void yamux.ended.then(() => {
      this.#open.delete(yamux);
      control.reject(new Error("ended"));
    });
    const stream = await control.promise;
    const reader = new ControlReader(stream);
    const send = (message: ControlMessage) => writeAll(stream, encodeControl(message));
    const auth = await reader.read();
    if (auth?.type !== "auth") throw new Error("no auth");
    const reason = this.options.authFail?.(auth);
    if (reason !== undefined) {
      await send({ type: "authFail", reason });
      await stream.closeWrite();
      await yamux.ended;
      return;
    }
    const session = this.#session(head, yamux, auth, send, gate);
    await send({ type: "authOk", tunnelId: this.#uuid() });
    this.sessions.push(session);
    for (let message; (message = await reader.read().catch(() => null)) !== null;) {
      session.received.push(message);
      await this.#answer(session, message);
    }
    await yamux.ended;
  }

  #session(
    head: string,
    yamux: YamuxSession,
    auth: FakeSession["auth"],
    send: FakeSession["send"],
    gate: Gate,
  ): FakeSession {
    let ended = false;
    void yamux.ended.then(() => ended = true);
    const services: FakeSession["services"] = new Map();
    return {
      head,
      yamux,
      auth,
      services,
      received: [],
      get ended() {
        return ended;
      },
      send,
      async open(service, more = {}) {
        const [serviceId = ""] = [...services].find(([, { name }]) => name === service) ?? [];
        const stream = yamux.open();
        await writeAll(
          stream,
          encodeStreamHeader({
            source: { address: "203.0.113.9", port: 4711 },
            destination: { address: "198.51.100.1", port: 443 },
            connectionId: "c-1",
            serviceId,
            ...more,
          }),
        );
        return stream;
      },
      freeze: () => gate.freeze(),
    };
  }

  async #answer(session: FakeSession, message: ControlMessage): Promise<void> {
    if (message.type === "heartbeat") await session.send({ type: "heartbeatAck", time: message.time });
    if (message.type === "disconnect") session.yamux.close();
    if (message.type === "unregister") session.services.delete(message.serviceId);
    if (message.type !== "registerService") return;
    const reason = this.options.registerFail?.(message);
    if (reason !== undefined) return await session.send({ type: "registerFail", reason });
    const serviceId = this.#uuid();
    session.services.set(serviceId, message);
    const { name, hostname = `${name}.example.com` } = message;
    await session.send({ type: "serviceRegistered", serviceId, name, url: `https://${hostname}` });
  }

  #uuid(): Uuid {
    return `00000000-0000-4000-8000-${(this.#nextId++).toString(16).padStart(12, "0")}`;
  }
}

/** Lets bytes through until it is frozen. */
class Gate implements ByteStream {
  readonly #stream: Deno.Conn;
  #frozen = false;
  readonly #closed = Promise.withResolvers<never>();

  constructor(stream: Deno.Conn) {
    this.#stream = stream;
    this.#closed.promise.catch(() => {});
  }

  freeze(): void {
    this.#frozen = true;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#stream.read(into);
    return this.#frozen && length !== null ? await this.#closed.promise : length;
  }

  async write(data: Uint8Array): Promise<number> {
    return this.#frozen ? await this.#closed.promise : await this.#stream.write(data);
  }

  async closeWrite(): Promise<void> {
    if (!this.#frozen) await this.#stream.closeWrite();
  }

  close(): void {
    this.#closed.reject(new Deno.errors.Interrupted("closed"));
    if (!this.#frozen) closeQuietly(this.#stream);
  }
}

/** A service by its name, for a target on loopback. */
export function service(
  name: string,
  target: string | number,
  more: Partial<AgentService> = {},
): AgentService {
  return { name, protocol: "tcp", target: parseTarget(target), proxyProtocol: "off", ...more };
}

/** Settings for a fake gateway, with waits that suit a test. */
export function settingsFor(
  gateway: Pick<FakeGateway, "port">,
  services: readonly AgentService[],
  more: Partial<AgentSettings> = {},
): AgentSettings {
  return {
    gateway: { secure: false, host: "127.0.0.1", port: gateway.port, path: "/tunnel/v1" },
    name: "test",
    credentials: { token: "a-token" },
    tls: { insecure: false },
    connections: 1,
    reconnect: { minMs: 1, maxMs: 20 },
    services,
    ...more,
  };
}

/** An agent that runs, and all that it has told. */
export function startAgent(
  settings: AgentSettings,
  options: AgentOptions = {},
): AsyncDisposable & { readonly agent: Agent; readonly events: AgentEvent[] } {
  const events: AgentEvent[] = [];
  const agent = new Agent(settings, { onEvent: (event) => events.push(event), ...options });
  agent.start();
  return { agent, events, [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose]() };
}
