import { createHash } from "node:crypto";
import type { ByteStream } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import { decodeControl, encodeControl } from "../control/codec.ts";
import { ControlFault } from "../control/fault.ts";
import type { Connect, ControlMessage, Uuid } from "../control/messages.ts";
import { formatReason, type ReasonWord } from "../control/reason.ts";
import type { AgentSpeech, Introduction } from "../session/agent_speech.ts";
import { answerAll, answerRegister, type ConversationTools } from "../session/conversation.ts";
import { Outgoing } from "../session/outgoing.ts";
import type { TunnelSession } from "../session/session.ts";
import { WebSocketFault } from "../websocket/closing.ts";
import type { DataSockets } from "./data_sockets.ts";
import { PlainLink } from "./link.ts";
import { MessageSocket } from "./message_socket.ts";

/** What these agents are told of a token that has a tunnel already. */
const IN_USE = "Token already in use";

/** Messages that an agent answers, and what it answers them with: there are as many of these as public connections need. */
const QUESTIONS: ReadonlySet<string> = new Set(["connect", "heartbeat"]);
const ANSWERS: ReadonlySet<string> = new Set(["connectAck", "connectFail", "heartbeatAck"]);

/**
 * Plain agents, see PROTOCOL.md: a control message in each message of a WebSocket, and a WebSocket more for each connection.
 */
export class PlainSpeech implements AgentSpeech {
  readonly kind = "plain";
  readonly firstStays = true;
  readonly renewsToken = false;
  readonly link: PlainLink;
  readonly #messages: MessageSocket;
  readonly #outgoing: Outgoing;
  /** Connections of a service come only behind the answer that tells the agent its id. */
  readonly #told = new Set<Uuid>();
  #untold: Connect[] = [];
  /** How many answers the agent owes us. */
  #owed = 0;
  #isConversing = false;
  #draining: Promise<void> | undefined;

  /**
   * Owns the transport.
   *
   * @param transport The control WebSocket's, behind the handshake.
   * @param tools.replay What was read of it already.
   */
  constructor(
    transport: ByteStream,
    tools: { readonly replay: Uint8Array; readonly clock: Clock; readonly sockets: DataSockets },
  ) {
    const { replay, clock, sockets } = tools;
    this.#messages = new MessageSocket(transport, { role: "server", replay });
    this.#outgoing = new Outgoing(this.#messages.bytes, false);
    this.link = new PlainLink({
      clock,
      sockets,
      control: this.#messages.bytes,
      connect: (message) => this.#connect(message),
      heartbeat: (time) => this.heartbeat(time),
    });
  }

  get onStalled(): (() => void) | undefined {
    return this.#outgoing.onStalled;
  }

  set onStalled(stalled: (() => void) | undefined) {
    this.#outgoing.onStalled = stalled;
  }

  /**
   * The next message, or `null` when the agent has closed the WebSocket.
   *
   * @throws {ControlFault} A message that breaks the format. {WebSocketFault} A broken rule of WebSockets. Else what the transport throws.
   */
  async receive(): Promise<ControlMessage | null> {
    const bytes = await this.#receiveBytes();
    if (bytes === null) return null;
    this.link.heard();
    return decodeControl(bytes);
  }

  isOwed({ type }: ControlMessage): boolean {
    if (!ANSWERS.has(type) || this.#owed === 0) return false;
    this.#owed--;
    return true;
  }

  /** The client id says nothing: programs make a new one for each connection. One token is one agent. */
  async introduction(): Promise<Introduction | "no_auth" | null> {
    const message = await this.receive();
    if (message === null) return null;
    if (message.type !== "auth") return "no_auth";
    const digest = createHash("sha256").update(`plain agent ${message.token}`).digest("hex");
    return { token: message.token, clientId: `plain-${digest.slice(0, 32)}` };
  }

  deny(word: ReasonWord, message: string): void {
    this.#send({ type: "authFail", reason: word === "held" ? IN_USE : formatReason(word, message) });
  }

  welcome(session: TunnelSession): Promise<void> {
    this.#send({ type: "authOk", tunnelId: session.id });
    this.link.isHeard = true;
    return Promise.resolve();
  }

  async converse(session: TunnelSession, servicesPerTunnel: number, tools: ConversationTools): Promise<void> {
    this.#isConversing = true;
    await answerAll(
      session,
      this,
      servicesPerTunnel,
      tools,
      (message) => this.#answer(session, message, tools),
    );
    await this.#drain();
  }

  heartbeat(time: number): void {
    this.#send({ type: "heartbeat", time });
  }

  farewell(reason: string): void {
    this.#send({ type: "disconnect", reason });
  }

  async finish(): Promise<void> {
    await this.#outgoing.finish();
    if (!this.#isConversing) await this.#drain();
  }

  streamHeader(): undefined {}

  /** @returns What is wrong with the message. */
  async #answer(
    session: TunnelSession,
    message: ControlMessage,
    { registrar, tunnels, clock }: ConversationTools,
  ): Promise<string | undefined> {
    switch (message.type) {
      case "heartbeat":
        this.#send({ type: "heartbeatAck", time: message.time });
        return;
      case "heartbeatAck":
        session.heartbeatAcked(message.time, clock.monotonic());
        this.link.heartbeatAcked();
        return;
      case "register":
        this.link.isHeard = false; // a controller may take its time
        this.#answerRegister(await answerRegister(session, message, registrar));
        this.link.isHeard = true;
        return;
      case "unregister":
        await registrar.unregister(session, message.serviceId);
        this.#told.delete(message.serviceId);
        return;
      case "connectAck": // its data WebSocket says the same
        return;
      case "connectFail":
        this.link.refused(message.connectionId, message.reason);
        return;
      case "disconnect":
        tunnels.end(session, "agent_left");
        return;
      default:
        return `A plain agent does not send ${message.type} here`;
    }
  }

  #answerRegister(answer: ControlMessage): void {
    this.#send(answer);
    if (answer.type !== "registerOk") return;
    this.#told.add(answer.serviceId);
    const waiting = this.#untold;
    this.#untold = [];
    for (const connect of waiting) this.#connect(connect);
  }

  #connect(message: Connect): void {
    if (this.#told.has(message.serviceId)) this.#send(message);
    else this.#untold.push(message);
  }

  async #receiveBytes(): Promise<Uint8Array | null> {
    try {
      return await this.#messages.receive();
    } catch (error) {
      if (error instanceof WebSocketFault && !error.byPeer) {
        this.link.close({ kind: "protocol_error", detail: error.message });
      }
      throw error;
    }
  }

  /** Reads on until the agent has closed, too, or is cut off; then the link ends. Never rejects. */
  #drain(): Promise<void> {
    return this.#draining ??= (async () => {
      try {
        while (await this.#messages.receive() !== null);
      } catch (error) {
        if (error instanceof ControlFault) await this.#outgoing.finish(); // it is told so, and not read any further
      }
      this.link.close();
    })();
  }

  #send(message: ControlMessage): void {
    if (QUESTIONS.has(message.type)) this.#owed++;
    this.#outgoing.send(encodeControl(message));
  }
}
