/**
 * HTTP/1.1 over byte streams, RFC 9110 and RFC 9112: strict, incremental, bounded.
 *
 * A connection has one `ByteReader`, one `RequestHead` or `ResponseHead`, one `BodyReader` and one `HeadWriter`, all of
 * them used again for message after message:
 *
 * 1. `head.parse(reader.bytes)`, and `reader.fill()` for as long as it says `more`;
 * 2. write the head on (`HeadWriter`), then `reader.consume(head.length)`;
 * 3. `body.start(head.body, head.contentLength)`, then `body.next()` or `body.read()` until `end`.
 *
 * @module
 */
export { type Authority, parseAuthority } from "./authority.ts";
export { BodyReader } from "./body_reader.ts";
export { ByteReader } from "./byte_reader.ts";
export { FAULTS, type HttpFault } from "./fault.ts";
export { FieldSet, FieldTable, type HeadResult } from "./fields.ts";
export { type BodyKind } from "./framing.ts";
export { HeadWriter, LAST_CHUNK } from "./head_writer.ts";
export { FORBIDDEN_TRAILERS, HOP_BY_HOP, hopByHopAnd } from "./hop_by_hop.ts";
export { MAX_HEAD, RequestHead } from "./request_head.ts";
export { isTarget, MAX_REQUEST_LINE } from "./request_line.ts";
export { ResponseHead } from "./response_head.ts";
