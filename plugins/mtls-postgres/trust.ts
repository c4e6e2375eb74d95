import { X509Certificate } from "node:crypto";
import { ClientCertificates } from "../../core/tls/peer_certificates.ts";
import { GatewayError, type PluginFiles } from "../../core/plugin/mod.ts";
import type { MtlsConfig } from "./config.ts";
import { RevocationLists } from "./crl.ts";
import { identify, type Identity, IdentityFault } from "./identity.ts";

/** One of the configured CAs, for people. */
export interface CaReport {
  readonly subject: string;
  /** ISO 8601. */
  readonly expires: string;
  readonly file: string;
}

/** One revocation list, for people. */
export interface CrlReport {
  readonly file: string;
  /** ISO 8601; from then on nobody with a certificate of its CA gets in. */
  readonly nextUpdate: string;
  /** How many certificates are on it. */
  readonly revoked: number;
}

/** Who is believed to be whom: the CAs, the revocation lists and the issuer of one config, with its files. */
export class Trust {
  /** Every CA once, PEM. */
  readonly ca: string;
  readonly #anchors: readonly Anchor[];
  readonly #crls: RevocationLists | undefined;
  readonly #issuer: string;

  private constructor(anchors: readonly Anchor[], crls: RevocationLists | undefined, issuer: string) {
    this.#anchors = anchors;
    this.ca = pemOf(anchors);
    this.#crls = crls;
    this.#issuer = issuer;
  }

  /** @throws {GatewayError} `certificate-invalid`, naming the file. */
  static async load(config: MtlsConfig, files: PluginFiles): Promise<Trust> {
    const anchors = uniqueAnchors(config.caCertificates.flatMap((path) => readAnchors(path, files)));
    const ca = pemOf(anchors);
    new ClientCertificates(ca); // what the gateway would refuse at every handshake is better refused here
    return new Trust(anchors, await readCrls(config.crls, files, ca), config.issuer);
  }

  /**
   * Who a client is.
   *
   * @param chain DER, leaf first; verified already.
   * @param now Milliseconds since 1970.
   * @throws {IdentityFault} It is nobody that may be let in.
   */
  identify(chain: readonly Uint8Array[], now: number): Identity {
    this.#checkCa(chain, now);
    return identify(chain, { issuer: this.#issuer, ...(this.#crls && { crls: this.#crls }), now });
  }

  /**
   * Whether a chain that was verified under other CAs would be under these: by signature, not by name, so that a new
   * CA with the old one's name does not stand in for it.
   */
  covers(chain: readonly Uint8Array[]): boolean {
    return anchorsOf(chain, this.#anchors).length > 0;
  }

  /**
   * When the first certificate of a verified chain expires, its CA's among them, in milliseconds since 1970; 0 when
   * that cannot be read. One that has expired already was not needed to verify the chain, unless it is the leaf.
   */
  expiryOf(chain: readonly Uint8Array[], now: number): number {
    const [leaf = NaN, ...others] = parseChain(chain).map(({ validTo }) => Date.parse(validTo));
    if (Number.isNaN(leaf) || others.some(Number.isNaN)) return 0;
    const end = Math.min(leaf, ...others.filter((other) => other > now));
    if (this.#anchors.every(({ notAfter }) => notAfter >= end)) return end; // so it is as a rule
    return Math.min(end, Math.max(0, ...anchorsOf(chain, this.#anchors).map(({ notAfter }) => notAfter)));
  }

  /** Whoever verified the chain looks at no dates of a CA (RFC 5280 §6.1 leaves them out), and others do. */
  #checkCa(chain: readonly Uint8Array[], now: number): void {
    const current = this.#anchors.filter(({ notBefore, notAfter }) => notBefore <= now && now <= notAfter);
    if (current.length === this.#anchors.length || anchorsOf(chain, current).length > 0) return;
    throw new IdentityFault("ca_expired", "The certificate leads to no CA that is valid now");
  }

  /** Whether every CA of `other` is one of these too: then what was verified under `other` needs no second look. */
  includes(other: Trust): boolean {
    const own = new Set(this.#anchors.map(({ certificate }) => certificate.fingerprint256));
    return other.#anchors.every(({ certificate }) => own.has(certificate.fingerprint256));
  }

  cas(): CaReport[] {
    return this.#anchors.map(({ certificate, notAfter, file }) => ({
      subject: oneLine(certificate.subject),
      expires: new Date(notAfter).toISOString(),
      file,
    }));
  }

  crls(): CrlReport[] {
    return (this.#crls?.lists ?? []).map(({ file, nextUpdate, revoked }) => ({
      file,
      nextUpdate: Number.isFinite(nextUpdate) ? new Date(nextUpdate).toISOString() : "never",
      revoked,
    }));
  }
}

interface Anchor {
  readonly certificate: X509Certificate;
  /** Milliseconds since 1970, as is `notAfter`. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly pem: string;
  readonly file: string;
}

/** Those that a chain leads to by its signatures, at its first certificate that leads to one. */
function anchorsOf(chain: readonly Uint8Array[], anchors: readonly Anchor[]): readonly Anchor[] {
  const [leaf, ...others] = parseChain(chain);
  let current = leaf;
  for (let steps = 0; current !== undefined && steps <= others.length; steps++) {
    const below = current;
    const found = anchors.filter(({ certificate }) =>
      certificate.fingerprint256 === below.fingerprint256 || isIssuedBy(below, certificate)
    );
    if (found.length > 0) return found;
    current = others.find((other) => other !== below && isIssuedBy(below, other));
  }
  return [];
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function readAnchors(file: string, files: PluginFiles): Anchor[] {
  const blocks = textOf(file, files).match(CERTIFICATE) ?? [];
  if (blocks.length === 0) throw invalid(file, "there is no certificate in it");
  return blocks.map((pem, i) => readAnchor(pem, file, i + 1));
}

function readAnchor(pem: string, file: string, place: number): Anchor {
  try {
    const certificate = new X509Certificate(pem);
    const notBefore = Date.parse(certificate.validFrom);
    const notAfter = Date.parse(certificate.validTo);
    if (certificate.ca) return { certificate, notBefore, notAfter, pem, file };
  } catch (error) {
    throw invalid(file, `certificate ${place} is malformed`, error);
  }
  throw invalid(file, `certificate ${place} is not that of a CA`);
}

function uniqueAnchors(anchors: readonly Anchor[]): Anchor[] {
  const seen = new Set<string>();
  return anchors.filter(({ certificate }) => {
    const isNew = !seen.has(certificate.fingerprint256);
    seen.add(certificate.fingerprint256);
    return isNew;
  });
}

function pemOf(anchors: readonly Anchor[]): string {
  return anchors.map(({ pem }) => `${pem}\n`).join("");
}

async function readCrls(
  paths: readonly string[],
  files: PluginFiles,
  ca: string,
): Promise<RevocationLists | undefined> {
  if (paths.length === 0) return undefined;
  return await RevocationLists.parse(
    Object.fromEntries(paths.map((path) => [path, textOf(path, files)])),
    ca,
  );
}

function textOf(file: string, files: PluginFiles): string {
  const text = files[file];
  if (text === undefined) throw invalid(file, "it was not read");
  return text;
}

/** Empty when one of them cannot be read. */
function parseChain(chain: readonly Uint8Array[]): X509Certificate[] {
  try {
    return chain.map((der) => new X509Certificate(der));
  } catch {
    return [];
  }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    return false; // a kind of key that the runtime knows nothing of
  }
}

/** The parts of a name stand on lines of their own. */
function oneLine(name: string): string {
  return name.replaceAll("\n", ", ");
}

function invalid(file: string, fault: string, cause?: unknown): GatewayError {
  const message = `The file ${JSON.stringify(file)} cannot be used for client certificates: ${fault}`;
  return new GatewayError("certificate-invalid", message, { cause });
}
