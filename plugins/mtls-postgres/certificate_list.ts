import { DerError, DerReader, readInteger, readTime, TAG } from "./der.ts";
import {
  checkAlgorithm,
  type Extensions,
  OID,
  readExtensions,
  readSerial,
  readSigned,
  type Signed,
} from "./x509.ts";

/** A certificate revocation list, taken apart; whether it is genuine is not known yet (RFC 5280 §5.1). */
export interface CertificateList extends Signed {
  /** A Name, whole. */
  readonly issuer: Uint8Array;
  /** Milliseconds since 1970, as is `nextUpdate`. */
  readonly thisUpdate: number;
  /** From then on there is a newer list, and this one does not tell what was revoked. */
  readonly nextUpdate: number;
  /** Serial numbers of revoked certificates, in hex. */
  readonly serials: ReadonlySet<string>;
}

/** Extensions that change nothing of what the list says, so that they may be critical. */
const UNDERSTOOD: ReadonlySet<string> = new Set([OID.authorityKeyIdentifier, OID.crlNumber]);
/** With one of these, the list is not the whole list of one CA. */
const PARTIAL: Readonly<Record<string, string>> = {
  [OID.deltaCrlIndicator]: "a delta CRL",
  [OID.issuingDistributionPoint]: "only for one distribution point",
  [OID.certificateIssuer]: "an indirect CRL, of several CAs",
};

/**
 * Reads a complete CRL, of all certificates of its issuer: a list that is less would let pass who is revoked on
 * another one.
 *
 * @throws {DerError} It is not DER, or a kind of list that is not supported.
 */
export function readCertificateList(der: Uint8Array): CertificateList {
  const signed = readSigned(der);
  const fields = new DerReader(signed.signedPart).enter();
  const version2 = readVersion(fields);
  checkAlgorithm(fields, signed);
  const issuer = fields.readWhole(TAG.sequence);
  const thisUpdate = readTime(fields);
  if (fields.tag !== TAG.utcTime && fields.tag !== TAG.generalizedTime) {
    throw new DerError("It does not say when the next one comes (nextUpdate)");
  }
  const nextUpdate = readTime(fields);
  const serials = readRevoked(fields.enterOptional(TAG.sequence), version2);
  if (version2) checkExtensions(readExtensions(fields.enterOptional(0xa0)));
  fields.end();
  return { ...signed, issuer, thisUpdate, nextUpdate, serials };
}

/** Version 2 is the number 1; version 1 says nothing, and has no extensions. */
function readVersion(fields: DerReader): boolean {
  if (fields.tag !== TAG.integer) return false;
  const version = readInteger(fields);
  if (version.length !== 1 || version[0] !== 1) throw new DerError("It is of neither version 1 nor 2");
  return true;
}

function readRevoked(list: DerReader | undefined, version2: boolean): Set<string> {
  const serials = new Set<string>();
  while (list?.done === false) {
    const entry = list.enter();
    serials.add(readSerial(entry));
    readTime(entry);
    // The reason does not matter here: who is on the list is revoked.
    if (version2 && !entry.done) checkExtensions(readExtensions(entry));
    entry.end();
  }
  return serials;
}

function checkExtensions(extensions: Extensions): void {
  for (const [oid, { critical }] of extensions) {
    const partial = PARTIAL[oid];
    if (partial !== undefined) throw new DerError(`It is ${partial}, which is not supported`);
    if (critical && !UNDERSTOOD.has(oid)) throw new DerError(`Its critical extension ${oid} is not known`);
  }
}
