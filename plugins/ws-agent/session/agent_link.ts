import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import type { SessionEnd } from "../yamux/yamux.ts";
import type { Service } from "./service.ts";

/** For whom a stream is to be opened. */
export interface Opening {
  readonly service: Service;
  /** The public's. */
  readonly connection: ConnectionInfo;
  /** Aborted when the client has left. */
  readonly signal: AbortSignal;
}

/**
 * What a tunnel's bytes go by: a multiplexer, or a connection for control and one more for each that is carried. Owns its
 * transport. The session of a multiplexer is one.
 */
export interface AgentLink {
  /**
   * Opens a stream for a public connection.
   *
   * @throws {GatewayError} Or rejects with one: `dial-failed`, it is over; `dial-timeout`, the agent did not come for it. What rejects
   * may do so with an {@link HttpRefusal}, too.
   */
  open(opening: Opening): ByteStream | Promise<ByteStream>;
  /** Streams that are open or about to be, by either side, the one for control among them. */
  readonly streams: number;
  /** Those of them that the agent has opened: the one for control at least. */
  readonly streamsOfPeer: number;
  /** The most that the agent may open. */
  set maxStreams(streams: number);
  /** The last round trip that the link has measured by itself, in milliseconds. */
  readonly roundTripMs: number | undefined;
  /** Bytes of the streams, as their users see them. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Monotonic time of when anything came from the agent last. */
  readonly lastHeardAt: number;
  /** Whether the agent has said that it takes no new streams. */
  readonly peerGoesAway: boolean;
  /** Asks for an answer now. Rejects when the link ends first. */
  ping(): Promise<unknown>;
  /** Says, where there is a word for it, that the agent had better go elsewhere. Streams that are open go on. */
  goAway(): void;
  /** Ends everything at once. Harmless when repeated. */
  close(): void;
  /** Resolves when it has ended; never rejects. */
  readonly ended: Promise<SessionEnd>;
}
