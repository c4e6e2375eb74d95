import { createHash } from "node:crypto";
import { Lru } from "../../core/tls/lru.ts";
import { type Certificate, isAuthority, readCertificate, readValidity } from "./client_certificate.ts";
import { IdentityFault } from "./identity_fault.ts";
import { isSignedBy } from "./signature.ts";
import { sameBytes } from "./x509.ts";

/** Clients whose path is known. 5,000 take about 3 MB. */
const MAX_REMEMBERED = 5000;

/** A certificate as its issuer knows it. */
export interface Issued {
  /** The issuer's Name, DER in hex. */
  readonly issuer: string;
  /** In hex. */
  readonly serial: string;
}

/** A path, for as long as all of its certificates are valid; milliseconds since 1970. */
interface ProvenPath {
  readonly issued: readonly Issued[];
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Finds out who really issued a certificate. Whoever verified the chain does not tell by which path it led to a CA, and
 * sorts what the client sent by names alone. A client who has the key of a revoked intermediate CA would add another
 * certificate of the same name, which is on nobody's list; so each step counts only with its signature.
 */
export class Issuers {
  readonly #authorities: readonly Certificate[];
  /** By SHA-256 of what the client sent: signatures take longer to verify than all the rest. */
  readonly #proven = new Lru<ProvenPath>(MAX_REMEMBERED);

  /** @param authorities The trusted CAs. */
  constructor(authorities: readonly Certificate[]) {
    this.#authorities = authorities;
  }

  /**
   * The leaf and the intermediate CAs above it, up to a trusted CA, which is not among them.
   *
   * @param chain DER, leaf first, each one's issuer behind it.
   * @param leaf The first of them, read.
   * @throws {IdentityFault} `crl_unusable`: without knowing who issued it, nobody can tell whether it is revoked.
   * @throws {DerError} For what is behind the leaf.
   */
  pathOf(chain: readonly Uint8Array[], leaf: Certificate, now: number): readonly Issued[] {
    const id = fingerprintOf(chain);
    const known = this.#proven.get(id);
    if (known !== undefined && known.notBefore <= now && now <= known.notAfter) return known.issued;
    const path = this.#prove(chain, leaf, now);
    this.#proven.set(id, path);
    return path.issued;
  }

  #prove(chain: readonly Uint8Array[], leaf: Certificate, now: number): ProvenPath {
    const issued: Issued[] = [];
    let [notBefore, notAfter] = [-Infinity, Infinity];
    let certificate = leaf;
    for (let i = 1;; i++) {
      issued.push({ issuer: certificate.issuer.toHex(), serial: certificate.serial });
      if (this.#isFromAuthority(certificate)) return { issued, notBefore, notAfter };
      const der = chain[i];
      if (der === undefined) throw unknownIssuer("It does not lead to a CA");
      const issuer = readCertificate(der);
      const validity = readValidity(issuer);
      checkIssuer(certificate, issuer, validity, now);
      notBefore = Math.max(notBefore, validity.notBefore);
      notAfter = Math.min(notAfter, validity.notAfter);
      certificate = issuer;
    }
  }

  #isFromAuthority(certificate: Certificate): boolean {
    return this.#authorities.some((authority) => isIssuedBy(certificate, authority));
  }
}

function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return sameBytes(certificate.issuer, issuer.subject) && isSignedBy(certificate, issuer.publicKey);
}

/** What verifying a chain asks of a CA (RFC 5280 §6.1.3 and §6.1.4): an ordinary certificate issues none. */
function checkIssuer(
  certificate: Certificate,
  issuer: Certificate,
  { notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number },
  now: number,
): void {
  if (!isIssuedBy(certificate, issuer)) throw unknownIssuer("A certificate is not signed by the next one");
  if (!isAuthority(issuer)) throw unknownIssuer("One that issued another is not a CA");
  if (now < notBefore || now > notAfter) throw unknownIssuer("An intermediate CA is not valid at this time");
}

function unknownIssuer(why: string): IdentityFault {
  return new IdentityFault(
    "crl_unusable",
    `Cannot tell whether the certificate is revoked, as the chain does not show who issued it: ${why}`,
  );
}

function fingerprintOf(chain: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const der of chain) hash.update(der);
  return hash.digest("base64");
}
