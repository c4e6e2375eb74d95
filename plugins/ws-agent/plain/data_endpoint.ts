import {
  type ByteStream,
  closeQuietly,
  type ConnectionInfo,
  type NodeId,
  type PlaneContext,
  writeAll,
} from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import { relayUntil } from "../relay_until.ts";
import { LINGER_MS } from "../turn_away.ts";
import { WebSocketBytes } from "../websocket/web_socket_bytes.ts";
import { nodeOfConnection, parseConnectionId } from "./connection_id.ts";
import type { DataSockets, GiveSocket } from "./data_sockets.ts";

/** What another data plane is given a data WebSocket for, by {@link PlaneContext.openOn}. */
export const DATA_PURPOSE = "agent-data";

/** A data WebSocket's request that is good: for a connection that waits here, or on another data plane. */
export type DataArrival =
  | {
    readonly give: GiveSocket;
    /** What the request is answered with. */
    readonly response: Uint8Array;
    /** What was read behind it. */
    readonly rest: Uint8Array;
  }
  | {
    readonly node: NodeId;
    /** All that was read. */
    readonly seen: Uint8Array;
  };

/** A data WebSocket's request, its handshake checked. */
export interface DataRequest {
  /** The path's last part. */
  readonly id: string;
  readonly response: Uint8Array;
  readonly seen: Uint8Array;
  /** How much of {@link seen} the request itself is. */
  readonly headLength: number;
}

/** Where plain agents come for connections: brings each data WebSocket to the data plane where its connection waits. */
export class DataEndpoint {
  readonly #sockets: DataSockets;
  readonly #plane: Pick<PlaneContext, "node" | "neighbours" | "openOn">;
  readonly #clock: Clock;

  constructor(
    { sockets, plane, clock }: {
      readonly sockets: DataSockets;
      readonly plane: Pick<PlaneContext, "node" | "neighbours" | "openOn">;
      readonly clock: Clock;
    },
  ) {
    this.#sockets = sockets;
    this.#plane = plane;
    this.#clock = clock;
  }

  /** @returns `undefined`: no connection waits under this id, or not any more. The id is used up otherwise. */
  find(
    { id: text, response, seen, headLength }: DataRequest,
    connection: ConnectionInfo,
  ): DataArrival | undefined {
    const id = parseConnectionId(text);
    if (id === undefined) return undefined;
    const give = this.#sockets.take(id);
    if (give !== undefined) return { give, response, rest: seen.subarray(headLength) };
    if (connection.handedOver?.purpose !== undefined) return undefined;
    const node = nodeOfConnection(id, this.#plane.neighbours);
    return node === undefined ? undefined : { node, seen };
  }

  /** Owns the stream. Resolves when it is closed; never rejects. */
  async serve(
    arrival: DataArrival,
    stream: ByteStream,
    connection: ConnectionInfo,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      if ("node" in arrival) {
        const upstream = await this.#plane.openOn(arrival.node, DATA_PURPOSE, connection);
        await this.#pass(arrival.seen, stream, upstream, signal);
        return;
      }
      // The signal needs no heed from here on: it is aborted when the stream is closed, and that is met by whoever reads.
      await writeAll(stream, arrival.response);
      const { promise: closed, resolve } = Promise.withResolvers<void>();
      const transport = closing(stream, resolve);
      arrival.give(new WebSocketBytes(transport, { role: "server", replay: arrival.rest }));
      await closed;
    } catch {
      // It has gone, or the other data plane: who waits for it is told when the time is over.
    } finally {
      closeQuietly(stream);
    }
  }

  /** Owns the upstream. A WebSocket that the other data plane has closed is over in both directions, whatever its agent does. */
  async #pass(
    seen: Uint8Array,
    stream: ByteStream,
    upstream: ByteStream,
    signal: AbortSignal,
  ): Promise<void> {
    let stop = () => {};
    const client: ByteStream = {
      read: (into) => stream.read(into),
      write: (data) => stream.write(data),
      closeWrite: () => {
        stop = this.#clock.after(LINGER_MS, () => closeQuietly(stream));
        return stream.closeWrite();
      },
      close: () => stream.close(),
    };
    try {
      await writeAll(upstream, seen);
      await relayUntil(signal, client, upstream);
    } finally {
      stop();
      closeQuietly(upstream);
    }
  }
}

/** A stream that tells when it is closed. */
function closing(stream: ByteStream, closed: () => void): ByteStream {
  return {
    read: (into) => stream.read(into),
    write: (data) => stream.write(data),
    closeWrite: () => stream.closeWrite(),
    close() {
      closed();
      stream.close();
    },
  };
}
