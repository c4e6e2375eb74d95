import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  concat,
  der,
  derBits,
  derFlag,
  derInteger,
  derName,
  derOctets,
  derOid,
  derSequence,
  derTime,
  latin1,
  toPem,
} from "../../support/der.ts";

const DAY_MS = 86_400_000;
export const NOW = Date.UTC(2026, 5, 1, 12);
export const ISSUER = "tinyscale.com";
export const ALICE = "spiffe://tinyscale.com/orgs/org-1/users/alice";

export const ECDSA_SHA256 = derSequence(derOid("1.2.840.10045.4.3.2"));
export const CLIENT_AUTH = derOid("1.3.6.1.5.5.7.3.2");
export const SERVER_AUTH = derOid("1.3.6.1.5.5.7.3.1");
export const ANY_USAGE = derOid("2.5.29.37.0");

export const uri = (text: string): Uint8Array => der(0x86, latin1(text));
export const dns = (text: string): Uint8Array => der(0x82, latin1(text));

/** Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }. */
export function extension(oid: string, value: Uint8Array, critical = false): Uint8Array {
  return derSequence(derOid(oid), ...(critical ? [derFlag(0xff)] : []), derOctets(value));
}

export const san = (...names: readonly Uint8Array[]): Uint8Array =>
  extension("2.5.29.17", derSequence(...names));
export const usages = (...purposes: readonly Uint8Array[]): Uint8Array =>
  extension("2.5.29.37", derSequence(...purposes));
export const keyUsage = (bits: Uint8Array): Uint8Array => extension("2.5.29.15", bits, true);
export const constraints = (...content: readonly Uint8Array[]): Uint8Array =>
  extension("2.5.29.19", derSequence(...content), true);

/** Ids of the extensions that decide. */
export const BC = "2.5.29.19";
export const KU = "2.5.29.15";
export const EKU = "2.5.29.37";
export const SAN = "2.5.29.17";

const GOOD_BY_ID: Readonly<Record<string, Uint8Array>> = {
  [BC]: constraints(),
  [KU]: keyUsage(derBits(7, 0x80)),
  [EKU]: usages(CLIENT_AUTH),
  [SAN]: san(uri(ALICE)),
};

/** What a good client's certificate has. */
export const GOOD: readonly Uint8Array[] = Object.values(GOOD_BY_ID);

/** {@link GOOD}, but for these ids. */
export function goodWithout(...ids: readonly string[]): Uint8Array[] {
  return Object.entries(GOOD_BY_ID).filter(([id]) => !ids.includes(id)).map(([, bytes]) => bytes);
}

/** What a CA's certificate has. */
export const AUTHORITY: readonly Uint8Array[] = [constraints(derFlag(0xff)), keyUsage(derBits(1, 0x06))];

/** The parts of a certificate or of a revocation list that a case may want otherwise, all as DER. */
export interface CertificateParts {
  readonly version?: Uint8Array;
  readonly serial?: Uint8Array;
  readonly algorithm?: Uint8Array;
  /** The algorithm outside of what is signed. @default the other one */
  readonly outerAlgorithm?: Uint8Array;
  readonly issuer?: Uint8Array;
  readonly validity?: Uint8Array;
  readonly subject?: Uint8Array;
  readonly publicKey?: Uint8Array;
  readonly extensions?: readonly Uint8Array[];
  /** Behind the extensions, within what is signed. */
  readonly tail?: Uint8Array;
}

const NONE = new Uint8Array(0);

/** A certificate, written byte by byte; its signature is good for nothing unless `key` says who signs it. */
export function certificate(parts: CertificateParts = {}, key?: KeyObject): Uint8Array {
  const { algorithm = ECDSA_SHA256, outerAlgorithm = algorithm, extensions = GOOD } = parts;
  const signedPart = derSequence(
    parts.version ?? der(0xa0, derInteger(2)),
    parts.serial ?? derInteger(0x40, 1, 2, 3),
    algorithm,
    parts.issuer ?? derName("Test CA"),
    parts.validity ?? derSequence(derTime(NOW - DAY_MS), derTime(NOW + 30 * DAY_MS)),
    parts.subject ?? derName("alice"),
    parts.publicKey ?? derSequence(derSequence(derOid("1.3.101.112")), derBits(0, ...new Uint8Array(32))),
    extensions.length === 0 ? NONE : der(0xa3, derSequence(...extensions)),
    parts.tail ?? NONE,
  );
  return signed(signedPart, outerAlgorithm, key);
}

export interface ListParts {
  readonly version?: Uint8Array;
  readonly algorithm?: Uint8Array;
  readonly outerAlgorithm?: Uint8Array;
  readonly issuer?: Uint8Array;
  readonly thisUpdate?: number;
  /** `null` leaves it out. */
  readonly nextUpdate?: number | null;
  /** Each an INTEGER. */
  readonly revoked?: readonly Uint8Array[];
  readonly entryExtensions?: readonly Uint8Array[];
  readonly extensions?: readonly Uint8Array[];
}

/** A revocation list of `authority`. */
export function revocationList(authority: HandMadeAuthority, parts: ListParts = {}): Uint8Array {
  const { algorithm = ECDSA_SHA256, nextUpdate = NOW + DAY_MS, revoked = [], entryExtensions = [] } = parts;
  const entries = revoked.map((serial) =>
    derSequence(
      serial,
      derTime(NOW - DAY_MS),
      entryExtensions.length === 0 ? NONE : derSequence(...entryExtensions),
    )
  );
  const extensions = parts.extensions ?? [extension("2.5.29.20", derInteger(7))];
  const signedPart = derSequence(
    parts.version ?? derInteger(1),
    algorithm,
    parts.issuer ?? authority.name,
    derTime(parts.thisUpdate ?? NOW - 3_600_000),
    nextUpdate === null ? NONE : derTime(nextUpdate),
    entries.length === 0 ? NONE : derSequence(...entries),
    extensions.length === 0 ? NONE : der(0xa0, derSequence(...extensions)),
  );
  return signed(signedPart, parts.outerAlgorithm ?? algorithm, authority.key);
}

function signed(signedPart: Uint8Array, algorithm: Uint8Array, key: KeyObject | undefined): Uint8Array {
  const signature = key === undefined ? new Uint8Array(8) : sign("sha256", signedPart, key);
  return derSequence(signedPart, algorithm, derBits(0, ...signature));
}

/** A CA whose certificates and lists can be odd in any way. */
export interface HandMadeAuthority {
  readonly name: Uint8Array;
  readonly key: KeyObject;
  readonly publicKey: Uint8Array;
  readonly der: Uint8Array;
  readonly pem: string;
}

/** @param above Who issues it. @default itself */
export function authority(
  commonName: string,
  { above, ...parts }: CertificateParts & { readonly above?: HandMadeAuthority } = {},
): HandMadeAuthority {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = derName(commonName);
  const publicKey = new Uint8Array(keys.publicKey.export({ type: "spki", format: "der" }));
  const bytes = certificate({
    subject: name,
    issuer: above?.name ?? name,
    publicKey,
    extensions: AUTHORITY,
    ...parts,
  }, above?.key ?? keys.privateKey);
  return { name, key: keys.privateKey, publicKey, der: bytes, pem: toPem("CERTIFICATE", bytes) };
}

/** The certificate of a client. */
export function issue(by: HandMadeAuthority, parts: CertificateParts = {}): Uint8Array {
  return certificate({ issuer: by.name, ...parts }, by.key);
}

export const crlPem = (...lists: readonly Uint8Array[]): string =>
  lists.map((list) => toPem("X509 CRL", list)).join("");

/** `bytes` with other ones in place of the first `wanted`, whatever lengths say then. */
export function replaceBytes(bytes: Uint8Array, wanted: Uint8Array, by: Uint8Array): Uint8Array {
  const at = bytes.toHex().indexOf(wanted.toHex()) / 2;
  if (!Number.isInteger(at) || at < 0) throw new RangeError("These bytes do not occur");
  return concat(bytes.subarray(0, at), by, bytes.subarray(at + wanted.length));
}
