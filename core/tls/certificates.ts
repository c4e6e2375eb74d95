import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { GatewayError, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { canonicalName } from "../names.ts";
import { loadX509 } from "./x509.ts";

/** A certificate with its key, as plain data: the supervisor reads the files, a data plane may read none. */
export interface CertificateMaterial {
  /** Canonical DNS names from its subjectAltName: `db.example.com` or `*.example.com`. */
  readonly names: readonly string[];
  /** The chain as in the file, leaf first. */
  readonly certPem: string;
  readonly keyPem: string;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /** SHA-256 of the leaf, hex with colons. */
  readonly fingerprint: string;
  /** The path of the certificate, for messages. */
  readonly source: string;
}

/** Paths of PEM files, as in the config. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** A certificate that is of no use. Its message never contains anything of the key. */
export class CertificateFault extends GatewayError {
  /** The key of {@link CertificateFiles} whose file it is about. */
  readonly file: keyof CertificateFiles;

  constructor(message: string, file: keyof CertificateFiles, cause?: unknown) {
    super("certificate-invalid", message, { cause });
    this.file = file;
  }
}

/**
 * Reads certificates and keys, and checks that clients could use them: the chain in order, the key the leaf's own,
 * at least one DNS name. An expired one is only warned of, because refusing it would take down the other names too.
 * Of two for the same name the first one serves it, which is warned of as well.
 *
 * @returns In the order of the config.
 * @throws {GatewayError} `certificate-invalid`, for the first file that is of no use.
 */
export async function loadCertificates(
  files: readonly CertificateFiles[],
  log: Log,
): Promise<CertificateMaterial[]> {
  const loaded: CertificateMaterial[] = [];
  for (const pair of files) loaded.push(await loadCertificate(pair));
  warnOf(loaded, log);
  return loaded;
}

/** What {@link inspectCertificates} found. */
export interface InspectedCertificates {
  /** Those that are of use, in the order of the config. */
  readonly certificates: readonly CertificateMaterial[];
  /** @property index In what was given. */
  readonly faults: readonly { readonly index: number; readonly fault: CertificateFault }[];
}

/** {@link loadCertificates} for who wants to hear all that is wrong, and not only what comes first. */
export async function inspectCertificates(
  files: readonly CertificateFiles[],
  log: Log,
): Promise<InspectedCertificates> {
  const certificates: CertificateMaterial[] = [];
  const faults: { index: number; fault: CertificateFault }[] = [];
  for (const [index, pair] of files.entries()) {
    try {
      certificates.push(await loadCertificate(pair));
    } catch (error) {
      if (!(error instanceof CertificateFault)) throw error;
      faults.push({ index, fault: error });
      const other = error.file === "cert" ? await faultOfKey(pair.key) : undefined;
      if (other !== undefined) faults.push({ index, fault: other });
    }
  }
  warnOf(certificates, log);
  return { certificates, faults };
}

/** What is wrong with a key by itself, when its certificate is of no use. */
async function faultOfKey(path: string): Promise<CertificateFault | undefined> {
  try {
    parseKey(await readPem(path, "key"), path);
  } catch (error) {
    if (error instanceof CertificateFault) return error;
    throw error;
  }
}

function warnOf(loaded: readonly CertificateMaterial[], log: Log): void {
  for (const { notAfter, source } of loaded) {
    if (notAfter <= Date.now()) {
      log.warn("certificate_expired", { file: source, expired: new Date(notAfter).toISOString() });
    }
  }
  for (const { name, first, second } of sharedNames(loaded)) {
    log.warn("certificate_name_shared", { name, used: first.source, unused: second.source });
  }
}

/** Names that more than one certificate has, with the one that serves it and one that does not. */
function* sharedNames(
  certificates: readonly CertificateMaterial[],
): Generator<{ name: string; first: CertificateMaterial; second: CertificateMaterial }> {
  const holders = new Map<string, CertificateMaterial>();
  for (const second of certificates) {
    for (const name of second.names) {
      const first = holders.get(name);
      if (first === undefined) holders.set(name, second);
      else yield { name, first, second };
    }
  }
}

async function loadCertificate({ cert, key }: CertificateFiles): Promise<CertificateMaterial> {
  const certPem = await readPem(cert, "cert"); // one after the other, so that of two faults it is always the same that is told
  return await parseCertificate(certPem, await readPem(key, "key"), { cert, key });
}

async function readPem(path: string, file: keyof CertificateFiles): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new CertificateFault(`Cannot read "${path}": ${messageOf(error)}`, file, error);
  }
}

/**
 * {@link loadCertificates} for one certificate in memory.
 *
 * @param source Where both came from, for messages.
 * @throws {GatewayError} `certificate-invalid`. The message never contains anything of the key.
 */
export async function parseCertificate(
  certPem: string,
  keyPem: string,
  source: CertificateFiles,
): Promise<CertificateMaterial> {
  const chain = parseChain(certPem, source.cert);
  const [leaf] = chain;
  const key = parseKey(keyPem, source.key);
  checkKey(chain, key, source);
  checkOrder(chain, source.cert);
  checkUsable(certPem, keyPem, source);
  const names = await dnsNames(leaf, source.cert);
  return {
    names,
    certPem,
    keyPem,
    notAfter: Date.parse(leaf.validTo),
    fingerprint: leaf.fingerprint256,
    source: source.cert,
  };
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

type Chain = readonly [X509Certificate, ...X509Certificate[]];

function parseChain(pem: string, path: string): Chain {
  const [first, ...others] = pem.match(CERTIFICATE) ?? [];
  if (first === undefined) {
    throw invalid(`No certificate in "${path}": it must be PEM, "-----BEGIN CERTIFICATE-----"`);
  }
  const parse = (one: string) => {
    try {
      return new X509Certificate(one);
    } catch (error) {
      throw invalid(`The certificate in "${path}" is malformed`, error);
    }
  };
  return [parse(first), ...others.map(parse)];
}

function parseKey(pem: string, path: string): KeyObject {
  if (pem.includes("ENCRYPTED PRIVATE KEY") || pem.includes("Proc-Type: 4,ENCRYPTED")) {
    throw new CertificateFault(
      `The private key in "${path}" is encrypted: store it decrypted (openssl pkey -in OLD -out NEW), mode 0600`,
      "key",
    );
  }
  if (!/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(pem)) {
    throw new CertificateFault(
      `No private key in "${path}": it must be PEM, "-----BEGIN PRIVATE KEY-----"`,
      "key",
    );
  }
  try {
    return createPrivateKey(pem);
  } catch { // no cause: nobody promises that its message has nothing of the key
    throw new CertificateFault(`The private key in "${path}" is malformed or of an unknown kind`, "key");
  }
}

function checkKey([leaf, ...others]: Chain, key: KeyObject, { cert, key: keyPath }: CertificateFiles): void {
  if (leaf.checkPrivateKey(key)) return;
  const where = others.some((other) => other.checkPrivateKey(key))
    ? `"${cert}" is in the wrong order: the certificate of the key comes first, then its issuers`
    : `The key in "${keyPath}" does not belong to the certificate in "${cert}"`;
  throw invalid(where);
}

function checkOrder(chain: Chain, path: string): void {
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[i + 1];
    if (issuer === undefined || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))) {
      continue;
    }
    throw invalid(
      `"${path}" is in the wrong order: certificate ${i + 2} did not issue certificate ${i + 1}; ` +
        "the server's own comes first, then the one that issued it, and so on",
    );
  }
}

/** Catches what the TLS library would refuse at the first connection, as too small a key. */
function checkUsable(cert: string, key: string, source: CertificateFiles): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw invalid(`"${source.cert}" with "${source.key}" cannot be used for TLS: ${messageOf(error)}`);
  }
}

/** From DER: a printed list of names can be forged by what stands inside a name (CVE-2021-44532). */
async function dnsNames(leaf: X509Certificate, path: string): Promise<string[]> {
  const { SubjectAlternativeNameExtension, X509Certificate: Parsed } = await loadX509();
  const extension = new Parsed(new Uint8Array(leaf.raw)).getExtension(SubjectAlternativeNameExtension);
  const names = new Set<string>();
  for (const { type, value } of extension?.names.items ?? []) {
    const name = type === "dns" ? canonicalPattern(value) : undefined;
    if (name !== undefined) names.add(name);
  }
  if (names.size === 0) {
    throw invalid(
      `The certificate in "${path}" has no DNS name in its subjectAltName, so no client would accept it`,
    );
  }
  return [...names];
}

/** A wildcard stands for the whole of the first label and nothing else (RFC 9525 §6.3). */
function canonicalPattern(name: string): string | undefined {
  if (!name.startsWith("*.")) return canonicalName(name);
  const parent = canonicalName(name.slice(2));
  return parent === undefined ? undefined : `*.${parent}`;
}

function invalid(message: string, cause?: unknown): CertificateFault {
  return new CertificateFault(message, "cert", cause);
}
