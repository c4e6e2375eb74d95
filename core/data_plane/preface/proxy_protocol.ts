import type { Endpoint } from "../../plugin/contract.ts";
import { addressBytes, addressFromBytes, parseAddress } from "../../net/address.ts";
import { crc32c } from "./crc32c.ts";
import { agrees, malformed, more, NO, type Parsed, uint16, uint32 } from "./parsed.ts";
import type { ProxyHeader } from "./preface.ts";

// The format and all paragraphs named here: HAProxy's doc/proxy-protocol.txt.

/** What a line of version 1 begins with (§2.1). */
const V1_SIGNATURE = new TextEncoder().encode("PROXY ");
/** §2.1: the longest line, with its CRLF. */
const V1_MAX_BYTES = 107;

/** What a header of version 2 begins with (§2.2). */
const V2_SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const V2_FIXED_BYTES = 16;
const LOCAL = 0x20, PROXY = 0x21;
const UNSPEC = 0x00, TCP4 = 0x11, UDP4 = 0x12, TCP6 = 0x21, UDP6 = 0x22;

/** Bytes of the address block by family and transport; any other value is reserved. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [UNSPEC, 0],
  [TCP4, 12],
  [UDP4, 12],
  [TCP6, 36],
  [UDP6, 36],
  [0x31, 216], // UNIX, stream and datagram
  [0x32, 216],
]);

/** Types of the TLVs of version 2 that are known here (§2.2.1–2.2.7). */
export const TLV = { alpn: 0x01, authority: 0x02, crc32c: 0x03, uniqueId: 0x05, ssl: 0x20 } as const;

/** One TLV of a version 2 header. */
export interface Tlv {
  readonly type: number;
  readonly value: Uint8Array;
}

const TLV_HEADER_BYTES = 3;
/** §2.2.5 */
const MAX_UNIQUE_ID_BYTES = 128;
const MAX_V2_BLOCK_BYTES = 0xffff;

/**
 * Tells whether a connection opens with a PROXY header, without reading it.
 *
 * @param seen Every byte so far; `length` of a `yes` is that of the signature alone.
 */
export function parseProxySignature(seen: Uint8Array): Parsed<1 | 2> {
  const version = seen[0] === V2_SIGNATURE[0] ? 2 : 1;
  const signature = version === 2 ? V2_SIGNATURE : V1_SIGNATURE;
  if (!agrees(seen, signature)) return NO;
  if (seen.length < signature.length) return more(signature.length);
  return { kind: "yes", value: version, length: signature.length };
}

/**
 * Reads a PROXY header of either version. Only for connections from a trusted peer.
 *
 * Addresses are kept for TCP over IPv4 and IPv6, and apart from them for UDP. LOCAL, UNKNOWN, UNIX and UDP headers are
 * valid and name no addresses of a TCP connection, so that the real ones stand. A CRC32C is checked where there is one.
 *
 * @param seen Every byte so far, from the start of the connection. What is returned holds a copy.
 */
export function parseProxyHeader(seen: Uint8Array): Parsed<ProxyHeader> {
  const signature = parseProxySignature(seen);
  if (signature.kind !== "yes") return signature;
  return signature.value === 1 ? parseV1(seen) : parseV2(seen);
}

function parseV1(seen: Uint8Array): Parsed<ProxyHeader> {
  const line = seen.subarray(0, V1_MAX_BYTES);
  const end = line.findIndex((byte) => byte === 0x0d || byte === 0x0a);
  if (end < 0 || (line[end] === 0x0d && end + 1 === line.length)) {
    if (line.length < V1_MAX_BYTES) return more(seen.length + 1);
    return malformed(`PROXY v1 line without CRLF in its first ${V1_MAX_BYTES} bytes`);
  }
  if (line[end] !== 0x0d || line[end + 1] !== 0x0a) return malformed("PROXY v1 line does not end with CRLF");
  const length = end + 2;
  const addresses = parseV1Fields(String.fromCharCode(...line.subarray(0, end)).split(" "));
  if (addresses === undefined) return malformed("PROXY v1 line with wrong fields");
  return { kind: "yes", value: { version: 1, ...addresses, tlvs: [], raw: seen.slice(0, length) }, length };
}

type Addresses = Pick<ProxyHeader, "source" | "destination" | "datagrams">;

/** @returns `undefined` unless the fields are `PROXY TCP4|TCP6 src dst sport dport` or `PROXY UNKNOWN …`. */
function parseV1Fields(fields: readonly string[]): Addresses | undefined {
  const [, family, source, destination, sourcePort, destinationPort] = fields;
  if (family === "UNKNOWN") return {}; // §2.1: what follows is ignored
  if (fields.length !== 6 || (family !== "TCP4" && family !== "TCP6")) return undefined;
  const from = parseV1Endpoint(family, source, sourcePort);
  const to = parseV1Endpoint(family, destination, destinationPort);
  return from === undefined || to === undefined ? undefined : { source: from, destination: to };
}

function parseV1Endpoint(family: "TCP4" | "TCP6", host = "", port = ""): Endpoint | undefined {
  const address = parseAddress(host);
  const fits = host.includes(":") === (family === "TCP6") && !host.includes("%");
  if (address === undefined || !fits || !/^(?:0|[1-9]\d{0,4})$/.test(port)) return undefined;
  return Number(port) > 0xffff ? undefined : { address, port: Number(port) };
}

function parseV2(seen: Uint8Array): Parsed<ProxyHeader> {
  if (seen.length < V2_FIXED_BYTES) return more(V2_FIXED_BYTES);
  const command = seen[12];
  if (command !== LOCAL && command !== PROXY) {
    return malformed("PROXY v2 header with an unknown version or command");
  }
  const length = V2_FIXED_BYTES + uint16(seen, 14);
  const addressBytes = ADDRESS_BYTES.get(seen[13] ?? 0);
  if (command === PROXY) { // §2.2: of a LOCAL header, the family and the addresses are ignored
    if (addressBytes === undefined) return malformed("PROXY v2 header with an unknown address family");
    if (length < V2_FIXED_BYTES + addressBytes) {
      return malformed("PROXY v2 header too short for its addresses");
    }
  }
  if (seen.length < length) return more(length);
  const raw = seen.slice(0, length);
  return command === PROXY
    ? finishProxy(raw, V2_FIXED_BYTES + (addressBytes ?? 0))
    : finishLocal(raw, V2_FIXED_BYTES + (addressBytes ?? 0));
}

function finishProxy(raw: Uint8Array, tlvsAt: number): Parsed<ProxyHeader> {
  const tlvs = parseTlvs(raw, tlvsAt);
  const wrong = tlvs === undefined ? "PROXY v2 TLVs overrun the header" : findWrongTlv(raw, tlvs);
  if (tlvs === undefined || wrong !== undefined) return malformed(wrong ?? "");
  return { kind: "yes", value: { version: 2, ...parseV2Addresses(raw), tlvs, raw }, length: raw.length };
}

/** A LOCAL header must be accepted whatever is in it; only a checksum that can be found is held against it. */
function finishLocal(raw: Uint8Array, tlvsAt: number): Parsed<ProxyHeader> {
  const tlvs = parseTlvs(raw, tlvsAt) ?? [];
  if (tlvs.some((tlv) => tlv.type === TLV.crc32c) && !hasRightChecksum(raw, tlvs)) {
    return malformed(WRONG_CHECKSUM);
  }
  return { kind: "yes", value: { version: 2, tlvs, raw }, length: raw.length };
}

function parseV2Addresses(raw: Uint8Array): Addresses {
  const family = raw[13];
  const isDatagram = family === UDP4 || family === UDP6;
  if (family !== TCP4 && family !== TCP6 && !isDatagram) return {};
  const size = family === TCP4 || family === UDP4 ? 4 : 16;
  const ports = V2_FIXED_BYTES + 2 * size;
  const address = (at: number) => addressFromBytes(raw.subarray(at, at + size));
  const addresses = {
    source: { address: address(V2_FIXED_BYTES), port: uint16(raw, ports) },
    destination: { address: address(V2_FIXED_BYTES + size), port: uint16(raw, ports + 2) },
  };
  return isDatagram ? { datagrams: addresses } : addresses;
}

/** @returns Views into `bytes`, or `undefined` when the TLVs do not end exactly where `bytes` end. */
function parseTlvs(bytes: Uint8Array, from: number): Tlv[] | undefined {
  const tlvs: Tlv[] = [];
  let at = from;
  while (at + TLV_HEADER_BYTES <= bytes.length) {
    const end = at + TLV_HEADER_BYTES + uint16(bytes, at + 1);
    if (end > bytes.length) return undefined;
    tlvs.push({ type: bytes[at] ?? 0, value: bytes.subarray(at + TLV_HEADER_BYTES, end) });
    at = end;
  }
  return at === bytes.length ? tlvs : undefined;
}

const WRONG_CHECKSUM = "PROXY v2 header with a wrong CRC32C";

/** What is wrong with the TLVs whose form is known; others are passed over. */
function findWrongTlv(raw: Uint8Array, tlvs: readonly Tlv[]): string | undefined {
  for (const { type, value } of tlvs) {
    if (type === TLV.crc32c && !hasRightChecksum(raw, tlvs)) return WRONG_CHECKSUM;
    if (type === TLV.uniqueId && value.length > MAX_UNIQUE_ID_BYTES) {
      return "PROXY v2 unique id over 128 bytes";
    }
    // §2.2.6: the client byte and the result of verification, then TLVs again
    if (type === TLV.ssl && (value.length < 5 || parseTlvs(value, 5) === undefined)) {
      return "PROXY v2 SSL TLV with a wrong length";
    }
  }
  return undefined;
}

/** §2.2.3: the sum over the whole header, its own four bytes counted as zero. There is at most one. */
function hasRightChecksum(raw: Uint8Array, tlvs: readonly Tlv[]): boolean {
  const sums = tlvs.filter((tlv) => tlv.type === TLV.crc32c);
  const [sum] = sums;
  if (sum === undefined || sums.length > 1 || sum.value.length !== 4) return false;
  const zeroed = raw.slice();
  zeroed.fill(0, sum.value.byteOffset - raw.byteOffset, sum.value.byteOffset - raw.byteOffset + 4);
  return crc32c(zeroed) === uint32(sum.value, 0);
}

/**
 * Writes a version 1 header. An IPv4 and an IPv6 address together are written as TCP6, the former mapped.
 *
 * @returns `PROXY UNKNOWN` when an address is absent.
 * @throws {RangeError} For what is no IP address or port.
 */
export function encodeProxyV1(source: Endpoint | undefined, destination: Endpoint | undefined): Uint8Array {
  if (source === undefined || destination === undefined) return encoder.encode("PROXY UNKNOWN\r\n");
  const from = checkedAddress(source), to = checkedAddress(destination);
  const isIpv4 = from.length === 4 && to.length === 4;
  const text = (bytes: Uint8Array) =>
    isIpv4 || bytes.length === 16 ? addressFromBytes(bytes) : `::ffff:${addressFromBytes(bytes)}`;
  const family = isIpv4 ? "TCP4" : "TCP6";
  return encoder.encode(`PROXY ${family} ${text(from)} ${text(to)} ${source.port} ${destination.port}\r\n`);
}

const encoder = new TextEncoder();

/**
 * Writes a version 2 header from parsed values. An IPv4 and an IPv6 address together are written as IPv6, the
 * former mapped; without both addresses the family is UNSPEC.
 *
 * @param tlvs In order. One of type 0x03, whatever its value, is filled in with the header's CRC32C.
 * @param command `local`: the gateway speaks for itself, as in a health check; no addresses are written.
 * @param transport What the addresses are of: a TCP connection, or datagrams of UDP.
 * @throws {RangeError} For what is no IP address or port, or more than 65,535 bytes of addresses and TLVs.
 */
export function encodeProxyV2(
  source: Endpoint | undefined,
  destination: Endpoint | undefined,
  tlvs: readonly Tlv[] = [],
  command: "proxy" | "local" = "proxy",
  transport: "tcp" | "udp" = "tcp",
): Uint8Array {
  const addresses = source === undefined || destination === undefined || command === "local"
    ? NO_ADDRESSES
    : encodeAddresses(source, destination, transport);
  const block = tlvs.reduce((sum, tlv) => sum + TLV_HEADER_BYTES + sizeOf(tlv), addresses.bytes.length);
  if (block > MAX_V2_BLOCK_BYTES) throw new RangeError(`A PROXY v2 header cannot hold ${block} bytes`);
  const header = new Uint8Array(V2_FIXED_BYTES + block);
  header.set(V2_SIGNATURE);
  header.set([command === "local" ? LOCAL : PROXY, addresses.family, block >>> 8, block & 0xff], 12);
  header.set(addresses.bytes, V2_FIXED_BYTES);
  writeTlvs(header, V2_FIXED_BYTES + addresses.bytes.length, tlvs);
  return header;
}

interface EncodedAddresses {
  readonly family: number;
  readonly bytes: Uint8Array;
}

const NO_ADDRESSES: EncodedAddresses = { family: UNSPEC, bytes: new Uint8Array(0) };

function encodeAddresses(
  source: Endpoint,
  destination: Endpoint,
  transport: "tcp" | "udp",
): EncodedAddresses {
  const from = checkedAddress(source), to = checkedAddress(destination);
  const size = Math.max(from.length, to.length);
  const bytes = new Uint8Array(2 * size + 4);
  bytes.set(widened(from, size));
  bytes.set(widened(to, size), size);
  const ports = [source.port >>> 8, source.port & 0xff, destination.port >>> 8, destination.port & 0xff];
  bytes.set(ports, 2 * size);
  const [ipv4, ipv6] = transport === "tcp" ? [TCP4, TCP6] : [UDP4, UDP6];
  return { family: size === 4 ? ipv4 : ipv6, bytes };
}

function checkedAddress({ address, port }: Endpoint): Uint8Array {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`${port} is no port`);
  return addressBytes(address);
}

/** Maps an IPv4 address into IPv6 where 16 bytes are wanted (RFC 4291 §2.5.5.2). */
function widened(address: Uint8Array, size: number): Uint8Array {
  if (address.length === size) return address;
  const mapped = new Uint8Array(16).fill(0xff, 10, 12);
  mapped.set(address, 12);
  return mapped;
}

function sizeOf({ type, value }: Tlv): number {
  if (!Number.isInteger(type) || type < 0 || type > 0xff) throw new RangeError(`${type} is no TLV type`);
  return type === TLV.crc32c ? 4 : value.length;
}

function writeTlvs(header: Uint8Array, from: number, tlvs: readonly Tlv[]): void {
  let at = from;
  let sumAt: number | undefined;
  for (const tlv of tlvs) {
    const size = sizeOf(tlv);
    header.set([tlv.type, size >>> 8, size & 0xff], at);
    at += TLV_HEADER_BYTES;
    if (tlv.type !== TLV.crc32c) header.set(tlv.value, at);
    else if (sumAt === undefined) sumAt = at;
    else throw new RangeError("A PROXY v2 header has one CRC32C");
    at += size;
  }
  if (sumAt !== undefined) new DataView(header.buffer).setUint32(sumAt, crc32c(header));
}
