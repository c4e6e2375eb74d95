import { DerError, DerReader, readFlag, readInteger, readOid, TAG } from "./der.ts";

/** What certificates and revocation lists have in common (RFC 5280 §4.1.1 and §5.1.1). */
export interface Signed {
  /** The part that is signed, whole. */
  readonly signedPart: Uint8Array;
  /** The AlgorithmIdentifier, whole. The signed part must have the very same: see {@link checkAlgorithm}. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Extension {
  /** Whoever does not understand it must refuse the whole (RFC 5280 §4.2). */
  readonly critical: boolean;
  /** DER. */
  readonly value: Uint8Array;
}

/** By object identifier, in hex as {@link OID} has them. */
export type Extensions = ReadonlyMap<string, Extension>;

/** Object identifiers of extensions, in hex (RFC 5280 §4.2.1, §5.2 and §5.3). */
export const OID = {
  keyUsage: "551d0f",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  crlNumber: "551d14",
  deltaCrlIndicator: "551d1b",
  issuingDistributionPoint: "551d1c",
  certificateIssuer: "551d1d",
  authorityKeyIdentifier: "551d23",
  extendedKeyUsage: "551d25",
} as const;

/** A serial number has 20 bytes at most (RFC 5280 §4.1.2.2). */
const MAX_SERIAL_BYTES = 20;
const NO_EXTENSIONS: Extensions = new Map();

/** Takes the three parts of what is signed apart. @throws {DerError} */
export function readSigned(der: Uint8Array): Signed {
  const outer = new DerReader(der);
  const parts = outer.enter();
  outer.end();
  const signedPart = parts.readWhole(TAG.sequence);
  const algorithm = parts.readWhole(TAG.sequence);
  const signature = parts.read(TAG.bitString);
  parts.end();
  if (signature[0] !== 0) throw new DerError("A signature that is not of whole bytes");
  return { signedPart, algorithm, signature: signature.subarray(1) };
}

/**
 * Reads the algorithm that stands in the signed part. That it is the one that stands outside is required (RFC 5280
 * §4.1.1.2): nothing protects the outer one.
 *
 * @throws {DerError}
 */
export function checkAlgorithm(reader: DerReader, { algorithm }: Signed): void {
  if (!sameBytes(reader.readWhole(TAG.sequence), algorithm)) {
    throw new DerError("It names two different signature algorithms");
  }
}

/** A CertificateSerialNumber in hex; equal strings are equal numbers. @throws {DerError} */
export function readSerial(reader: DerReader): string {
  const serial = readInteger(reader);
  if (serial.length > MAX_SERIAL_BYTES) throw new DerError(`A serial number of ${serial.length} bytes`);
  return serial.toHex();
}

/**
 * Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension. The same one twice is refused, as two readers may each take
 * another one for it (RFC 5280 §4.2).
 *
 * @param reader Stands before the SEQUENCE, and has nothing behind it. Absent: there are none.
 * @throws {DerError}
 */
export function readExtensions(reader: DerReader | undefined): Extensions {
  if (reader === undefined) return NO_EXTENSIONS;
  const list = reader.enter();
  reader.end();
  if (list.done) throw new DerError("An empty list of extensions");
  const extensions = new Map<string, Extension>();
  while (!list.done) {
    const extension = list.enter();
    const oid = readOid(extension);
    if (extensions.has(oid)) throw new DerError(`Extension ${oid} occurs twice`);
    extensions.set(oid, { critical: readFlag(extension), value: extension.read(TAG.octetString) });
    extension.end();
  }
  return extensions;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
