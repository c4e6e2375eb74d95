/**
 * The public side of http tunnels: HTTP/1.1 and HTTP/2 from strangers, HTTP/1.1 over streams of the tunnel to the service.
 *
 * @module
 */
import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import type { HttpBackend } from "./backend.ts";
import { Http1Connection } from "./http1.ts";
import { Http2Connection } from "./http2.ts";
import { DEFAULT_TIMEOUTS, type ServeHttpOptions, type ServingOptions } from "./options.ts";

export type { HttpBackend, RequestEvent } from "./backend.ts";
export { Draining } from "./draining.ts";
export { DEFAULT_TIMEOUTS, type HttpTimeouts, type ServeHttpOptions } from "./options.ts";
export { HttpRefusal, type RefusalStatus, refusingBackend } from "./refusal.ts";

/**
 * Serves one public connection until it ends. Takes the stream over and closes it. Never rejects.
 *
 * It speaks HTTP/2 when ALPN agreed on it, else HTTP/1.1.
 */
export async function serveHttp(
  stream: ByteStream,
  connection: ConnectionInfo,
  backend: HttpBackend,
  { signal, draining, events, secure, timeouts }: ServeHttpOptions,
): Promise<void> {
  const options: ServingOptions = {
    timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
    secure: secure ?? connection.terminated !== undefined,
    draining,
    events,
  };
  const Connection = connection.terminated?.alpn === "h2" ? Http2Connection : Http1Connection;
  const served = new Connection(stream, connection, backend, options);
  const close = () => served.close();
  signal.addEventListener("abort", close);
  draining?.add(served);
  if (signal.aborted) close();
  try {
    await served.serve();
  } finally {
    signal.removeEventListener("abort", close);
    draining?.delete(served);
  }
}
