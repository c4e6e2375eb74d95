import type { ByteStream } from "../../../../core/plugin/mod.ts";
import type { ServiceProtocol } from "../../control/messages.ts";

/** A place in the network. */
export interface ClientAddress {
  readonly address: string;
  readonly port: number;
}

/** A connection of the public, as the gateway tells it. */
export interface PublicConnection {
  /** As in the gateway's log: 1 to 128 printable ASCII characters. */
  readonly id: string;
  /** The service that it is for, by its name. */
  readonly service: string;
  readonly protocol: ServiceProtocol;
  /** The public client. */
  readonly client: ClientAddress;
  /** Where it connected to. */
  readonly destination: ClientAddress;
  /** The host name that was asked for; absent for a service that is reached by its port. */
  readonly hostname?: string;
}

/** A public connection that is being served. */
export interface ServedConnection extends PublicConnection {
  /** Aborted when the client is gone, or the tunnel is. */
  readonly signal: AbortSignal;
}

/** Serves public connections in this program, in place of a target. */
export interface ConnectionHandler {
  /**
   * Serves one connection, and ends what it sends. The stream is the caller's to close, when this has settled.
   *
   * @param failed Told of what goes wrong and the client does not learn.
   * @throws When the connection is to be reset.
   */
  serve(
    stream: ByteStream,
    connection: ServedConnection,
    failed: (error: unknown) => void,
  ): Promise<void>;
}
