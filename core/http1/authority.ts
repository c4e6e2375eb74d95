import { canonicalName } from "../names.ts";
import { parseAddress } from "../net/address.ts";

/** What a Host field, an absolute-form target or an `:authority` names. */
export interface Authority {
  /** A canonical name (`canonicalName`) or address; an IPv6 one without brackets. */
  readonly host: string;
  /** {@link host}, unless that is an address: those are no names. */
  readonly name: string | undefined;
  /** 1 to 65535; `undefined`: none was written. */
  readonly port: number | undefined;
}

/**
 * Reads `host [":" port]`, RFC 9110 §7.2: a DNS name, an IPv4 address or an IPv6 address in brackets.
 *
 * @returns `undefined` for anything else: userinfo, an empty host, an empty port, percent-encoding.
 */
export function parseAuthority(raw: string): Authority | undefined {
  const hostEnd = raw.startsWith("[") ? raw.indexOf("]") + 1 : indexOrEnd(raw, ":");
  const port = parsePort(raw, hostEnd);
  if (hostEnd === 0 || port === null) return undefined;
  const text = hostEnd === raw.length ? raw : raw.slice(0, hostEnd);
  const name = canonicalName(text);
  if (name !== undefined) return { host: name, name, port };
  const host = parseLiteral(text);
  return host === undefined ? undefined : { host, name: undefined, port };
}

function indexOrEnd(text: string, sought: string): number {
  const at = text.indexOf(sought);
  return at < 0 ? text.length : at;
}

/** @returns `null` for what is no port. */
function parsePort(raw: string, at: number): number | undefined | null {
  if (at === raw.length) return undefined;
  if (!/^:[1-9]\d{0,4}$/.test(raw.slice(at))) return null;
  const port = Number(raw.slice(at + 1));
  return port <= 65_535 ? port : null;
}

function parseLiteral(text: string): string | undefined {
  if (/^\[[\da-fA-F:.]+\]$/.test(text)) {
    const inner = text.slice(1, -1);
    return inner.includes(":") ? parseAddress(inner) : undefined;
  }
  return /^(?:\d{1,3}\.){3}\d{1,3}$/.test(text) ? parseAddress(text) : undefined;
}
