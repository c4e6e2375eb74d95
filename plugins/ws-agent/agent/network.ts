import { lookup } from "node:dns/promises";
import { type ByteStream, closeQuietly, type HostPort } from "../../../core/plugin/mod.ts";
import type { GatewayTls } from "./settings.ts";
import { openNativeTls } from "./gateway_tls.ts";
import { localAddressFor } from "./target.ts";

/** A connection that says who is at its other end. */
export interface NetworkStream extends ByteStream {
  /** The address that it was made to. */
  readonly remoteAddress: string;
}

/** All that an agent has of the network. A test, or a worker that may do less, puts its own in place of it. */
export interface AgentNetwork {
  /** Connects by TCP. Aborted by `signal`; rejects as `Deno.connect` does. */
  connect(to: HostPort, signal: AbortSignal): Promise<NetworkStream>;
  /**
   * Opens a UDP socket that can send to this address, and to the others of its kind. The caller's to close.
   *
   * @param address An IP address.
   */
  openDatagrams(address: string): Deno.DatagramConn;
  /** The addresses of a name, best first. Rejects when there are none. */
  lookUp(name: string): Promise<readonly string[]>;
  /**
   * Shakes hands with the gateway. Takes the stream over, and closes it when it fails.
   *
   * @param signal Ends the handshake.
   * @throws {GatewayError} `dial-failed`, `certificate-invalid`.
   */
  startTls(stream: NetworkStream, host: string, tls: GatewayTls, signal: AbortSignal): Promise<ByteStream>;
}

/** The network of the machine, as far as this thread is permitted to use it. */
export function systemNetwork(): AgentNetwork {
  return {
    connect: async ({ host, port }, signal) =>
      new TcpStream(await Deno.connect({ hostname: host, port, signal })),
    openDatagrams: (address) =>
      Deno.listenDatagram({ transport: "udp", hostname: localAddressFor(address), port: 0 }),
    lookUp: async (name) => (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address),
    startTls: openNativeTls,
  };
}

/** A TCP connection without Nagle's delay: whoever writes here has put together what belongs together. */
export class TcpStream implements NetworkStream {
  /** Who takes it out takes it over. */
  readonly connection: Deno.TcpConn;
  readonly remoteAddress: string;

  constructor(connection: Deno.TcpConn) {
    connection.setNoDelay();
    this.connection = connection;
    this.remoteAddress = connection.remoteAddr.hostname;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.connection.read(into);
  }

  write(data: Uint8Array): Promise<number> {
    return this.connection.write(data);
  }

  closeWrite(): Promise<void> {
    return this.connection.closeWrite();
  }

  /** Harmless twice. */
  close(): void {
    closeQuietly(this.connection);
  }
}
