import { type ByteStream, closeQuietly, formatHostPort, GatewayError } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import type { Connect, Uuid } from "../control/messages.ts";
import { HttpRefusal } from "../http/refusal.ts";
import { printable } from "../auth/printable.ts";
import type { AgentLink, Opening } from "../session/agent_link.ts";
import type { SessionEnd } from "../yamux/yamux.ts";
import type { Awaited, DataSockets } from "./data_sockets.ts";
import { DataStream, type DataStreamHost } from "./data_stream.ts";

export interface PlainLinkTools {
  readonly clock: Clock;
  readonly sockets: DataSockets;
  /** The control WebSocket, to be closed at the end. */
  readonly control: { close(): void };
  /** Tells the agent of a connection. */
  connect(message: Connect): void;
  /** @param time Milliseconds since 1970. */
  heartbeat(time: number): void;
}

/** Connections that one agent is to come for: those of others have room beside it. */
const MAX_AWAITED = 512;

/** The control WebSocket of a plain agent, and one for each connection that it has come for. */
export class PlainLink implements AgentLink, DataStreamHost {
  readonly clock: Clock;
  readonly ended: Promise<SessionEnd>;
  readonly #tools: PlainLinkTools;
  readonly #end = Promise.withResolvers<SessionEnd>();
  readonly #awaited = new Map<Uuid, Awaited>();
  readonly #streams = new Set<DataStream>();
  /** The next answer to a heartbeat, while somebody waits for it. */
  #pong: PromiseWithResolvers<void> | undefined;
  #isOver = false;
  #isHeard = false;
  bytesRead = 0;
  bytesWritten = 0;
  lastHeardAt: number;
  readonly roundTripMs = undefined;
  readonly peerGoesAway = false;
  readonly streamsOfPeer = 1;

  constructor(tools: PlainLinkTools) {
    this.#tools = tools;
    this.clock = tools.clock;
    this.lastHeardAt = tools.clock.monotonic();
    this.ended = this.#end.promise;
  }

  /** Whether what the agent says is read now. Else, that it is there is taken for granted, by who has asked already, too. */
  set isHeard(isHeard: boolean) {
    this.#isHeard = isHeard;
    if (!isHeard) this.heartbeatAcked();
  }

  get streams(): number {
    return 1 + this.#awaited.size + this.#streams.size;
  }

  /** Such an agent opens none but for what it is told of. */
  set maxStreams(_streams: number) {}

  /**
   * Tells the agent, and waits for its data WebSocket.
   *
   * @throws {GatewayError} See {@link AgentLink.open}. {HttpRefusal} 502: the agent does not take it; 503: too many wait.
   */
  async open({ service, connection, signal }: Opening): Promise<ByteStream> {
    if (this.#isOver) throw gone();
    if (signal.aborted) throw new GatewayError("dial-failed", "The client left");
    if (this.#awaited.size >= MAX_AWAITED) {
      throw new HttpRefusal(503, "Its agent has too many connections to come for");
    }
    const awaited = this.#tools.sockets.expect();
    const { id, socket, giveUp } = awaited;
    const left = () => giveUp(new HttpRefusal(502, "The client left"));
    this.#awaited.set(id, awaited);
    signal.addEventListener("abort", left);
    const { source: { address, port } } = connection;
    const clientAddress = formatHostPort({ host: address, port });
    try {
      this.#tools.connect({ type: "connect", serviceId: service.id, connectionId: id, clientAddress });
      const stream = new DataStream(await socket, this);
      this.#streams.add(stream);
      if (!this.#isOver) return stream;
      stream.close();
      throw gone();
    } finally {
      signal.removeEventListener("abort", left);
      this.#awaited.delete(id);
    }
  }

  /** Something has come from the agent. */
  heard(): void {
    this.lastHeardAt = this.clock.monotonic();
  }

  /** The agent does not take a connection. */
  refused(id: Uuid, reason: string): void {
    const refusal = new HttpRefusal(502, `Its agent does not take it: ${printable(reason, 200)}`);
    this.#awaited.get(id)?.giveUp(refusal);
  }

  /** The agent has answered a heartbeat. */
  heartbeatAcked(): void {
    this.#pong?.resolve();
    this.#pong = undefined;
  }

  ping(): Promise<void> {
    if (this.#isOver) return Promise.reject(gone());
    if (!this.#isHeard) return Promise.resolve();
    this.#pong ??= Promise.withResolvers();
    this.#tools.heartbeat(this.clock.wall());
    return this.#pong.promise;
  }

  /** There is no word for it. */
  goAway(): void {}

  close(end: SessionEnd = { kind: "closed" }): void {
    if (this.#isOver) return;
    this.#isOver = true;
    closeQuietly(this.#tools.control);
    for (const { giveUp } of this.#awaited.values()) giveUp(gone());
    for (const stream of this.#streams) stream.close();
    this.#pong?.reject(gone());
    this.#end.resolve(end);
  }

  received(bytes: number): void {
    this.bytesRead += bytes;
    this.heard();
  }

  sent(bytes: number): void {
    this.bytesWritten += bytes;
  }

  over(stream: DataStream): void {
    this.#streams.delete(stream);
  }
}

function gone(): GatewayError {
  return new GatewayError("dial-failed", "The agent is gone");
}
