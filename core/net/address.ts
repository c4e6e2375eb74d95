import ipaddr from "ipaddr.js";
import { GatewayError } from "../errors.ts";
import { canonicalNameFromConfig } from "../names.ts";

/** A place to connect to or to listen on. */
export interface HostPort {
  /** A canonical address (IPv6 without brackets) or a canonical name. */
  readonly host: string;
  readonly port: number;
}

export interface HostPortOptions {
  /** For text that names no port. Absent: that is an error. */
  readonly defaultPort?: number;
  /** 1 where port 0, "any free port", makes no sense. @default 0 */
  readonly minPort?: number;
}

/**
 * Reads `10.0.0.5:5432`, `[::1]:443` or `db.internal:5432`.
 *
 * @throws {GatewayError} `config-invalid`.
 */
export function parseHostPort(text: string, options: HostPortOptions = {}): HostPort {
  const { host, port } = splitHostPort(text);
  return {
    host: parseHost(host, text),
    port: port === undefined ? defaultPort(text, options) : parsePort(port, text, options.minPort ?? 0),
  };
}

/** The inverse of {@link parseHostPort}. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function splitHostPort(text: string): { host: string; port: string | undefined } {
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    const rest = text.slice(close + 1);
    const host = text.slice(1, close);
    if (close < 0 || !host.includes(":") || (rest !== "" && !rest.startsWith(":"))) {
      throw wrongHostPort(text, "An IPv6 address stands in brackets");
    }
    return { host, port: rest === "" ? undefined : rest.slice(1) };
  }
  const colon = text.indexOf(":");
  if (colon < 0) return { host: text, port: undefined };
  if (text.includes(":", colon + 1)) throw wrongHostPort(text, "An IPv6 address stands in brackets");
  return { host: text.slice(0, colon), port: text.slice(colon + 1) };
}

function parseHost(host: string, text: string): string {
  const found = parseAddress(host) ?? canonicalNameFromConfig(host);
  if (found === undefined) {
    throw wrongHostPort(text, `${JSON.stringify(host)} is neither an address nor a name`);
  }
  return found;
}

function defaultPort(text: string, options: HostPortOptions): number {
  if (options.defaultPort === undefined) throw wrongHostPort(text, "The port is missing");
  return options.defaultPort;
}

function parsePort(digits: string, text: string, minPort: number): number {
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : -1;
  if (port >= minPort && port <= 65_535) return port;
  throw wrongHostPort(text, `The port is a number from ${minPort} to 65535`);
}

function wrongHostPort(text: string, rule: string): GatewayError {
  return new GatewayError(
    "config-invalid",
    `${
      JSON.stringify(text)
    } is no "host:port": ${rule}, as in "10.0.0.5:5432", "[::1]:443" or "db.internal:5432"`,
  );
}

/** Tells whether `text` is an IPv4 or IPv6 address, without brackets. */
export function isAddress(text: string): boolean {
  return parseAddress(text) !== undefined;
}

/** Tells whether only this machine reaches what listens on `hostname`. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

/**
 * The one form in which addresses are compared, counted and logged: IPv4 in decimal, also when it came mapped
 * into IPv6; IPv6 as RFC 5952 writes it, without a zone.
 *
 * @param address As the runtime reports it.
 * @throws {RangeError} For what is no address.
 */
export function canonicalAddress(address: string): string {
  return parseAddress(address) ?? noAddress(address);
}

/**
 * {@link canonicalAddress}, for text that may be no address.
 *
 * @returns `undefined` for anything but four decimal parts without leading zeros, or RFC 4291 §2.2.
 */
export function parseAddress(text: string): string | undefined {
  const ipv4 = withoutMapping(text);
  if (ipv4ToNumber(ipv4) >= 0) return ipv4;
  const parts = ipv6Parts(text);
  return parts === undefined ? undefined : formatParts(parts);
}

/**
 * The address in network byte order: 4 bytes for IPv4 and for IPv4 mapped into IPv6, else 16.
 *
 * @throws {RangeError} For what is no address.
 */
export function addressBytes(address: string): Uint8Array {
  const ipv4 = ipv4ToNumber(withoutMapping(address));
  if (ipv4 >= 0) return ipv4Bytes(ipv4);
  const parts = ipv6Parts(address) ?? noAddress(address);
  return isMapped(parts) ? ipv4Bytes(mappedIpv4(parts)) : partsToBytes(parts);
}

/**
 * The inverse of {@link addressBytes}; 16 bytes that hold a mapped IPv4 address come out as IPv4.
 *
 * @throws {RangeError} Unless there are 4 or 16 bytes.
 */
export function addressFromBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new RangeError(`An address has 4 or 16 bytes, not ${bytes.length}`);
  const parts: number[] = [];
  for (let i = 0; i < 16; i += 2) parts.push(bytes[i]! << 8 | bytes[i + 1]!);
  return formatParts(parts);
}

const MAPPED = "::ffff:";

/** Spares the way over ipaddr.js where `[::]` listens and IPv4 connects: that is how the runtime reports it. */
function withoutMapping(text: string): string {
  return text.startsWith(MAPPED) ? text.slice(MAPPED.length) : text;
}

/** An IPv4 address as an unsigned number, or -1. By hand: this runs on every connection. */
function ipv4ToNumber(text: string): number {
  if (text.length < 7 || text.length > 15) return -1;
  let value = 0, part = 0, digits = 0, dots = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit >= 0 && digit <= 9) {
      if (digits > 0 && part === 0) return -1; // a leading zero means octal to some readers
      part = part * 10 + digit;
      if (++digits > 3 || part > 255) return -1;
    } else if (digit === 0x2e - 0x30 && digits > 0) {
      value = value * 256 + part;
      part = digits = 0;
      dots++;
    } else {
      return -1;
    }
  }
  return dots === 3 && digits > 0 ? value * 256 + part : -1;
}

/** The eight groups of an IPv6 address, without its zone. */
function ipv6Parts(text: string): number[] | undefined {
  if (!text.includes(":") || text.length > 64) return undefined;
  const address = withoutDottedTail(text.split("%", 1)[0] ?? "");
  if (address === undefined || !ipaddr.IPv6.isValid(address)) return undefined;
  return ipaddr.IPv6.parse(address).parts;
}

/** Writes `::ffff:1.2.3.4` as `::ffff:102:304`: ipaddr.js reads octal parts, and takes `::1.2.3.4` for mapped. */
function withoutDottedTail(address: string): string | undefined {
  if (!address.includes(".")) return address;
  const tail = address.lastIndexOf(":") + 1;
  const ipv4 = ipv4ToNumber(address.slice(tail));
  if (ipv4 < 0) return undefined;
  return `${address.slice(0, tail)}${(ipv4 >>> 16).toString(16)}:${(ipv4 & 0xffff).toString(16)}`;
}

/** RFC 4291 §2.5.5.2. */
function isMapped(parts: readonly number[]): boolean {
  return parts[5] === 0xffff && parts.slice(0, 5).every((part) => part === 0);
}

function mappedIpv4(parts: readonly number[]): number {
  return (parts[6] ?? 0) * 65_536 + (parts[7] ?? 0);
}

function formatParts(parts: number[]): string {
  return isMapped(parts) ? ipv4Bytes(mappedIpv4(parts)).join(".") : new ipaddr.IPv6(parts).toRFC5952String();
}

function ipv4Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function partsToBytes(parts: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => {
    const part = parts[i >> 1] ?? 0;
    return i % 2 === 0 ? part >>> 8 : part & 0xff;
  });
}

function noAddress(text: string): never {
  throw new RangeError(`${JSON.stringify(text)} is no IP address`);
}

/** A set of addresses, given as ranges. */
export interface AddressSet {
  /** True when there are no ranges at all. */
  readonly isEmpty: boolean;
  /** @returns False also for what is no address. */
  has(address: string): boolean;
}

/**
 * Reads ranges such as `10.0.0.0/8`, `2001:db8::/32` and single addresses. IPv4 mapped into IPv6 counts as IPv4,
 * on both sides: `::/0` holds no IPv4 address.
 *
 * @throws {GatewayError} `config-invalid`, naming the entry.
 */
export function parseCidrs(list: readonly string[]): AddressSet {
  const ipv4: Ipv4Range[] = [];
  const ipv6: Ipv6Range[] = [];
  for (const entry of list) {
    const { bytes, bits } = parseCidr(entry);
    if (bytes.length === 4) ipv4.push(ipv4Range(bytes, bits));
    else ipv6.push({ prefix: bytes, bits });
  }
  return new RangeSet(ipv4, ipv6);
}

interface Ipv4Range {
  /** Unsigned, both ends inside. */
  readonly first: number;
  readonly last: number;
}

interface Ipv6Range {
  readonly prefix: Uint8Array;
  readonly bits: number;
}

/** A walk over plain numbers: lists have a few dozen ranges at most, and look-ups must not allocate for IPv4. */
class RangeSet implements AddressSet {
  readonly #ipv4: readonly Ipv4Range[];
  readonly #ipv6: readonly Ipv6Range[];
  readonly isEmpty: boolean;

  constructor(ipv4: readonly Ipv4Range[], ipv6: readonly Ipv6Range[]) {
    this.#ipv4 = ipv4;
    this.#ipv6 = ipv6;
    this.isEmpty = ipv4.length === 0 && ipv6.length === 0;
  }

  has(address: string): boolean {
    if (this.isEmpty) return false;
    const ipv4 = ipv4ToNumber(withoutMapping(address));
    if (ipv4 >= 0) return this.#hasIpv4(ipv4);
    const parts = ipv6Parts(address);
    if (parts === undefined) return false;
    if (isMapped(parts)) return this.#hasIpv4(mappedIpv4(parts));
    const bytes = partsToBytes(parts);
    return this.#ipv6.some(({ prefix, bits }) => samePrefix(bytes, prefix, bits));
  }

  #hasIpv4(value: number): boolean {
    for (const { first, last } of this.#ipv4) if (value >= first && value <= last) return true;
    return false;
  }
}

function parseCidr(entry: string): { bytes: Uint8Array; bits: number } {
  const slash = entry.indexOf("/");
  const text = slash < 0 ? entry : entry.slice(0, slash);
  if (text.includes("%") || !isAddress(text)) throw wrongCidr(entry, "it does not begin with an IP address");
  const bytes = addressBytes(text);
  const width = bytes.length * 8;
  // A mapped range is written with 96 bits in front of those of its IPv4 address.
  const extra = width === 32 && text.includes(":") ? 96 : 0;
  const bits = slash < 0 ? width : parseBits(entry, entry.slice(slash + 1), extra, extra + width) - extra;
  const base = bytes.map((byte, i) => byte & maskByte(i, bits));
  if (base.some((byte, i) => byte !== bytes[i])) {
    throw wrongCidr(entry, `it has bits set behind the prefix; write "${addressFromBytes(base)}/${bits}"`);
  }
  return { bytes, bits };
}

function parseBits(entry: string, digits: string, min: number, max: number): number {
  const bits = /^\d{1,3}$/.test(digits) ? Number(digits) : -1;
  if (bits < min || bits > max) throw wrongCidr(entry, `its prefix length is a number from ${min} to ${max}`);
  return bits;
}

function wrongCidr(entry: string, rule: string): GatewayError {
  return new GatewayError(
    "config-invalid",
    `${JSON.stringify(entry)} is no address range like "10.0.0.0/8": ${rule}`,
  );
}

/** The part of byte `index` that lies in a prefix of `bits` bits. */
function maskByte(index: number, bits: number): number {
  const inside = Math.min(8, Math.max(0, bits - index * 8));
  return 0xff00 >> inside & 0xff;
}

function ipv4Range(base: Uint8Array, bits: number): Ipv4Range {
  const first = base.reduce((value, byte) => value * 256 + byte, 0);
  return { first, last: first + 2 ** (32 - bits) - 1 };
}

function samePrefix(bytes: Uint8Array, prefix: Uint8Array, bits: number): boolean {
  for (let i = 0; i * 8 < bits; i++) {
    if (((bytes[i] ?? 0) ^ (prefix[i] ?? 0)) & maskByte(i, bits)) return false;
  }
  return true;
}
