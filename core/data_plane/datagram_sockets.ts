import { closeQuietly } from "../byte_stream.ts";
import { GatewayError } from "../errors.ts";
import { formatHostPort } from "../net/address.ts";
import type { DatagramSocket } from "../plugin/plane_context.ts";
import { listenFault } from "./listen.ts";

/** The UDP sockets that plugins have opened in a data plane. */
export class DatagramSockets {
  readonly #sockets = new Set<Deno.DatagramConn>();
  #stopped = false;

  /** See `PlaneContext.listenDatagrams`. */
  listen({ hostname, port }: { readonly hostname: string; readonly port: number }): DatagramSocket {
    if (this.#stopped) throw new GatewayError("listen-failed", "The gateway is stopping");
    const socket = openDatagramSocket(hostname, port);
    this.#sockets.add(socket);
    const { addr } = socket;
    return {
      port: addr.transport === "udp" ? addr.port : port,
      receive: (into) => socket.receive(into),
      send: (data, to) => socket.send(data, to),
      close: () => {
        if (this.#sockets.delete(socket)) closeQuietly(socket);
      },
    };
  }

  /** Closes all of them for good. */
  close(): void {
    this.#stopped = true;
    for (const socket of this.#sockets) closeQuietly(socket);
    this.#sockets.clear();
  }
}

function openDatagramSocket(hostname: string, port: number): Deno.DatagramConn {
  try {
    return Deno.listenDatagram({ transport: "udp", hostname, port });
  } catch (error) {
    throw listenFault(`udp ${formatHostPort({ host: hostname, port })}`, error);
  }
}
