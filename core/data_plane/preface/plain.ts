import { agrees, more, type Parsed } from "./parsed.ts";

interface Opening {
  readonly bytes: Uint8Array;
  readonly protocol: "http" | "ssh";
}

/**
 * Methods of RFC 9110 §9, RFC 5789, RFC 4918 and its extensions, and QUERY; `PRI` opens HTTP/2 (RFC 9113 §3.4).
 * A method of one's own is legal HTTP, yet nothing would tell it from any other protocol.
 */
const HTTP_METHODS = (
  "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI QUERY " +
  "PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH MKCALENDAR ACL"
).split(" ");

const encoder = new TextEncoder();

const OPENINGS: readonly Opening[] = [
  ...HTTP_METHODS.map((method): Opening => ({ bytes: encoder.encode(`${method} `), protocol: "http" })),
  { bytes: encoder.encode("SSH-"), protocol: "ssh" }, // RFC 4253 §4.2
];

/**
 * Tells protocols without encryption apart by how they open; `length` is that of the opening.
 *
 * @param seen Every byte so far, at least one; only read.
 * @returns `other` as soon as no known opening is possible any more.
 */
export function parsePlainOpening(seen: Uint8Array): Parsed<"http" | "ssh" | "other"> {
  let shortest = Infinity;
  for (const { bytes, protocol } of OPENINGS) {
    if (!agrees(seen, bytes)) continue;
    if (seen.length >= bytes.length) return { kind: "yes", value: protocol, length: bytes.length };
    shortest = Math.min(shortest, bytes.length);
  }
  return shortest === Infinity ? { kind: "yes", value: "other", length: 0 } : more(shortest);
}
