import type { LogFields } from "../log.ts";
import { formatHostPort } from "../net/address.ts";
import type { ConnectionInfo, Endpoint } from "../plugin/contract.ts";
import type { PluginHandle } from "../plugin/host.ts";
import type { Listener } from "./listeners.ts";
import type { ByteCount } from "./relay.ts";
import type { ConnectionRow } from "./snapshot.ts";

/** Where a connection is on its path. */
export type ConnectionState =
  | "preface"
  | "routing"
  | "certificate"
  | "handshake"
  | "dialing"
  | "relaying"
  | "handling"
  | "refused";

/** What is known of one connection so far, and how it is told to the log and the admin side. */
export class ConnectionRecord {
  readonly id: string;
  readonly listener: Listener;
  readonly peer: Endpoint;
  /** In `performance.now()` milliseconds. */
  readonly acceptedAt: number = performance.now();
  readonly sent: ByteCount = { bytes: 0 };
  readonly received: ByteCount = { bytes: 0 };
  state: ConnectionState = "preface";
  info: ConnectionInfo | undefined;
  /** Who decided. */
  plugin: PluginHandle | undefined;
  /** Whether the plugin has said all that it will be asked for. */
  isDecided = false;
  /** The target that was tried last. */
  target: string | undefined;
  /** What ended it; absent while it is open. */
  result: string | undefined;
  /** What is known beyond that of a TLS handshake that failed. */
  detail: string | undefined;

  constructor(id: string, listener: Listener, peer: Endpoint) {
    this.id = id;
    this.listener = listener;
    this.peer = peer;
  }

  /** The public client's address, as far as it is known. */
  get sourceAddress(): string {
    return (this.info?.source ?? this.peer).address;
  }

  /** Who decided on it, and on what grounds. @throws {TypeError} Nobody has. */
  get decided(): { readonly plugin: PluginHandle; readonly info: ConnectionInfo } {
    const { plugin, info } = this;
    if (!plugin || !info) throw new TypeError("Nothing is decided about this connection yet");
    return { plugin, info };
  }

  /** Milliseconds since it was accepted. */
  get age(): number {
    return performance.now() - this.acceptedAt;
  }

  /** What every log line about it has, and `more`. */
  fields(more: LogFields): LogFields {
    return {
      connection: this.id,
      source: this.#source(),
      sni: this.info?.tls?.serverName,
      plugin: this.plugin?.name,
      target: this.target,
      ...more,
    };
  }

  row(): ConnectionRow {
    const sni = this.info?.tls?.serverName;
    return {
      id: this.id,
      listener: this.listener.address,
      source: this.#source(),
      protocol: this.info?.protocol ?? "",
      ...(sni !== undefined && { sni }),
      ...(this.plugin && { plugin: this.plugin.name }),
      ...(this.target !== undefined && { target: this.target }),
      state: this.state,
      bytesIn: this.sent.bytes,
      bytesOut: this.received.bytes,
      since: Math.round(performance.timeOrigin + this.acceptedAt),
    };
  }

  #source(): string {
    const { address, port } = this.info?.source ?? this.peer;
    return formatHostPort({ host: address, port });
  }
}
