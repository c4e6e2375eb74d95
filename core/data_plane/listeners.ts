import { closeQuietly } from "../byte_stream.ts";
import type { ListenerConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import { type AddressSet, formatHostPort, parseCidrs } from "../net/address.ts";
import type { PluginListener } from "../plugin/plane_context.ts";
import { LOOPBACK } from "./handover.ts";
import { openListener } from "./listen.ts";
import type { PlaneListener } from "./settings.ts";

/** How long to wait after `accept` failed, as it does while every file descriptor is taken, in milliseconds. */
const ACCEPT_RETRY_MS = 50;
/** What the listener is called that other data planes connect to. */
const HANDOVER_LISTENER = "handover";

/** A listening socket, and what its connections need to know of it. */
export interface Listener {
  /** As written in the config; else the plugin whose it is, or `handover`. */
  readonly address: string;
  /** `plugin`: opened by a plugin, for itself. `plane`: for what other data planes hand over. */
  readonly kind: ListenerConfig["kind"] | "plugin" | "plane";
  /** Whose it is, with `kind: plugin`. */
  readonly plugin?: string;
  /** Whose PROXY header is believed; a reload may change it. */
  proxyFrom: AddressSet;
}

/** Who is told of what the sockets bring. */
export interface ListenerHost {
  /** Takes over the connection. Must not throw. */
  accepted(conn: Deno.TcpConn, listener: Listener): void;
  failed(error: unknown, listener: Listener): void;
}

/** The listening sockets of a data plane: opens them, accepts, and closes them. */
export class Listeners {
  readonly #host: ListenerHost;
  readonly #configured: Listener[] = [];
  /** Each with what ends when nothing is accepted from it any more. */
  readonly #sockets = new Map<Deno.TcpListener, Promise<void>>();
  readonly #shared: boolean;
  #stopped = false;

  /** @param shared Whether other data planes listen on the same ports. */
  constructor(host: ListenerHost, shared: boolean) {
    this.#host = host;
    this.#shared = shared;
  }

  /**
   * Starts to accept.
   *
   * @returns The port as bound, which the config may have left open with 0.
   * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
   */
  listen(config: PlaneListener): number {
    const { address, kind, proxyFrom } = config;
    const socket = openListener(config);
    const listener: Listener = { address, kind, proxyFrom: parseCidrs(proxyFrom) };
    this.#configured.push(listener);
    this.#add(socket, listener);
    return socket.addr.port;
  }

  /** Listens for what other data planes hand over. @returns The port on loopback. */
  listenForPlanes(): number {
    const address = HANDOVER_LISTENER;
    const socket = openListener({ address, hostname: LOOPBACK, port: 0, reusePort: false });
    this.#add(socket, { address, kind: "plane", proxyFrom: NOBODY });
    return socket.addr.port;
  }

  /** See `PlaneContext.listen`. */
  listenFor(plugin: string, where: { readonly hostname: string; readonly port: number }): PluginListener {
    if (this.#stopped) throw new GatewayError("listen-failed", "The gateway is stopping");
    const { hostname, port } = where;
    const address = formatHostPort({ host: hostname, port });
    if (this.#has(hostname, port)) {
      throw new GatewayError(
        "address-in-use",
        `Cannot listen on "${address}": the gateway itself does so already`,
      );
    }
    const socket = openListener({ address, hostname, port, reusePort: this.#shared });
    this.#add(socket, { address: plugin, kind: "plugin", plugin, proxyFrom: NOBODY });
    return {
      port: socket.addr.port,
      close: () => {
        if (this.#sockets.delete(socket)) closeQuietly(socket);
      },
    };
  }

  /** Those of all sockets, as bound. */
  get ports(): number[] {
    return [...this.#sockets.keys()].map(({ addr }) => addr.port);
  }

  /** @param proxyFrom By the listener's address in the config, whose PROXY header is believed from now on. */
  trust(proxyFrom: Readonly<Record<string, readonly string[]>>): void {
    for (const listener of this.#configured) {
      listener.proxyFrom = parseCidrs(proxyFrom[listener.address] ?? []);
    }
  }

  /** Closes all of them for good. Resolves when nothing more will be accepted. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const sockets = [...this.#sockets.keys()];
    const accepting = [...this.#sockets.values()];
    this.#sockets.clear();
    sockets.forEach(closeQuietly);
    await Promise.all(accepting);
  }

  /** Ports that data planes share, the system would let us listen on twice, and deal out to both at random. */
  #has(hostname: string, port: number): boolean {
    const isAny = (address: string) => address === "0.0.0.0" || address === "::";
    return port !== 0 &&
      [...this.#sockets.keys()].some(({ addr }) =>
        addr.port === port && (addr.hostname === hostname || isAny(hostname) || isAny(addr.hostname))
      );
  }

  #add(socket: Deno.TcpListener, listener: Listener): void {
    this.#sockets.set(socket, this.#acceptAll(socket, listener));
  }

  async #acceptAll(socket: Deno.TcpListener, listener: Listener): Promise<void> {
    for (;;) {
      try {
        this.#host.accepted(await socket.accept(), listener);
      } catch (error) {
        if (!this.#sockets.has(socket)) return;
        if (hasLeft(error)) continue;
        this.#host.failed(error, listener);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_RETRY_MS));
      }
    }
  }
}

const NOBODY = parseCidrs([]);

/** Whether `accept` failed because that client reset its connection first: a wait would let it hold up the others. */
function hasLeft(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected || error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.ConnectionAborted;
}
