import { createHash } from "node:crypto";

/** RFC 6455 §1.3: no protocol but this one would hash it. */
const ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The only version there is (RFC 6455 §4.1). */
export const WEBSOCKET_VERSION = "13";

/** RFC 9110 §5.6.2. */
export const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** 16 bytes in Base64: the last character before the padding has four bits that are zero. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/** Whether `key` is a `Sec-WebSocket-Key`. */
export function isKey(key: string): boolean {
  return KEY.test(key);
}

/** The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash("sha1").update(key + ACCEPT_GUID).digest("base64");
}

/** The members of a comma-separated list in lower case, empty ones left out (RFC 9110 §5.6.1). */
export function listMembers(value: string | undefined): string[] {
  return (value ?? "").split(",").map((member) => member.trim().toLowerCase()).filter((member) =>
    member !== ""
  );
}
