import type { ByteStream } from "../byte_stream.ts";

/** Why a TLS handshake with a client came to nothing. */
export type TlsFaultCode =
  /** The client showed no certificate where one is required. */
  | "no_certificate"
  /** The client's certificate is expired, not for clients, or does not lead to one of the CAs. */
  | "bad_certificate"
  /** Client and gateway have no ALPN protocol in common. */
  | "no_alpn"
  /** The client does not offer a TLS version that is allowed here. */
  | "version"
  /** The client ended it with an alert, as one that does not trust the gateway's certificate does. */
  | "client_alert"
  /** The client left, or the caller closed the stream because its time was over. */
  | "client_closed"
  /** Anything else: bytes that are no TLS, no cipher suite in common. */
  | "handshake_failed";

/** A handshake that failed. Strangers cause it, so it is counted rather than reported. */
export class TlsFault extends Error {
  override readonly name = "TlsFault";
  readonly code: TlsFaultCode;
  /**
   * Present when the client could not be told by an alert, because TLS 1.3 was done with the handshake before the
   * client's certificate was known: the stream on which it can be told in its own protocol. It is to be closed then,
   * and nothing that comes from it is to be believed.
   */
  readonly plaintext?: ByteStream;

  constructor(
    code: TlsFaultCode,
    message: string,
    options: ErrorOptions & { readonly plaintext?: ByteStream } = {},
  ) {
    super(message, options);
    this.code = code;
    if (options.plaintext) this.plaintext = options.plaintext;
  }
}
