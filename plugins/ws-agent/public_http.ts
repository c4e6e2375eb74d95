import type { ByteStream, ConnectionInfo, Log, PlaneContext, Registry } from "../../core/plugin/mod.ts";
import { printable } from "./auth/printable.ts";
import type { Counters } from "./counters.ts";
import type { HttpBackend, IdleKeeper, RequestEvent } from "./http/backend.ts";
import { Draining } from "./http/draining.ts";
import type { ServeHttpOptions } from "./http/options.ts";
import { nameKey } from "./names.ts";
import type { PublicStreams } from "./public_streams.ts";

/** Serves the requests of one public connection; see `http/mod.ts`. */
export type ServeHttp = (
  stream: ByteStream,
  connection: ConnectionInfo,
  backend: HttpBackend,
  options: ServeHttpOptions,
) => Promise<void>;

export interface PublicHttpTools {
  readonly serveHttp: ServeHttp;
  readonly streams: Pick<PublicStreams, "open">;
  readonly registry: Pick<Registry, "release">;
  readonly counters: Counters;
  readonly log: Log;
  readonly plane: Pick<PlaneContext, "trace">;
}

export interface PublicHttpOptions {
  /** The canonical name that every request has to be for. */
  readonly hostname: string;
  readonly secure: boolean;
  readonly signal: AbortSignal;
}

/** Public HTTP of tunnels: each stream of a connection goes to whoever has its name at that moment. */
export class PublicHttp {
  readonly #tools: PublicHttpTools;
  readonly #draining = new Draining();
  /** Key → connections that may keep streams to its service while nobody uses them. */
  readonly #keepers = new Map<string, Set<IdleKeeper>>();

  constructor(tools: PublicHttpTools) {
    this.#tools = tools;
  }

  /** Owns the stream. Resolves when it is closed. */
  async serve(
    stream: ByteStream,
    connection: ConnectionInfo,
    { hostname, secure, signal }: PublicHttpOptions,
  ): Promise<void> {
    const { serveHttp, streams } = this.#tools;
    const key = nameKey(hostname);
    const keepers = this.#keepers.get(key) ?? new Set();
    this.#keepers.set(key, keepers);
    const backend: HttpBackend = {
      hostname,
      keepers,
      open: async (signal, again = false) => {
        if (again) await this.#catchUp(key);
        return await streams.open({ key, protocol: "http", connection, signal });
      },
    };
    await serveHttp(stream, connection, backend, {
      signal,
      draining: this.#draining,
      secure,
      events: (event) => this.#requested(event, hostname, connection),
    });
    if (keepers.size === 0 && this.#keepers.get(key) === keepers) this.#keepers.delete(key);
  }

  /** Who serves this key has changed: an agent that leaves does not wait for streams that nobody uses. */
  changed(key: string): void {
    for (const keeper of [...this.#keepers.get(key) ?? []]) void keeper.leave();
  }

  /** Requests at hand are served to their end, and no others. */
  drain(): void {
    this.#draining.begin();
  }

  /**
   * An agent may have died on another data plane, and the word of it be on its way. Whatever the registry has been told comes
   * before its next answer: here to a question that changes nothing.
   */
  async #catchUp(key: string): Promise<void> {
    await this.#tools.registry.release("", key).catch(() => {});
  }

  #requested(event: RequestEvent, host: string, { id, source }: ConnectionInfo): void {
    const { counters, log, plane } = this.#tools;
    counters.requested(event);
    plane.trace?.(id, "request", performance.now() - event.ms, {
      "http.request.method": printable(event.method, 20),
      "http.response.status_code": event.status,
      "network.protocol.version": event.version,
      "server.address": host,
      "url.path": printable(event.path, 256),
      "postern.bytes_in": event.bytesIn,
      "postern.bytes_out": event.bytesOut,
    }, event.fault);
    if (!log.enabled("info")) return;
    const { method, path, version, status, ms, bytesIn, bytesOut, fault } = event;
    log.info("http_request", {
      connection: id,
      source: source.address,
      method: printable(method, 20),
      host,
      path: printable(path, 256),
      version,
      status,
      ms: Math.round(ms * 10) / 10,
      bytesIn,
      bytesOut,
      ...(fault !== undefined && { fault }),
    });
  }
}
