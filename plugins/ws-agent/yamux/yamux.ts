import type { LendingStream } from "../../../core/plugin/mod.ts";

/** Who opens odd streams (the client, an agent) and who even ones (the server, the gateway). */
export type YamuxRole = "client" | "server";

/** GoAway codes of the specification. */
export type GoAwayCode = "normal" | "protocol_error" | "internal_error";

/**
 * How a session ended: by us, by the peer's go-away or FIN, by a peer that broke the protocol or a bound, by a
 * transport that failed, or because nothing was heard for too long.
 */
export interface SessionEnd {
  readonly kind: "closed" | "peer_closed" | "protocol_error" | "transport_failed" | "timeout";
  /** For the log; says nothing of what the streams carried. */
  readonly detail?: string;
}

/** The default of {@link YamuxOptions.maxBufferedBytes}. */
export const DEFAULT_MAX_BUFFERED_BYTES = 32 * 1024 * 1024;

export interface YamuxOptions {
  readonly role: YamuxRole;
  /**
   * Takes a stream that the peer has opened. Without it, and while there are {@link maxStreams} of them, such a stream is reset.
   */
  readonly onStream?: (stream: YamuxStream) => void;
  /** The most streams of the peer that are open at one time. @default 1000 */
  readonly maxStreams?: number;
  /** The most streams of our own that are open without the peer having said that it takes them. @default 256 */
  readonly maxUnaccepted?: number;
  /**
   * Received bytes that wait for their readers, over all streams: bounds what their windows may grow to. With so many,
   * streams are reset that nobody has read for 5 seconds, those with most first; while there are none, nothing more is
   * read from the transport.
   * @default 32 MiB
   */
  readonly maxBufferedBytes?: number;
  /** How often the peer is pinged, in milliseconds; 0: never. @default 15_000 */
  readonly pingIntervalMs?: number;
  /**
   * The session ends with `timeout` when nothing at all was heard for this long, although a ping was sent, in
   * milliseconds. At least a quarter of it is left for the ping's answer. @default 20_000
   */
  readonly pingTimeoutMs?: number;
}

/** Many byte streams over one. Owns the transport: the session's end closes it. */
export interface YamuxSession {
  /**
   * Opens a stream. It may be written to at once; whether the peer takes it shows when it answers or resets it.
   *
   * @throws {GatewayError} `dial-failed`: the session is over, or the peer has said that it goes away, or there are too many.
   */
  open(): YamuxStream;
  /** {@link YamuxOptions.maxBufferedBytes}, for a peer of whom more is known now. */
  set maxBufferedBytes(bytes: number);
  /** {@link YamuxOptions.maxStreams}, for a peer that may open more of them now. */
  set maxStreams(streams: number);
  /** Streams that are open, by either side. */
  readonly streams: number;
  /** Those of them that the peer has opened. */
  readonly streamsOfPeer: number;
  /** The last round trip of a ping, in milliseconds; absent before the first. */
  readonly roundTripMs: number | undefined;
  /** Bytes of the streams, without headers. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** `performance.now()` of the last time that anything came from the peer. */
  readonly lastHeardAt: number;
  /** Whether the peer has said that it takes no new streams. */
  readonly peerGoesAway: boolean;
  /** Called once when the peer says that it goes away; those streams that are open go on. */
  onGoAway: (() => void) | undefined;
  /** Sends a ping now. Resolves to the round trip in milliseconds; rejects when the session ends first. */
  ping(): Promise<number>;
  /** Says that no new streams are wanted. Those that are open go on. */
  goAway(code?: GoAwayCode): void;
  /** Ends everything at once: says go-away if there is room for it, resets the streams, closes the transport. Harmless when repeated. */
  close(code?: GoAwayCode): void;
  /** Resolves when it has ended; never rejects. */
  readonly ended: Promise<SessionEnd>;
}

/**
 * One stream of a session. Behaves as a `Deno.TcpConn`: half-close is kept, a peer's reset rejects reads and writes with
 * `ConnectionReset`, what is pending at our own `close` rejects with `Interrupted`, later operations with `BadResource`.
 * `close` sends FIN when all was read to the end, and resets the stream otherwise.
 */
export interface YamuxStream extends LendingStream {
  readonly id: number;
  /** Whether the peer has taken it: by ACK, or by any frame of the stream. */
  readonly accepted: boolean;
  /**
   * Called once when the peer resets it, or its session ends: also while nobody reads or writes, as whoever is busy with
   * the other side of a relay. Not called for what its owner does.
   */
  onReset: (() => void) | undefined;
  /** Ends both directions at once; the peer sees a reset. */
  reset(): void;
}
