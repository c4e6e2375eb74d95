import { createHash, X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import { GatewayError } from "../errors.ts";
import { Lru } from "./lru.ts";

/** A client sends its certificate and a few intermediates; more than this is not looked at. */
const MAX_CHAIN = 10;
/** How many clients of one CA can come back with a session ticket. 20,000 take about 3 MB. */
const MAX_REMEMBERED = 20_000;

/**
 * Decides whose client certificate is believed, for one set of CAs.
 *
 * `node:tls` on this runtime cannot be taken at its word alone. It verifies a chain in a full handshake only, and
 * issues session tickets without being asked: a client whose chain was refused comes back with its ticket, and is
 * called `authorized`, with that very chain. Tickets are also shared by all servers of a process, whatever their
 * CAs. So a resumed session counts only when a full handshake under these CAs has shown this very chain to be good,
 * and only until the first of its certificates expires.
 */
export class ClientCertificates {
  /** SHA-256 of a verified chain → milliseconds since 1970 at which it stops to be good. */
  readonly #verified = new Lru<number>(MAX_REMEMBERED);
  readonly #anchors: ReadonlySet<string>;

  /**
   * @param ca The trusted CAs, PEM.
   * @throws {GatewayError} `certificate-invalid`: nothing there to trust, or not X.509 v3.
   */
  constructor(ca: string) {
    this.#anchors = new Set(readAnchors(ca));
  }

  /**
   * The verified chain of a client, DER, leaf first and without the CA that it leads to; `undefined` when there is
   * none that may be believed.
   *
   * @param socket Behind its handshake, from a server that asked for a certificate under the same CAs.
   */
  verified(socket: TLSSocket): readonly Uint8Array[] | undefined {
    if (!socket.authorized) return undefined;
    const certificates = this.#presented(socket);
    const [leaf] = certificates;
    // The runtime lets a version 1 certificate pass without proof that the client has its key.
    if (leaf === undefined || !isVersion3(leaf.raw)) return undefined;
    const chain = certificates.map(({ raw }) => new Uint8Array(raw));
    const fingerprint = fingerprintOf(chain);
    if (socket.isSessionReused()) {
      return (this.#verified.get(fingerprint) ?? 0) > Date.now() ? chain : undefined;
    }
    this.#verified.set(fingerprint, expiryOf(certificates));
    return chain;
  }

  #presented(socket: TLSSocket): DetailedPeerCertificate[] {
    const chain: DetailedPeerCertificate[] = [];
    let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
    while (next?.raw !== undefined && chain.length < MAX_CHAIN && !this.#anchors.has(hexOf(next.raw))) {
      chain.push(next);
      next = next.issuerCertificate === next ? undefined : next.issuerCertificate;
    }
    return chain;
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function readAnchors(ca: string): string[] {
  const anchors = (ca.match(CERTIFICATE) ?? []).map((pem) => parseAnchor(pem).raw);
  if (anchors.length === 0) {
    throw new GatewayError("certificate-invalid", "No CA certificate to verify clients against");
  }
  // A client that shows a trusted version 1 certificate as its own would be believed without having its key.
  if (!anchors.every(isVersion3)) {
    throw new GatewayError("certificate-invalid", "A CA for client certificates must be X.509 version 3");
  }
  return anchors.map(hexOf);
}

function parseAnchor(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new GatewayError("certificate-invalid", "A CA certificate to verify clients against is malformed", {
      cause: error,
    });
  }
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
function expiryOf(certificates: readonly DetailedPeerCertificate[]): number {
  const now = Date.now();
  const ends = certificates.map(({ valid_to }) => Date.parse(valid_to)).filter((end) => !(end <= now));
  return ends.some(Number.isNaN) ? 0 : Math.min(...ends);
}

function hexOf(der: Uint8Array): string {
  return der.toHex();
}
