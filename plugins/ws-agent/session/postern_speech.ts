import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import { courseOf, formatReason, type ReasonWord } from "../control/reason.ts";
import { hostOfKey } from "../names.ts";
import { encodeStreamHeader } from "../stream_header.ts";
import type { AgentSpeech, Introduction } from "./agent_speech.ts";
import { ControlChannel } from "./control_channel.ts";
import { type ConversationTools, converse } from "./conversation.ts";
import type { Service } from "./service.ts";
import type { TunnelSession } from "./session.ts";

/** Postern's own agents, as PROTOCOL.md has it. */
export class PosternSpeech implements AgentSpeech {
  readonly kind = "postern";
  readonly firstStays = false;
  readonly renewsToken = false;
  readonly #channel: ControlChannel;

  /** @param control The first stream that the agent has opened. */
  constructor(control: ByteStream) {
    this.#channel = new ControlChannel(control);
  }

  async introduction(): Promise<Introduction | "no_auth" | null> {
    const message = await this.#channel.receive();
    return message === null || message.type === "auth" ? message : "no_auth";
  }

  /** AuthFail is for good. What passes is a Disconnect: the agent comes back. */
  deny(word: ReasonWord, message: string): void {
    const type = courseOf("authFail", word) === "retry" ? "disconnect" : "authFail";
    this.#channel.send({ type, reason: formatReason(word, message) });
  }

  welcome(session: TunnelSession): Promise<void> {
    this.#channel.send({ type: "authOk", tunnelId: session.id });
    return Promise.resolve();
  }

  converse(session: TunnelSession, servicesPerTunnel: number, tools: ConversationTools): Promise<void> {
    return converse(session, this.#channel, servicesPerTunnel, tools);
  }

  heartbeat(time: number): void {
    this.#channel.send({ type: "heartbeat", time });
  }

  farewell(reason: string): void {
    this.#channel.send({ type: "disconnect", reason });
  }

  finish(): Promise<void> {
    return this.#channel.finish();
  }

  streamHeader(
    { id, key, protocol }: Service,
    { source, destination, id: connectionId }: ConnectionInfo,
  ): Uint8Array {
    const name = hostOfKey(key);
    return encodeStreamHeader({
      source,
      destination,
      ...(protocol === "udp" && { datagrams: true }),
      ...(name !== undefined && { name }),
      connectionId,
      serviceId: id,
    });
  }
}
