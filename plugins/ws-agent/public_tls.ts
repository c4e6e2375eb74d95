import { type ByteStream, closeQuietly, type ConnectionInfo } from "../../core/plugin/mod.ts";
import { Caller } from "./caller.ts";
import type { Clock } from "./clock.ts";
import type { Directory } from "./directory.ts";
import type { AgentEndpoint } from "./endpoint.ts";
import { opensYamux } from "./go_tunnel/opening.ts";
import { nameKey } from "./names.ts";
import type { PublicHttp } from "./public_http.ts";
import type { PublicStreams } from "./public_streams.ts";
import { relayUntil } from "./relay_until.ts";

/** The first byte of every yamux frame, and of no request. */
const YAMUX_VERSION = 0;

export interface PublicTlsTools {
  readonly directory: Directory;
  readonly streams: Pick<PublicStreams, "open">;
  readonly endpoint: Pick<AgentEndpoint, "serve">;
  readonly http: Pick<PublicHttp, "serve">;
  readonly clock: Clock;
}

export interface PublicTlsOptions {
  /** The canonical name that the client asked for. */
  readonly hostname: string;
  readonly signal: AbortSignal;
}

/**
 * Connections to public names whose TLS ends at the gateway. Among them are agents: those of go-tunnel ask for the first
 * of their own hosts, and not for the endpoint. They offer no ALPN, and what they say first nobody else does.
 */
export class PublicTls {
  readonly #tools: PublicTlsTools;

  constructor(tools: PublicTlsTools) {
    this.#tools = tools;
  }

  /** Owns the stream. Resolves when it is closed. */
  async serve(stream: ByteStream, connection: ConnectionInfo, options: PublicTlsOptions): Promise<void> {
    const { directory, http } = this.#tools;
    const { hostname, signal } = options;
    const found = directory.find(nameKey(hostname), { elsewhere: true });
    const protocol = found.kind === "here"
      ? found.service.protocol
      : found.kind === "nobody"
      ? undefined
      : found.protocol;
    if (protocol === "tcp-tls") return await this.#serveTcp(stream, connection, options);
    if (mayBeAgent(connection)) return await this.#serveHttp(stream, connection, options);
    await http.serve(stream, connection, { hostname, secure: true, signal });
  }

  /** What comes is a request, or an agent: the first byte tells. How long it may take, HTTP bounds. */
  async #serveHttp(
    stream: ByteStream,
    connection: ConnectionInfo,
    { hostname, signal }: PublicTlsOptions,
  ): Promise<void> {
    const { http, endpoint } = this.#tools;
    const caller = new Caller(stream, (seen) => seen[0] === YAMUX_VERSION, this.#tools.clock);
    await http.serve(caller, connection, { hostname, secure: true, signal });
    if (caller.opening) await endpoint.serve(stream, connection, signal, { yamux: caller.opening });
  }

  /**
   * The service may be the first to speak, so its stream is opened at once. An agent that was lost half-open, and comes back by the name
   * of such a service of its own, gets to itself that way: it is told by what it says, and is let in.
   */
  async #serveTcp(
    stream: ByteStream,
    connection: ConnectionInfo,
    { hostname, signal }: PublicTlsOptions,
  ): Promise<void> {
    const caller = new Caller(stream, mayBeAgent(connection) ? opensYamux : isNoAgent, this.#tools.clock);
    try {
      const upstream = await this.#tools.streams.open({
        key: nameKey(hostname),
        protocol: "tcp-tls",
        connection,
        signal: AbortSignal.any([signal, caller.isAgent]),
      });
      await relayUntil(signal, caller, upstream);
    } catch {
      // Nobody serves it, or its agent did not come back: there is no word for that which every protocol knows.
    }
    if (caller.opening === undefined) return closeQuietly(stream);
    await this.#tools.endpoint.serve(stream, connection, signal, { yamux: caller.opening });
  }
}

function isNoAgent(): boolean {
  return false;
}

/** Go's TLS offers no ALPN unless it is told to; HTTP clients do. */
function mayBeAgent({ tls }: ConnectionInfo): boolean {
  return tls?.alpn.length === 0;
}
