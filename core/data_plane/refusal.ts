import type { ByteStream } from "../byte_stream.ts";
import type { Protocol } from "../plugin/contract.ts";
import type { RefusalReason } from "./reject.ts";

/** The client's side at one point of the path. */
export interface Client {
  /** The TCP connection, or what lies within its TLS. */
  readonly stream: ByteStream;
  /** Read already, and still to be handed on. */
  readonly head: Uint8Array;
  /** Whether the stream is what lies within the client's TLS, which the gateway has terminated. */
  readonly withinTls: boolean;
  /** What the client understands now: before a handshake is over, only `tls`. */
  readonly layer: Protocol;
  /** Whether the upstream is to be asked for TLS first, as the client asked us. */
  readonly sslRequested: boolean;
  /** Whether nothing may be said to it, come what may: a PostgreSQL CancelRequest has no answer. */
  readonly unanswered?: boolean;
}

/** A connection's path ends here: the client is to be told why. */
export class Refusal extends Error {
  readonly client: Client;
  readonly reason: RefusalReason;
  /** For the log. */
  readonly detail: string;

  constructor(client: Client, reason: RefusalReason, detail: string) {
    super(reason);
    this.client = client;
    this.reason = reason;
    this.detail = detail;
  }
}
