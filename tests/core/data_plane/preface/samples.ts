/** What makes a ClientHello; each part can be given raw, to be wrong. */
export interface HelloParts {
  readonly legacyVersion?: number;
  readonly sessionId?: Uint8Array;
  readonly cipherSuites?: Uint8Array;
  readonly compressions?: Uint8Array;
  /** Absent: no extensions field at all. */
  readonly extensions?: readonly Uint8Array[];
}

const encoder = new TextEncoder();

export function bytes(...parts: (Uint8Array | readonly number[] | number | string)[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => {
    if (typeof part === "string") return [...encoder.encode(part)];
    return typeof part === "number" ? [part] : [...part];
  }));
}

export function uint16Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

/** `body` behind its length in `size` bytes. */
export function sized(size: 1 | 2 | 3, body: Uint8Array): Uint8Array {
  const length = [body.length >>> 16, body.length >>> 8 & 0xff, body.length & 0xff].slice(3 - size);
  return bytes(length, body);
}

export function extension(type: number, data: Uint8Array): Uint8Array {
  return bytes(uint16Bytes(type), sized(2, data));
}

export function serverName(name: string | Uint8Array): Uint8Array {
  return extension(0, sized(2, bytes(0, sized(2, bytes(name)))));
}

export function alpn(...names: string[]): Uint8Array {
  return extension(16, sized(2, bytes(...names.map((name) => sized(1, bytes(name))))));
}

export function supportedVersions(...versions: number[]): Uint8Array {
  return extension(43, sized(1, bytes(...versions.map(uint16Bytes))));
}

/** The handshake message, with its 4-byte header. */
export function helloMessage(parts: HelloParts = {}): Uint8Array {
  const { extensions } = parts;
  const body = bytes(
    uint16Bytes(parts.legacyVersion ?? 0x0303),
    new Uint8Array(32).fill(7),
    sized(1, parts.sessionId ?? new Uint8Array(0)),
    sized(2, parts.cipherSuites ?? Uint8Array.of(0x13, 0x01)),
    sized(1, parts.compressions ?? Uint8Array.of(0)),
    extensions === undefined ? [] : sized(2, bytes(...extensions)),
  );
  return bytes(1, sized(3, body));
}

/** `message` in records whose bodies have `sizes` bytes in turn, the last of them again and again. */
export function inRecords(message: Uint8Array, ...sizes: number[]): Uint8Array {
  const records: Uint8Array[] = [];
  for (let at = 0, i = 0; at < message.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)] ?? 16_384;
    const body = message.subarray(at, at + size);
    records.push(Uint8Array.of(22, 3, 1, body.length >>> 8, body.length & 0xff), body);
    at += body.length;
  }
  return bytes(...records);
}

/** A hello with a name, ALPN and versions, in one record. */
export const HELLO: Uint8Array = inRecords(helloMessage({
  extensions: [
    serverName("db.example.com"),
    supportedVersions(0x7a7a, 0x0304, 0x0303),
    alpn("postgresql"),
    extension(0xfe0d, new Uint8Array(20)),
  ],
}));

/** A hello over 16 KiB, which needs two records. */
export const LARGE_HELLO: Uint8Array = inRecords(helloMessage({
  extensions: [serverName("large.example.com"), extension(51, new Uint8Array(20_000).fill(5))],
}));

export const SSL_REQUEST: Uint8Array = Uint8Array.fromHex("0000000804d2162f");
export const GSSENC_REQUEST: Uint8Array = Uint8Array.fromHex("0000000804d21630");
export const CANCEL_REQUEST: Uint8Array = Uint8Array.fromHex("0000001004d2162e0000002a01020304");
export const LONG_CANCEL_REQUEST: Uint8Array = bytes(
  Uint8Array.fromHex("0000010c04d2162e0000002a"),
  new Uint8Array(256),
);

/** A StartupMessage with these names and values. */
export function startup(parameters: string, code: readonly number[] = [0, 3, 0, 0]): Uint8Array {
  const body = bytes(code, parameters, 0);
  const length = body.length + 4;
  return bytes(length >>> 24 & 0xff, length >>> 16 & 0xff, length >>> 8 & 0xff, length & 0xff, body);
}

export const STARTUP: Uint8Array = startup("user\0alice\0database\0shop\0");

export const PROXY_V1: Uint8Array = bytes("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n");

const V2_SIGNATURE = Uint8Array.fromHex("0d0a0d0a000d0a515549540a");

/** A version 2 header made by hand: `command` such as 0x21, `family` such as 0x11. */
export function proxyV2(command: number, family: number, block: Uint8Array): Uint8Array {
  return bytes(V2_SIGNATURE, command, family, sized(2, block));
}

/** 203.0.113.9:56324 to 192.0.2.1:443. */
export const V2_IPV4_BLOCK: Uint8Array = Uint8Array.fromHex("cb007109c0000201dc0401bb");

export function tlv(type: number, value: Uint8Array): Uint8Array {
  return bytes(type, sized(2, value));
}
