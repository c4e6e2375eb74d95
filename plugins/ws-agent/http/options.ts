import type { RequestEvent } from "./backend.ts";
import type { Draining } from "./draining.ts";

/** How long is waited for what, in milliseconds; 0: for ever. Each comes up to half a second late. */
export interface HttpTimeouts {
  /** For the first byte of a request, and for the next request. Browsers keep a connection for longer than any proxy. @default 75_000 */
  readonly keepAliveMs: number;
  /** From the first byte of a head to its end; no byte starts it anew. 408 then. @default 10_000 */
  readonly headerMs: number;
  /** For the next byte of a request's body, while there is no answer yet. 408 then. @default 60_000 */
  readonly bodyMs: number;
  /**
   * From the end of a request to the head of its response; a 1xx response starts it anew. 504 then. Long polls wait for
   * about a minute, and twice that serves all that are known. @default 120_000
   */
  readonly responseMs: number;
  /** While a body or an upgraded connection moves no byte either way. @default 3_600_000, as the core's relay has it */
  readonly idleMs: number;
  /** For the client to take an answer behind which the connection closes. @default 2_000 */
  readonly lingerMs: number;
}

export const DEFAULT_TIMEOUTS: HttpTimeouts = {
  keepAliveMs: 75_000,
  headerMs: 10_000,
  bodyMs: 60_000,
  responseMs: 120_000,
  idleMs: 3_600_000,
  lingerMs: 2000,
};

export interface ServeHttpOptions {
  /** Closes the connection at once. */
  readonly signal: AbortSignal;
  /** The gateway is about to end: requests at hand are served, and no others. */
  readonly draining?: Draining | undefined;
  /** Called exactly once for each request, when it is over. Must not throw. */
  readonly events: (event: RequestEvent) => void;
  /** Whether the client came by TLS. @default it did when `connection.terminated` is there */
  readonly secure?: boolean | undefined;
  readonly timeouts?: Partial<HttpTimeouts> | undefined;
}

/** {@link ServeHttpOptions} as those who serve have them: complete. */
export interface ServingOptions {
  readonly timeouts: HttpTimeouts;
  readonly secure: boolean;
  readonly draining: Draining | undefined;
  readonly events: (event: RequestEvent) => void;
}
