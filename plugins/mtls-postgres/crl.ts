import { setImmediate } from "node:timers/promises";
import { GatewayError } from "../../core/plugin/mod.ts";
import { type CertificateList, readCertificateList } from "./certificate_list.ts";
import { type Certificate, maySignRevocationLists, readCertificate } from "./client_certificate.ts";
import { DerError } from "./der.ts";
import { IdentityFault } from "./identity_fault.ts";
import { Issuers } from "./issuers.ts";
import { decodeBase64, decodePem } from "./pem.ts";
import { isSignedBy, isSupported } from "./signature.ts";
import { sameBytes } from "./x509.ts";

/** A list of one CA, for people. */
export interface RevocationListInfo {
  /** The path of its file, as written in the config. */
  readonly file: string;
  /** Milliseconds since 1970, as is `nextUpdate`. */
  readonly thisUpdate: number;
  /** From then on nobody with a certificate of this CA gets in, until there is a newer list. */
  readonly nextUpdate: number;
  /** How many certificates are revoked. */
  readonly revoked: number;
}

interface RevocationList extends RevocationListInfo {
  readonly serials: ReadonlySet<string>;
  /** The key that has signed it, DER in hex. A CA that has changed its key has one list for each. */
  readonly key: string;
}

/**
 * Which certificates their CAs have taken back (RFC 5280 §5). Lists are optional for each CA: of a CA without one,
 * nothing is revoked. Where there is one, it must be current, or nobody with a certificate of that CA gets in.
 */
export class RevocationLists {
  /** By the issuer's Name, DER in hex. */
  readonly #byIssuer: ReadonlyMap<string, readonly RevocationList[]>;
  readonly #issuers: Issuers;

  private constructor(
    byIssuer: ReadonlyMap<string, readonly RevocationList[]>,
    authorities: readonly Certificate[],
  ) {
    this.#byIssuer = byIssuer;
    this.#issuers = new Issuers(authorities);
  }

  /**
   * Reads lists and verifies that each is signed by one of the CAs. Of several by the same key of a CA, the newest
   * counts. A list that is out of date is taken all the same: it is for {@link RevocationLists.check} to refuse.
   *
   * @param files PEM (any number of `X509 CRL` blocks) or the base64 of one list, by path.
   * @param caPem The CAs, PEM. The list of an intermediate CA is believed only if that CA is among them.
   * @throws {GatewayError} `certificate-invalid`, with the path of the file: it has no list, a list is malformed or of
   * a kind that is not supported (delta, indirect, or of one distribution point), or its CA is not known.
   */
  static async parse(files: Readonly<Record<string, string>>, caPem: string): Promise<RevocationLists> {
    const byIssuer = new Map<string, RevocationList[]>();
    const paths = Object.entries(files);
    const authorities = paths.length === 0 ? [] : readAuthorities(caPem);
    for (const [path, text] of paths) {
      await setImmediate(); // a megabyte takes tens of milliseconds: connections are not to wait for all files
      for (const list of readLists(path, text)) addList(byIssuer, list, authorities, path);
    }
    return new RevocationLists(byIssuer, authorities);
  }

  /** What was loaded, without what newer lists have replaced. */
  get lists(): RevocationListInfo[] {
    return [...this.#byIssuer.values()].flat().map(({ file, thisUpdate, nextUpdate, revoked }) => (
      { file, thisUpdate, nextUpdate, revoked }
    ));
  }

  /**
   * Refuses a chain of which a certificate is revoked, or may be.
   *
   * @param chain DER, leaf first, verified; without the trusted CA.
   * @param leaf The first of them, read.
   * @param now Milliseconds since 1970.
   * @throws {IdentityFault} `revoked`, `crl_unusable`.
   * @throws {DerError} For what is behind the leaf.
   */
  check(chain: readonly Uint8Array[], leaf: Certificate, now: number): void {
    if (this.#byIssuer.size === 0) return;
    for (const { issuer, serial } of this.#issuers.pathOf(chain, leaf, now)) {
      const lists = this.#byIssuer.get(issuer) ?? [];
      if (lists.some(({ serials }) => serials.has(serial))) {
        throw new IdentityFault("revoked", `The CA has revoked the certificate with serial number ${serial}`);
      }
      for (const list of lists) checkCurrent(list, now);
    }
  }
}

function checkCurrent({ file, thisUpdate, nextUpdate }: RevocationList, now: number): void {
  if (now < thisUpdate) {
    throw unusable(file, `counts from ${new Date(thisUpdate).toISOString()} on`);
  }
  if (now >= nextUpdate) {
    throw unusable(file, `was to be replaced by ${new Date(nextUpdate).toISOString()}`);
  }
}

function unusable(file: string, why: string): IdentityFault {
  return new IdentityFault("crl_unusable", `The revocation list in "${file}" ${why}`);
}

function readAuthorities(pem: string): Certificate[] {
  try {
    return decodePem(pem, "CERTIFICATE").map(readCertificate);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw invalid(`A CA certificate for client certificates is malformed: ${error.message}`, error);
  }
}

function readLists(path: string, text: string): CertificateList[] {
  try {
    const lists = text.includes("-----BEGIN") ? decodePem(text, "X509 CRL") : [decodeBase64(text)];
    if (lists.length > 0) return lists.map(readCertificateList);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw invalid(`Cannot use the revocation list in "${path}": ${error.message}`, error);
  }
  throw invalid(`No revocation list in "${path}": it must be PEM, "-----BEGIN X509 CRL-----"`);
}

function addList(
  byIssuer: Map<string, RevocationList[]>,
  list: CertificateList,
  authorities: readonly Certificate[],
  file: string,
): void {
  const { thisUpdate, nextUpdate, serials } = list;
  const key = signerOf(list, authorities, file).publicKey.toHex();
  const issuer = list.issuer.toHex();
  const others = byIssuer.get(issuer) ?? [];
  if (others.some((other) => other.key === key && other.thisUpdate > thisUpdate)) return;
  // Of two at the same moment nobody knows which is newer: both count.
  const kept = others.filter((other) => other.key !== key || other.thisUpdate === thisUpdate);
  byIssuer.set(issuer, [...kept, { file, thisUpdate, nextUpdate, revoked: serials.size, serials, key }]);
}

function signerOf(list: CertificateList, authorities: readonly Certificate[], file: string): Certificate {
  const named = authorities.filter(({ subject }) => sameBytes(subject, list.issuer));
  if (named.length === 0) throw invalid(`The revocation list in "${file}" is of none of the configured CAs`);
  if (!isSupported(list)) {
    throw invalid(`The revocation list in "${file}" is signed with an algorithm that is not supported`);
  }
  const signer = named.find(({ publicKey }) => isSignedBy(list, publicKey));
  if (signer === undefined) {
    throw invalid(`The revocation list in "${file}" is not signed by the CA that it names`);
  }
  if (!maySignRevocationLists(signer)) {
    throw invalid(`The CA of the revocation list in "${file}" may sign none: its key usage lacks cRLSign`);
  }
  return signer;
}

function invalid(message: string, cause?: unknown): GatewayError {
  return new GatewayError("certificate-invalid", message, { cause });
}
