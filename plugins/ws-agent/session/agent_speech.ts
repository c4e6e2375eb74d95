import type { ConnectionInfo } from "../../../core/plugin/mod.ts";
import type { ReasonWord } from "../control/reason.ts";
import type { ConversationTools } from "./conversation.ts";
import type { Service } from "./service.ts";
import type { TunnelSession } from "./session.ts";

/** Whose agents there are, as metrics and status tell them apart. */
export const AGENT_KINDS = ["postern", "go-tunnel", "plain"] as const;
export type AgentKind = (typeof AGENT_KINDS)[number];

/** Who an agent says that it is. */
export interface Introduction {
  readonly token: string;
  /** With the token's principal it makes a holder of leases: the same for all runs of one agent. */
  readonly clientId: string;
}

/** What a tunnel says to its agent, whatever it speaks. */
export interface AgentVoice {
  readonly kind: AgentKind;
  /** Whether agents of this kind make a token for each connection, so that its end is not theirs. */
  readonly renewsToken: boolean;
  /** @param time Milliseconds since 1970. */
  heartbeat(time: number): void;
  /** The last thing that is said: why the tunnel ends, as `word: text`. Nothing, for a kind that has no words for it. */
  farewell(reason: string): void;
  /** Ends our side behind what waits. Resolves when all of it is on its way, or cannot be any more. Never rejects. */
  finish(): Promise<void>;
  /** What a stream of a public connection begins with; `undefined`: with the connection's own bytes. */
  streamHeader(service: Service, connection: ConnectionInfo): Uint8Array | undefined;
}

/** How one kind of agent is spoken to, from its first message on. What tunnels are is the same for all. */
export interface AgentSpeech extends AgentVoice {
  /**
   * Whether an agent of this kind that is there keeps out the next one with the same identity: they do not tell which run
   * of which agent they are, so the one that answers has the right to stay. Others are told apart by their epoch.
   */
  readonly firstStays: boolean;
  /**
   * Reads who it is. `null`: it has left; `no_auth`: it has said something else.
   *
   * @throws {ControlFault} What it sent breaks the format. Else what its stream throws.
   */
  introduction(): Promise<Introduction | "no_auth" | null>;
  /** It is not let in. */
  deny(word: ReasonWord, message: string): void;
  /** It is let in. What it has asked for along with that is done here; when that fails, the session is ended. Never rejects. */
  welcome(session: TunnelSession, tools: ConversationTools): Promise<void>;
  /** Answers it until its session has ended. Never rejects. */
  converse(session: TunnelSession, servicesPerTunnel: number, tools: ConversationTools): Promise<void>;
}
