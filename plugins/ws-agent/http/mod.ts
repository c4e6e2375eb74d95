/**
 * The public side of http tunnels: HTTP/1.1 and HTTP/2 from strangers, HTTP/1.1 over streams of the tunnel to the service.
 *
 * @module
 */
import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import type { HttpBackend } from "./backend.ts";
import { Http1Connection } from "./http1.ts";
import { Http2Connection } from "./http2.ts";
import { PREFACE } from "./http2_guard.ts";
import { DEFAULT_TIMEOUTS, type ServeHttpOptions, type ServingOptions } from "./options.ts";

export type { HttpBackend, RequestEvent } from "./backend.ts";
export { DEFAULT_TIMEOUTS, type HttpTimeouts, type ServeHttpOptions } from "./options.ts";
export { HttpRefusal, type RefusalStatus, refusingBackend } from "./refusal.ts";

/**
 * Serves one public connection until it ends. Takes the stream over and closes it. Never rejects.
 *
 * It speaks HTTP/2 when ALPN agreed on it, or when a client without TLS opens with its preface; else HTTP/1.1.
 */
export async function serveHttp(
  stream: ByteStream,
  connection: ConnectionInfo,
  backend: HttpBackend,
  { signal, draining, events, first, secure, timeouts }: ServeHttpOptions,
): Promise<void> {
  const options: ServingOptions = {
    timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
    secure: secure ?? connection.terminated !== undefined,
    draining,
    events,
    first,
  };
  const Connection = speaksHttp2(connection, first) ? Http2Connection : Http1Connection;
  const served = new Connection(stream, connection, backend, options);
  const close = () => served.close();
  const drain = () => served.drain();
  signal.addEventListener("abort", close);
  draining?.addEventListener("abort", drain);
  if (signal.aborted) close();
  try {
    await served.serve();
  } finally {
    signal.removeEventListener("abort", close);
    draining?.removeEventListener("abort", drain);
  }
}

/** A client without TLS shows what it speaks by its first bytes (RFC 9113 §3.3). */
function speaksHttp2({ terminated }: ConnectionInfo, first: Uint8Array | undefined): boolean {
  if (terminated !== undefined) return terminated.alpn === "h2";
  return first !== undefined && first.length >= PREFACE.length &&
    PREFACE.every((byte, i) => byte === first[i]);
}
