/** TLS alert descriptions (RFC 8446 §6.2, RFC 6066 §9, RFC 7301 §3.2). */
export const ALERT = {
  closeNotify: 0,
  unexpectedMessage: 10,
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateExpired: 45,
  certificateUnknown: 46,
  illegalParameter: 47,
  unknownCa: 48,
  accessDenied: 49,
  decodeError: 50,
  protocolVersion: 70,
  internalError: 80,
  unrecognizedName: 112,
  certificateRequired: 116,
  noApplicationProtocol: 120,
} as const;

const CONTENT_TYPE_ALERT = 21;
const LEVEL_FATAL = 2;

/**
 * One fatal alert as an unencrypted TLS record: what a client understands up to the moment at which the keys change,
 * which in TLS 1.3 is right behind the ServerHello. The record says version 1.2, as every record does since TLS 1.3
 * (RFC 8446 §5.1).
 *
 * @param description One of {@link ALERT}.
 */
export function tlsAlert(description: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(CONTENT_TYPE_ALERT, 3, 3, 0, 2, LEVEL_FATAL, description);
}
