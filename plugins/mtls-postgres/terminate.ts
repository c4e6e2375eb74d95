import type { ConnectionInfo, Terminate } from "../../core/plugin/mod.ts";

/** What clients with `sslnegotiation=direct` insist on (PostgreSQL docs, "SSL Session Encryption"). */
const POSTGRES_ALPN: readonly string[] = Object.freeze(["postgresql"]);

/** Nothing is known of other protocols, so none is agreed on: that leaves it to the target. */
export function alpnFor({ tls }: ConnectionInfo): readonly string[] | undefined {
  return tls?.alpn.includes("postgresql") ? POSTGRES_ALPN : undefined;
}

/**
 * The first answer to every client: show a certificate. The answers are made once and frozen.
 *
 * @param ca The CAs that it must lead to, PEM.
 */
export function terminator(ca: string): (connection: ConnectionInfo) => Terminate {
  const clientCertificate = Object.freeze({ mode: "require", ca } as const);
  const plain: Terminate = Object.freeze({ kind: "terminate", clientCertificate });
  const postgres: Terminate = Object.freeze({ ...plain, alpn: POSTGRES_ALPN });
  return (connection) => alpnFor(connection) === undefined ? plain : postgres;
}
