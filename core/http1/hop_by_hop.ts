import { FieldSet } from "./fields.ts";

/**
 * Fields that end at this hop in both directions, RFC 9110 §7.6.1 and §11.7; and the framing, which whoever writes the head
 * writes anew. What Connection lists besides, `HeadWriter.fieldsOf` leaves out by itself.
 *
 * Trailer is not one of them: it announces what is forwarded.
 */
export const HOP_BY_HOP: readonly string[] = [
  "connection",
  "content-length",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
];

/** {@link HOP_BY_HOP} and `more`: what a proxy leaves out of a head. */
export function hopByHopAnd(more: Iterable<string>): FieldSet {
  return new FieldSet([...HOP_BY_HOP, ...more]);
}

/**
 * What must not come behind a body, RFC 9110 §6.5.1: framing, routing, authentication, and whatever says how the body is
 * to be taken. A recipient that merges trailers into the head would believe them.
 */
export const FORBIDDEN_TRAILERS: FieldSet = hopByHopAnd([
  "authorization",
  "cache-control",
  "content-encoding",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "expect",
  "expires",
  "forwarded",
  "host",
  "location",
  "max-forwards",
  "pragma",
  "range",
  "retry-after",
  "set-cookie",
  "trailer",
  "vary",
  "warning",
  "www-authenticate",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-real-ip",
]);
