const VERSION_TLS_1_2 = 0x0303;
const VERSION_TLS_1_3 = 0x0304;
const RECORD_HANDSHAKE = 22;
const HANDSHAKE_CLIENT_HELLO = 1;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_SUPPORTED_GROUPS = 10;
const EXTENSION_SIGNATURE_ALGORITHMS = 13;
const EXTENSION_SUPPORTED_VERSIONS = 43;
const EXTENSION_KEY_SHARE = 51;
const X25519 = 0x001d;

/** As long as what OpenSSL 3 sends with its defaults, so that a proxy reads and copies as much as in real life. */
const HELLO_BYTES = 512;
const EXTENSION_PADDING = 21;

/**
 * A whole ClientHello in one TLS record (RFC 8446 §4.1.2), as proxies that route by name want it. The keys in it are
 * zeros: nothing behind the proxy does a handshake.
 */
export function clientHello(serverName: string): Uint8Array {
  const extensions = [
    extension(EXTENSION_SERVER_NAME, sized(2, [0, ...sized(2, ascii(serverName))])),
    extension(EXTENSION_SUPPORTED_GROUPS, sized(2, u16(X25519))),
    extension(EXTENSION_SIGNATURE_ALGORITHMS, sized(2, [...u16(0x0403), ...u16(0x0804)])),
    extension(EXTENSION_SUPPORTED_VERSIONS, sized(1, [...u16(VERSION_TLS_1_3), ...u16(VERSION_TLS_1_2)])),
    extension(EXTENSION_KEY_SHARE, sized(2, [...u16(X25519), ...sized(2, zeros(32))])),
  ].flat();
  const bare = record(extensions).length + extension(EXTENSION_PADDING, []).length;
  return record([...extensions, ...extension(EXTENSION_PADDING, zeros(Math.max(0, HELLO_BYTES - bare)))]);
}

function record(extensions: readonly number[]): Uint8Array {
  const body = [
    ...u16(VERSION_TLS_1_2),
    ...zeros(32), // random
    ...sized(1, zeros(32)), // session id
    ...sized(2, [...u16(0x1301), ...u16(0xc02b)]), // TLS_AES_128_GCM_SHA256, ECDHE-ECDSA-AES128-GCM-SHA256
    ...sized(1, [0]), // no compression
    ...sized(2, extensions),
  ];
  const handshake = [HANDSHAKE_CLIENT_HELLO, ...sized(3, body)];
  return Uint8Array.from([RECORD_HANDSHAKE, 3, 1, ...sized(2, handshake)]);
}

function extension(type: number, data: readonly number[]): number[] {
  return [...u16(type), ...sized(2, data)];
}

/** `data` behind its length in `width` bytes, big-endian. */
function sized(width: number, data: readonly number[]): number[] {
  return [...Array.from({ length: width }, (_, i) => (data.length >> (8 * (width - 1 - i))) & 0xff), ...data];
}

function u16(value: number): number[] {
  return [value >> 8, value & 0xff];
}

function zeros(length: number): number[] {
  return new Array(length).fill(0);
}

function ascii(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}
