import type { ByteStream } from "../byte_stream.ts";
import type { NodeId, Registry } from "../registry/registry.ts";
import type { ConnectionInfo } from "./contract.ts";

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
   * Opens a stream to this plugin on another data plane, which is asked about it as about a connection, with
   * `handedOver.purpose`. It carries bytes as they are.
   *
   * @param connection For whom: its source and destination go along.
   * @throws {GatewayError} `dial-failed`: that data plane is not there.
   */
  openOn(node: NodeId, purpose: string, connection: ConnectionInfo): Promise<ByteStream>;
}

/** Owned by the plugin that opened it. Closing it twice is harmless; what was accepted goes on. */
export interface PluginListener {
  /** As bound. */
  readonly port: number;
  close(): void;
}
