import type { X509CertificateGenerator } from "@peculiar/x509";
import { loadX509 } from "../../core/tls/x509.ts";
import type { PemPair } from "./openssl.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** A certificate with its key in PEM; `certificate` is the chain, leaf first. Fits where a {@link PemPair} does. */
export interface MadeCertificate extends PemPair {
  readonly der: Uint8Array;
}

export interface LeafOptions {
  /** @default the first name, or "test" */
  readonly commonName?: string;
  /** DNS names for the subjectAltName. */
  readonly names?: readonly string[];
  /** IP addresses for the subjectAltName. */
  readonly addresses?: readonly string[];
  /** URIs for the subjectAltName, as SPIFFE ids are. */
  readonly uris?: readonly string[];
  /** @default "server", unless there are no names: "client" */
  readonly usage?: "server" | "client" | "none";
  /** @default yesterday */
  readonly notBefore?: Date;
  /** @default in 30 days */
  readonly notAfter?: Date;
}

/** A certificate authority of a test's own. */
export interface TestAuthority extends MadeCertificate {
  issue(options?: LeafOptions): Promise<MadeCertificate>;
  /** An authority below this one; what it issues carries its certificate in the chain. */
  intermediate(commonName: string): Promise<TestAuthority>;
}

/** Makes a root. Needs no permission: WebCrypto does the work. */
export async function createAuthority(commonName = "Test CA"): Promise<TestAuthority> {
  const x509 = await loadX509();
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity({}),
    extensions: authorityExtensions(x509),
  });
  return authority(keys, certificate, "");
}

/** A server's certificate from an authority of its own, for where who issued it matters little. */
export async function createCertificate(
  ...names: readonly string[]
): Promise<MadeCertificate & { readonly ca: string }> {
  const root = await createAuthority();
  return { ...await root.issue({ names }), ca: root.certificate };
}

type X509 = typeof import("@peculiar/x509");
type Certificate = Awaited<ReturnType<typeof X509CertificateGenerator.create>>;

async function authority(
  keys: CryptoKeyPair,
  certificate: Certificate,
  above: string,
): Promise<TestAuthority> {
  const x509 = await loadX509();
  const pem = certificate.toString("pem");
  const sign = async (options: {
    commonName: string;
    keys: CryptoKeyPair;
    extensions: InstanceType<X509["Extension"]>[];
    notBefore?: Date | undefined;
    notAfter?: Date | undefined;
  }) =>
    await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: [{ CN: [options.commonName] }],
      issuer: certificate.subjectName,
      signingKey: keys.privateKey,
      publicKey: options.keys.publicKey,
      signingAlgorithm: ALGORITHM,
      ...validity(options),
      extensions: options.extensions,
    });
  // The root itself is not sent along; an intermediate is.
  const chain = above === "" && certificate.subject === certificate.issuer ? "" : `\n${pem}${above}`;

  return {
    certificate: pem,
    key: await exportKey(keys),
    der: new Uint8Array(certificate.rawData),
    async issue(options = {}) {
      const own = await generateKeys();
      const { names = [], commonName = names[0] ?? "test", notBefore, notAfter } = options;
      const leaf = await sign({
        commonName,
        keys: own,
        notBefore,
        notAfter,
        extensions: leafExtensions(x509, options),
      });
      return {
        certificate: `${leaf.toString("pem")}${chain}`,
        key: await exportKey(own),
        der: new Uint8Array(leaf.rawData),
      };
    },
    async intermediate(commonName) {
      const own = await generateKeys();
      const below = await sign({ commonName, keys: own, extensions: authorityExtensions(x509) });
      return await authority(own, below, chain);
    },
  };
}

function authorityExtensions(x509: X509): InstanceType<X509["Extension"]>[] {
  return [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ];
}

function leafExtensions(x509: X509, options: LeafOptions): InstanceType<X509["Extension"]>[] {
  const { names = [], addresses = [], uris = [] } = options;
  const { usage = names.length + addresses.length > 0 ? "server" : "client" } = options;
  const alternatives = [
    ...names.map((value) => ({ type: "dns" as const, value })),
    ...addresses.map((value) => ({ type: "ip" as const, value })),
    ...uris.map((value) => ({ type: "url" as const, value })),
  ];
  const extensions: InstanceType<X509["Extension"]>[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
  ];
  if (alternatives.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(alternatives));
  if (usage !== "none") {
    const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
    extensions.push(new x509.ExtendedKeyUsageExtension([usage === "server" ? serverAuth : clientAuth]));
  }
  return extensions;
}

function validity({ notBefore, notAfter }: { notBefore?: Date | undefined; notAfter?: Date | undefined }) {
  return {
    notBefore: notBefore ?? new Date(Date.now() - DAY_MS),
    notAfter: notAfter ?? new Date(Date.now() + 30 * DAY_MS),
  };
}

async function generateKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}

async function exportKey({ privateKey }: CryptoKeyPair): Promise<string> {
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const base64 = der.toBase64().replaceAll(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`;
}

/** 16 random bytes, the first one positive (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0] ?? 0) & 0x7f | 0x40;
  return bytes.toHex();
}
