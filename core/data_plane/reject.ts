import { type ByteStream, writeAll } from "../byte_stream.ts";
import type { Protocol, RejectReason } from "../plugin/contract.ts";
import { encodeErrorResponse } from "./preface/postgres.ts";
import type { BrokenLimit } from "./limits.ts";
import type { PrefaceFault } from "./preface/preface.ts";
import { ALERT, tlsAlert } from "../tls/alert.ts";

/** Everything for which a client gets an answer instead of a connection. */
export type RefusalReason =
  | RejectReason
  | PrefaceFault
  | "no_route"
  | "plugin_failed"
  | "connect_failed"
  | "connect_timeout"
  | BrokenLimit;

interface Answer {
  /** TLS alert description (RFC 8446 §6.2). */
  readonly alert: number;
  /** HTTP status line behind the version. */
  readonly http: string;
  /** PostgreSQL SQLSTATE (appendix A of its manual). */
  readonly sqlState: string;
  /** One sentence for the client: what it can know without being told about others. */
  readonly text: string;
}

const ANSWERS: Readonly<Record<RefusalReason, Answer>> = {
  no_route: {
    alert: ALERT.unrecognizedName,
    http: "404 Not Found",
    sqlState: "28000",
    text: "No service here takes this connection",
  },
  unknown_name: {
    alert: ALERT.unrecognizedName,
    http: "404 Not Found",
    sqlState: "28000",
    text: "No service has this name here",
  },
  no_server_name: {
    alert: ALERT.unrecognizedName,
    http: "404 Not Found",
    sqlState: "28000",
    text: "This gateway routes by TLS server name; use sslmode=require",
  },
  forbidden: { alert: ALERT.accessDenied, http: "403 Forbidden", sqlState: "28000", text: "Access denied" },
  bad_certificate: {
    alert: ALERT.badCertificate,
    http: "403 Forbidden",
    sqlState: "28000",
    text: "The client certificate was not accepted",
  },
  unavailable: unavailable("The service is not available"),
  connect_failed: unavailable("The service cannot be reached"),
  plugin_failed: unavailable("The gateway cannot decide about this connection now"),
  connect_timeout: timedOut("The service did not answer in time"),
  timeout: timedOut("The gateway did not decide in time"),
  over_limit: overLimit("Over a limit of this gateway"),
  max_connections: overLimit("Too many connections"),
  max_connections_per_source: overLimit("Too many connections from your address"),
  max_accept_rate_per_source: overLimit("Too many new connections from your address"),
  not_supported: {
    alert: ALERT.handshakeFailure,
    http: "501 Not Implemented",
    sqlState: "0A000",
    text: "Not supported by this gateway",
  },
  malformed_client_hello: malformed("The TLS ClientHello is malformed"),
  malformed_postgres: malformed("The first PostgreSQL packet is malformed"),
  postgres_early_bytes: malformed("Bytes came before the answer to the encryption request"),
  proxy_protocol_refused: malformed("A PROXY header is not accepted here"),
  preface_too_large: malformed("The first bytes are over the limit"),
  client_closed: malformed("The client left"),
};

function unavailable(text: string): Answer {
  return { alert: ALERT.internalError, http: "502 Bad Gateway", sqlState: "08006", text };
}

function overLimit(text: string): Answer {
  return { alert: ALERT.internalError, http: "503 Service Unavailable", sqlState: "53300", text };
}

function timedOut(text: string): Answer {
  return { alert: ALERT.internalError, http: "504 Gateway Timeout", sqlState: "08006", text };
}

function malformed(text: string): Answer {
  return { alert: ALERT.decodeError, http: "400 Bad Request", sqlState: "08P01", text };
}

/**
 * The bytes that tell a client in its own protocol that it gets no connection.
 *
 * @param layer What the client understands at this point: `tls` before the handshake is over (also behind a
 * PostgreSQL SSLRequest that was answered), else its protocol.
 */
export function refusalBytes(layer: Protocol, reason: RefusalReason): Uint8Array {
  const { alert, http, sqlState, text } = ANSWERS[reason];
  switch (layer) {
    case "tls":
      return tlsAlert(alert);
    case "postgres":
      return encodeErrorResponse(sqlState, text);
    case "http":
      return encoder.encode(
        `HTTP/1.1 ${http}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${
          text.length + 1
        }\r\n` +
          `Cache-Control: no-store\r\nConnection: close\r\n\r\n${text}\n`,
      );
    case "ssh": // RFC 4253 §4.2: a server may send lines before its version; a client shows them when it gives up
    case "other":
      return encoder.encode(`${text}\r\n`);
  }
}

const encoder = new TextEncoder();

/** How much of what a refused client still sends is read away, so that its answer is not lost to a reset. */
const MAX_DISCARDED_BYTES = 64 * 1024;

/**
 * Sends a refusal and waits for the client to take it: closing while bytes lie unread would reset the connection,
 * and the client might never see the answer. The caller bounds the time, and closes.
 */
export async function refuse(stream: ByteStream, answer: Uint8Array): Promise<void> {
  try {
    await writeAll(stream, answer);
    await stream.closeWrite();
    const discarded = new Uint8Array(1024);
    for (let total = 0; total < MAX_DISCARDED_BYTES;) {
      const length = await stream.read(discarded);
      if (length === null) break;
      total += length;
    }
  } catch {
    // The client left first, or the time for its goodbye is over: there is nobody to tell.
  }
}
