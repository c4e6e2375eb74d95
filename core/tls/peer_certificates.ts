import { createHash, X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import { GatewayError, messageOf } from "../errors.ts";
import { ALERT } from "./alert.ts";
import { Lru } from "./lru.ts";

/** A client sends its certificate and a few intermediates; more than this is not looked at. */
const MAX_CHAIN = 10;
/** How many clients of one CA can come back with a session ticket. 20,000 take about 3 MB. */
const MAX_REMEMBERED = 20_000;

/** What is to be thought of a client's certificate. */
export type Judgement =
  /** `chain` is DER, leaf first, without the CA that it leads to. */
  | { readonly kind: "verified"; readonly chain: readonly Uint8Array[] }
  | { readonly kind: "refused"; readonly reason: string; readonly alert: number }
  | { readonly kind: "none" };

/**
 * As `#verified`, for all sets of CAs: sessions outlive a change of them, and while a CA is rotated clients that come
 * back must not be taken for strangers.
 */
const verifiedAnywhere = new Lru<number>(MAX_REMEMBERED);

/**
 * Decides whose client certificate is believed, for one set of CAs.
 *
 * `node:tls` on this runtime cannot be taken at its word alone. It verifies a chain in a full handshake only, and
 * issues session tickets without being asked: a client whose chain was refused comes back with its ticket, and is
 * called `authorized`, with that very chain. Tickets are also shared by all servers of a process, whatever their
 * CAs. So a resumed session counts only when a full handshake has shown this very chain to be good, under these CAs
 * or under others while it leads to one of these as well, and only until the first of its certificates expires.
 */
export class ClientCertificates {
  /** SHA-256 of a verified chain → milliseconds since 1970 at which it stops to be good. */
  readonly #verified = new Lru<number>(MAX_REMEMBERED);
  /** By their DER in hex. */
  readonly #anchors: ReadonlyMap<string, X509Certificate>;

  /**
   * @param ca The trusted CAs, PEM.
   * @throws {GatewayError} `certificate-invalid`: nothing there to trust, not X.509 v3, or a circle.
   */
  constructor(ca: string) {
    this.#anchors = new Map(readAnchors(ca).map((anchor) => [anchor.raw.toHex(), anchor]));
  }

  /**
   * Whether the client of a finished handshake is believed. Never throws: it runs within a callback of the runtime,
   * on what a stranger has sent.
   *
   * @param socket From a server that asked for a certificate under the same CAs.
   */
  judge(socket: TLSSocket): Judgement {
    try {
      return this.#judge(socket);
    } catch (error) {
      return refused(`cannot be read: ${messageOf(error)}`);
    }
  }

  #judge(socket: TLSSocket): Judgement {
    const leaf = socket.getPeerX509Certificate();
    if (leaf === undefined) return { kind: "none" };
    if (!socket.authorized) return refusalOf(leaf);
    const { raw, validTo } = leaf;
    // The runtime lets a version 1 certificate pass without proof that the client has its key.
    if (!isVersion3(raw)) return refused("is not X.509 version 3", ALERT.unsupportedCertificate);
    // A client seldom sends more than its own, and for the whole chain the runtime parses every CA again.
    const certificates = leaf.issuerCertificate === undefined
      ? [{ raw, valid_to: validTo }]
      : this.#chainOf(socket.getPeerCertificate(true));
    const chain = certificates.map(({ raw }) => new Uint8Array(raw));
    const fingerprint = fingerprintOf(chain);
    if (!socket.isSessionReused()) {
      const until = expiryOf(certificates);
      this.#verified.set(fingerprint, until);
      verifiedAnywhere.set(fingerprint, until);
    } else if (!this.#isVerified(fingerprint, chain)) {
      return refused("comes from a session that was not verified here");
    }
    return { kind: "verified", chain };
  }

  #isVerified(fingerprint: string, chain: readonly Uint8Array[]): boolean {
    const now = Date.now();
    if ((this.#verified.get(fingerprint) ?? 0) > now) return true;
    const until = verifiedAnywhere.get(fingerprint) ?? 0;
    if (until <= now || !leadsTo([...this.#anchors.values()], chain)) return false;
    this.#verified.set(fingerprint, until);
    return true;
  }

  /**
   * What the client sent, each certificate once, up to our CAs, which the runtime appends by their names alone. The
   * leaf stays the first whatever it is: it is the only one for which the client has shown that it has the key.
   */
  #chainOf(leaf: DetailedPeerCertificate): DetailedPeerCertificate[] {
    const chain = [leaf];
    const seen = new Set([leaf.raw.toHex()]);
    let next = leaf.issuerCertificate;
    for (
      let steps = 0;
      next?.raw !== undefined && steps < MAX_CHAIN;
      steps++, next = next.issuerCertificate
    ) {
      const id = next.raw.toHex();
      if (this.#anchors.has(id)) break;
      if (!seen.has(id)) chain.push(next);
      seen.add(id);
    }
    return chain;
  }
}

/** Why the runtime did not authorize it: it says the same of nearly everything, so this looks for the usual cause. */
function refusalOf({ validFrom, validTo }: X509Certificate): Judgement {
  const now = Date.now();
  if (Date.parse(validTo) <= now) return refused(`has expired on ${validTo}`, ALERT.certificateExpired);
  if (Date.parse(validFrom) > now) return refused(`is not valid before ${validFrom}`);
  return refused("does not lead to a trusted CA, or is not for clients", ALERT.unknownCa);
}

function refused(what: string, alert: number = ALERT.badCertificate): Judgement {
  return { kind: "refused", reason: `The client certificate ${what}`, alert };
}

/**
 * Whether a chain that was verified before leads to one of these CAs, by its signatures: names alone say nothing when
 * a CA was replaced by one of the same name.
 */
function leadsTo(anchors: readonly X509Certificate[], chain: readonly Uint8Array[]): boolean {
  const [leaf, ...others] = chain.map((der) => new X509Certificate(der as Uint8Array<ArrayBuffer>));
  let current = leaf;
  for (let steps = 0; current !== undefined && steps <= others.length; steps++) {
    const issued = current;
    if (anchors.some((anchor) => isIssuedBy(issued, anchor))) return true;
    current = others.find((other) => other !== issued && other.ca && isIssuedBy(issued, other));
  }
  return false;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.issuer === issuer.subject && certificate.verify(issuer.publicKey);
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function readAnchors(ca: string): X509Certificate[] {
  const anchors = (ca.match(CERTIFICATE) ?? []).map(parseAnchor);
  if (anchors.length === 0) throw invalid("No CA certificate to verify clients against");
  // A client that shows a trusted version 1 certificate as its own would be believed without having its key.
  if (!anchors.every(({ raw }) => isVersion3(raw))) {
    throw invalid("A CA for client certificates must be X.509 version 3");
  }
  // The runtime follows issuers by name until one has issued itself, and in a circle for ever.
  if (anchors.some((anchor) => leadsInCircles(anchor, anchors))) {
    throw invalid(
      "The CAs for client certificates issued each other: the root itself must be among them, and first",
    );
  }
  return anchors;
}

function leadsInCircles(start: X509Certificate, among: readonly X509Certificate[]): boolean {
  let current = start;
  for (let steps = 0; steps <= among.length; steps++) {
    const { subject, issuer } = current;
    const above = subject === issuer ? undefined : among.find((one) => one.subject === issuer);
    if (above === undefined) return false;
    current = above;
  }
  return true;
}

function parseAnchor(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw invalid("A CA certificate to verify clients against is malformed", error);
  }
}

function invalid(message: string, cause?: unknown): GatewayError {
  return new GatewayError("certificate-invalid", message, { cause });
}

/** Certificate ::= SEQUENCE { TBSCertificate ::= SEQUENCE { [0] { INTEGER 2 } …  (RFC 5280 §4.1). */
function isVersion3(der: Uint8Array): boolean {
  const at = contentStart(der, contentStart(der, 0));
  return [0xa0, 3, 2, 1, 2].every((byte, i) => der[at + i] === byte);
}

/** Where the content of the DER element at `at` begins: behind its tag and its length. */
function contentStart(der: Uint8Array, at: number): number {
  const length = der[at + 1] ?? 0;
  return at + 2 + (length > 0x80 ? length & 0x7f : 0);
}

function fingerprintOf(chain: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const der of chain) hash.update(der); // DER says its own length: where one ends is never in doubt
  return hash.digest("base64");
}

/** When the first certificate expires. One that has expired already was not needed to verify the chain. */
function expiryOf(certificates: readonly Pick<DetailedPeerCertificate, "valid_to">[]): number {
  const now = Date.now();
  const ends = certificates.map(({ valid_to }) => Date.parse(valid_to)).filter((end) => !(end <= now));
  return ends.some(Number.isNaN) ? 0 : Math.min(...ends);
}
