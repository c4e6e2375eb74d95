import { type ConnectionId, type Endpoint, formatHostPort, type Log } from "../../core/plugin/mod.ts";
import type { Identity } from "./identity.ts";
import type { Ending, Failure } from "./outcome.ts";

/** Who wants to get where, as far as it is known. */
export interface Attempt {
  readonly connection: ConnectionId;
  readonly source: Endpoint;
  readonly connectId: string;
  readonly identity?: Identity | undefined;
}

/** How long it took, and whether the database was asked. */
export interface Effort {
  readonly ms: number;
  readonly cached: boolean;
}

/**
 * Writes one line for each decision about somebody, and one for each connection that is ended later on. What is in
 * them comes from the server name, the certificate's SPIFFE ID and the database; never a certificate itself.
 */
export class Audit {
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  allowed(attempt: Attempt, target: string, { ms, cached }: Effort): void {
    if (!this.#log.enabled("info")) return;
    this.#log.info("access", { ...fieldsOf(attempt), target, allowed: true, cached, ms: rounded(ms) });
  }

  /** @param detail What more there is to say, for the operator. */
  denied(attempt: Attempt, reason: Failure, effort: Partial<Effort> & { readonly detail?: string }): void {
    if (!this.#log.enabled("warn")) return;
    const { ms, cached = false, detail } = effort;
    this.#log.warn("access", {
      ...fieldsOf(attempt),
      allowed: false,
      reason,
      detail,
      cached,
      ms: ms === undefined ? undefined : rounded(ms),
    });
  }

  ended(attempt: Attempt, target: string | undefined, reason: Ending, detail: string): void {
    this.#log.warn("access_ended", { ...fieldsOf(attempt), target, reason, detail });
  }
}

function fieldsOf({ connection, source, connectId, identity }: Attempt) {
  return {
    connection,
    source: formatHostPort({ host: source.address, port: source.port }),
    spiffeId: identity?.spiffeId,
    org: identity?.org,
    user: identity?.user,
    connectId,
  };
}

/** To a hundredth: finer is noise. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
