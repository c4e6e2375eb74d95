const VERSION = 1;
const encoder = new TextEncoder();

/**
 * What each data stream to a go-tunnel agent begins with: the version (1 byte), the length of the host (2), the host.
 *
 * @param host As the agent has registered it, letter for letter; 1 to 65,535 bytes.
 */
export function encodeGoTunnelHeader(host: string): Uint8Array {
  const name = encoder.encode(host);
  if (name.length === 0 || name.length > 0xffff) throw new RangeError(`A stream cannot be for "${host}"`);
  const header = new Uint8Array(3 + name.length);
  header[0] = VERSION;
  new DataView(header.buffer).setUint16(1, name.length);
  header.set(name, 3);
  return header;
}
