import { DerError, DerReader, readBits, readFlag, readInteger, readOid, readTime, TAG } from "./der.ts";
import { IdentityFault } from "./identity_fault.ts";
import {
  checkAlgorithm,
  type Extensions,
  OID,
  readExtensions,
  readSerial,
  readSigned,
  type Signed,
} from "./x509.ts";

/** More than any certificate has whose keys and names are of a sane size. */
const MAX_CERTIFICATE_BYTES = 65_536;

/** An X.509 certificate of version 3, taken apart; nothing in it is judged yet (RFC 5280 §4.1). */
export interface Certificate extends Signed {
  /** In hex. */
  readonly serial: string;
  /** A Name, whole. Names are compared byte by byte, as those who verify chains do. */
  readonly issuer: Uint8Array;
  readonly validity: Uint8Array;
  readonly subject: Uint8Array;
  /** SubjectPublicKeyInfo, whole. */
  readonly publicKey: Uint8Array;
  readonly extensions: Extensions;
}

/**
 * Reads what this plugin decides on: SAN, usages, serial number, issuer. What is in between, such as the parts of a
 * name, is passed over.
 *
 * @throws {DerError} It is not DER, or not a certificate of version 3.
 */
export function readCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new DerError(`It has ${der.length} bytes`);
  const signed = readSigned(der);
  const fields = new DerReader(signed.signedPart).enter();
  checkVersion3(fields);
  const serial = readSerial(fields);
  checkAlgorithm(fields, signed);
  const issuer = fields.readWhole(TAG.sequence);
  const validity = fields.read(TAG.sequence);
  const subject = fields.readWhole(TAG.sequence);
  const publicKey = fields.readWhole(TAG.sequence);
  fields.readOptional(0x81); // issuerUniqueID, subjectUniqueID: long out of use
  fields.readOptional(0x82);
  const extensions = readExtensions(fields.enterOptional(0xa3));
  fields.end();
  return { ...signed, serial, issuer, validity, subject, publicKey, extensions };
}

function checkVersion3(fields: DerReader): void {
  const version = fields.enter(0xa0);
  const number = readInteger(version);
  version.end();
  if (number.length !== 1 || number[0] !== 2) throw new DerError("It is not of version 3");
}

/** From when and until when a certificate is valid, both ends included. @throws {DerError} */
export function readValidity({ validity }: Certificate): { notBefore: number; notAfter: number } {
  const reader = new DerReader(validity);
  const notBefore = readTime(reader);
  const notAfter = readTime(reader);
  reader.end();
  return { notBefore, notAfter };
}

/** Extensions of a client's certificate that are understood, so that they may be critical. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.extendedKeyUsage,
]);

/** id-kp-clientAuth, 1.3.6.1.5.5.7.3.2. */
const CLIENT_AUTH = "2b06010505070302";

/**
 * Whether a certificate may stand for a client at all.
 *
 * - It must name the purpose `clientAuth`. The purpose `any` is not enough: it is what a CA writes that did not think
 *   of clients (RFC 5280 §4.2.1.12 leaves this to us).
 * - Its key usage, where it has one, must include digitalSignature, which is what TLS has the key do.
 * - It must not be one that issues others or revocation lists (X509-SVID §5.2).
 *
 * @throws {IdentityFault} `not_for_clients`, or `malformed_certificate` for a critical extension that is not known.
 * @throws {DerError}
 */
export function checkForClients({ extensions }: Certificate): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && !UNDERSTOOD.has(oid)) {
      throw new IdentityFault(
        "malformed_certificate",
        `The certificate has the critical extension ${oid} (DER, hex), which is not known`,
      );
    }
  }
  if (isMarkedAsAuthority(extensions)) throw notForClients("is that of a CA");
  const usage = readKeyUsage(extensions);
  if (usage?.digitalSignature === false) throw notForClients("has a key usage without digitalSignature");
  if (usage?.keyCertSign || usage?.crlSign) throw notForClients("has a key usage that only CAs have");
  const purposes = readPurposes(extensions);
  if (purposes === undefined) throw notForClients("has no extended key usage, wanted clientAuth");
  if (!purposes.includes(CLIENT_AUTH)) throw notForClients("has an extended key usage without clientAuth");
}

function notForClients(what: string): IdentityFault {
  return new IdentityFault("not_for_clients", `The certificate ${what}`);
}

/** Whether a certificate may issue others (RFC 5280 §6.1.4 k and n). @throws {DerError} */
export function isAuthority({ extensions }: Certificate): boolean {
  return isMarkedAsAuthority(extensions) && readKeyUsage(extensions)?.keyCertSign !== false;
}

/** Whether a CA may sign revocation lists (RFC 5280 §6.3.3 f). @throws {DerError} */
export function maySignRevocationLists({ extensions }: Certificate): boolean {
  return readKeyUsage(extensions)?.crlSign !== false;
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }. */
function isMarkedAsAuthority(extensions: Extensions): boolean {
  const constraints = enterExtension(extensions, OID.basicConstraints);
  if (constraints === undefined) return false;
  const authority = readFlag(constraints);
  if (!constraints.done) readInteger(constraints);
  constraints.end();
  return authority;
}

interface KeyUsage {
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly crlSign: boolean;
}

function readKeyUsage(extensions: Extensions): KeyUsage | undefined {
  const extension = extensions.get(OID.keyUsage);
  if (extension === undefined) return undefined;
  const reader = new DerReader(extension.value);
  const [bits = 0] = readBits(reader);
  reader.end();
  return {
    digitalSignature: (bits & 0x80) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    crlSign: (bits & 0x02) !== 0,
  };
}

/** ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId. */
function readPurposes(extensions: Extensions): string[] | undefined {
  const list = enterExtension(extensions, OID.extendedKeyUsage);
  if (list === undefined) return undefined;
  const purposes: string[] = [];
  while (!list.done) purposes.push(readOid(list));
  if (purposes.length === 0) throw new DerError("An empty extended key usage");
  return purposes;
}

/** GeneralName: all of its choices, and in the form that each must have, primitive or constructed (§4.2.1.6). */
const GENERAL_NAMES: ReadonlySet<number> = new Set([0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88]);
const URI = 0x86;

/** The URIs among the subject's alternative names, as raw bytes. @throws {DerError} */
export function readUris({ extensions }: Certificate): Uint8Array[] {
  const names = enterExtension(extensions, OID.subjectAltName);
  const uris: Uint8Array[] = [];
  if (names?.done) throw new DerError("An empty list of names");
  while (names?.tag !== undefined) {
    const { tag } = names;
    if (!GENERAL_NAMES.has(tag)) throw new DerError(`A name of an unknown kind, tag ${tag}`);
    const name = names.read(tag);
    if (tag === URI) uris.push(name);
  }
  return uris;
}

/** What is within the SEQUENCE that an extension's value is, to its very end. */
function enterExtension(extensions: Extensions, oid: string): DerReader | undefined {
  const extension = extensions.get(oid);
  if (extension === undefined) return undefined;
  const reader = new DerReader(extension.value);
  const content = reader.enter();
  reader.end();
  return content;
}
