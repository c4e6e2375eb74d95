import { encodeProxyV2, type Endpoint } from "../../../core/plugin/mod.ts";
import { addressBytes } from "../../../core/net/address.ts";

/** What tells a target of whom a datagram is. */
export type DatagramProxyProtocol = "off" | "v2" | "simple";

/** Cloudflare's Simple Proxy Protocol: this, then the address of client and proxy (16 bytes each), then their ports. */
const SIMPLE_MAGIC = 0x56ec;
const SIMPLE_BYTES = 38;

/**
 * What goes in front of each datagram to the target. Each, and not the first alone: datagrams are lost, and come in another order.
 *
 * @returns `undefined`: nothing does.
 */
export function datagramPrefix(
  protocol: DatagramProxyProtocol,
  source: Endpoint,
  destination: Endpoint,
): Uint8Array | undefined {
  switch (protocol) {
    case "off":
      return undefined;
    case "v2":
      return encodeProxyV2(source, destination, [], "proxy", "udp");
    case "simple":
      return encodeSimple(source, destination);
  }
}

/** An answer without the prefix of its flow, which a target may send back in front of it: those of Cloudflare's kind do. */
export function withoutPrefix(answer: Uint8Array, prefix: Uint8Array): Uint8Array {
  if (answer.length < prefix.length) return answer;
  for (let i = 0; i < prefix.length; i++) if (answer[i] !== prefix[i]) return answer;
  return answer.subarray(prefix.length);
}

function encodeSimple(source: Endpoint, destination: Endpoint): Uint8Array {
  const bytes = new Uint8Array(SIMPLE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, SIMPLE_MAGIC);
  bytes.set(mapped(source.address), 2);
  bytes.set(mapped(destination.address), 18);
  view.setUint16(34, source.port);
  view.setUint16(36, destination.port);
  return bytes;
}

/** An IPv4 address as one of IPv6 (RFC 4291 §2.5.5.2). */
function mapped(address: string): Uint8Array {
  const bytes = addressBytes(address);
  if (bytes.length === 16) return bytes;
  const wide = new Uint8Array(16).fill(0xff, 10, 12);
  wide.set(bytes, 12);
  return wide;
}
