import type { ByteStream } from "../byte_stream.ts";
import type { NodeId, Registry } from "../registry/registry.ts";
import type { ConnectionId, ConnectionInfo } from "./contract.ts";

/** A data plane, as an inline plugin uses it. */
export interface PlaneContext {
  /** This data plane. */
  readonly node: NodeId;
  /** Who holds which name, over all data planes. Its keys are this plugin's own. */
  readonly registry: Registry;
  /** How many data planes there are. */
  readonly nodes: number;
  /** Whether it is this data plane that does what is to be done once in the whole gateway. */
  readonly isFirst: boolean;
  /** The other data planes, as far as this one can reach them now: see {@link openOn}. */
  readonly neighbours: readonly NodeId[];
  /** The ports that this data plane listens on now, those of plugins among them. */
  readonly ports: readonly number[];
  /** Where the public reaches this gateway by https: the port of the first listener that takes TLS. */
  readonly httpsPort: number;
  /**
   * Accepts connections for this plugin, and asks it alone about them, before a byte is read: `protocol` is `other`,
   * and `destination.port` tells them apart. They count as any other connection.
   *
   * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
   */
  listen(address: { readonly hostname: string; readonly port: number }): PluginListener;
  /**
   * Opens a UDP socket for this plugin, which gets every datagram that comes to it. Unlike a TCP port it can be open in one data
   * plane only.
   *
   * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
   */
  listenDatagrams(address: { readonly hostname: string; readonly port: number }): DatagramSocket;
  /**
   * Opens a stream to this plugin on another data plane, which is asked about it as about a connection, with
   * `handedOver.purpose`. It carries bytes as they are.
   *
   * @param connection For whom: its source and destination go along.
   * @throws {GatewayError} `dial-failed`: that data plane is not there.
   */
  openOn(node: NodeId, purpose: string, connection: ConnectionInfo): Promise<ByteStream>;
  /**
   * Adds a span to a connection's trace, for something that is over now. Absent unless traces are wanted, so that it costs
   * nothing then; nothing happens when the connection has ended.
   *
   * @param startedAt In `performance.now()` milliseconds.
   * @param attributes No secrets, and nothing of what is relayed; an `undefined` one is left out.
   * @param failure Why it came to nothing; absent when it did not.
   */
  readonly trace?: (
    connection: ConnectionId,
    name: "request" | "tunnel stream",
    startedAt: number,
    attributes: Readonly<Record<string, string | number | boolean | undefined>>,
    failure?: string,
  ) => void;
}

/** A UDP socket. Owned by the plugin that opened it; the data plane's end closes it, too. */
export interface DatagramSocket {
  /** As bound. */
  readonly port: number;
  /**
   * The next datagram, in a prefix of `into`, and whom it is from. One that is longer than `into` is cut without a word. One may be
   * pending at a time. Rejects once the socket is closed.
   */
  receive(into: Uint8Array): Promise<[Uint8Array, Deno.Addr]>;
  /** Sends a datagram of 65,507 bytes at most; `data` must stay as it is until then. Rejects when the system refuses it. */
  send(data: Uint8Array, to: Deno.Addr): Promise<number>;
  /** Harmless when repeated. */
  close(): void;
}

/** Owned by the plugin that opened it. Closing it twice is harmless; what was accepted goes on. */
export interface PluginListener {
  /** As bound. */
  readonly port: number;
  close(): void;
}
