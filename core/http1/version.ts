import { LF } from "./characters.ts";
import { FAULTS, type HttpFault } from "./fault.ts";

const HTTP_SLASH = "HTTP/";

/** Reads `HTTP/1.0` or `HTTP/1.1` as far as it is there. */
export function parseVersion(seen: Uint8Array, at: number): "1.0" | "1.1" | "more" | HttpFault {
  const length = Math.min(seen.length - at, HTTP_SLASH.length + 3);
  for (let i = 0; i < length; i++) {
    const byte = seen[at + i] as number;
    if (
      i < HTTP_SLASH.length ? byte !== HTTP_SLASH.charCodeAt(i) : !isVersionByte(i - HTTP_SLASH.length, byte)
    ) {
      return byte === LF ? FAULTS.bareLf : FAULTS.version;
    }
  }
  if (length < HTTP_SLASH.length + 3) return "more";
  if (seen[at + 5] !== 0x31) return FAULTS.versionRefused;
  if (seen[at + 7] === 0x31) return "1.1";
  return seen[at + 7] === 0x30 ? "1.0" : FAULTS.versionRefused;
}

/** Digit, dot, digit. */
function isVersionByte(i: number, byte: number): boolean {
  return i === 1 ? byte === 0x2e : byte >= 0x30 && byte <= 0x39;
}
