import { dirname, join } from "node:path";
import { GatewayError, messageOf } from "../errors.ts";
import { type CertificateMaterial, parseCertificate } from "./certificates.ts";
import { ALGORITHM, exportKey, generateKeys, loadX509, randomHex, randomSerial, validFor } from "./x509.ts";

const DAY_MS = 86_400_000;
/** The CA lives long, because people import it; clients want the certificates of servers to be short (398 days). */
const CA_DAYS = 3650;
const SERVER_DAYS = 90;
/** Renewed at the first start that finds less than this left. */
const RENEW_BEFORE_DAYS = 30;

const ADDRESSES = ["127.0.0.1", "::1"] as const;

export interface DevelopmentCertificates {
  /** What a client trusts: `curl --cacert`. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Whether the CA is new, so that nobody can trust it yet. */
  readonly created: boolean;
}

/**
 * Makes a development CA and a server certificate in `folder`, and renews what is missing, close to its expiry or
 * without one of `names`. What is still good stays as it is, and so does the CA when only the certificate is renewed.
 *
 * Whoever steals the CA's key cannot pose as anybody else on the internet: the CA is constrained to `localhost`, what
 * ends in `.localhost`, and loopback addresses (RFC 5280 §4.2.1.10).
 *
 * @param names Within `localhost`, each in full: many clients take no wildcard right below a top-level name, and some
 * (rustls) take no certificate that has one.
 * @returns Paths of PEM files, none of which anybody else may read.
 * @throws {GatewayError} `certificate-invalid`: the folder cannot be written, or a name is not within `localhost`.
 */
export async function ensureDevelopmentCertificates(
  folder: string,
  names: readonly string[] = ["localhost"],
): Promise<DevelopmentCertificates> {
  const stray = names.find((name) => name !== "localhost" && !name.endsWith(".localhost"));
  if (stray !== undefined) {
    throw new GatewayError(
      "certificate-invalid",
      `The development CA is for "localhost" only, not for "${stray}"`,
    );
  }
  const paths = {
    ca: join(folder, "ca.pem"),
    caKey: join(folder, "ca-key.pem"),
    cert: join(folder, "cert.pem"),
    key: join(folder, "key.pem"),
  };
  try {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    const known = await readAuthority(paths.ca, paths.caKey);
    const authority = known ?? await createAuthority();
    if (known === undefined) await writePair(paths.ca, authority.certPem, paths.caKey, authority.keyPem);
    if (known === undefined || !await isGood(paths, names)) {
      const server = await issue(authority, names);
      await writePair(paths.cert, `${server.certPem}\n${authority.certPem}`, paths.key, server.keyPem);
    }
    return { ca: paths.ca, cert: paths.cert, key: paths.key, created: known === undefined };
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError(
      "certificate-invalid",
      `Cannot keep development certificates in "${folder}": ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * Makes certificates for further names within `localhost` by the development CA of `folder`. They are kept in memory only,
 * and so is the CA's key from now on: nothing is read later.
 *
 * @returns `undefined` for every name that the CA is not for.
 * @throws {GatewayError} `certificate-invalid`: there is no CA in the folder.
 */
export async function developmentIssuer(
  folder: string,
): Promise<(name: string) => Promise<CertificateMaterial | undefined>> {
  const authority = await readAuthority(join(folder, "ca.pem"), join(folder, "ca-key.pem"));
  if (authority === undefined) {
    throw new GatewayError("certificate-invalid", `There is no development CA in "${folder}"`);
  }
  return async (name) => {
    if (!name.endsWith(".localhost")) return undefined;
    const { certPem, keyPem } = await issue(authority, [name]);
    const source = `(development CA, for ${name})`;
    return await parseCertificate(`${certPem}\n${authority.certPem}`, keyPem, { cert: source, key: source });
  };
}

interface Pair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** The CA that is there already, unless it is unreadable or about to expire. */
async function readAuthority(certPath: string, keyPath: string): Promise<Pair | undefined> {
  const [certPem, keyPem] = await Promise.all([readIfThere(certPath), readIfThere(keyPath)]);
  if (certPem === undefined || keyPem === undefined) return undefined;
  const { X509Certificate, createPrivateKey } = await import("node:crypto");
  try {
    const certificate = new X509Certificate(certPem);
    const good = certificate.ca && certificate.checkPrivateKey(createPrivateKey(keyPem)) &&
      isFresh(Date.parse(certificate.validTo));
    return good ? { certPem, keyPem } : undefined;
  } catch {
    return undefined; // half written by something else, or damaged: made anew
  }
}

async function isGood(
  { ca, cert, key }: { readonly ca: string; readonly cert: string; readonly key: string },
  names: readonly string[],
): Promise<boolean> {
  const [caPem, certPem, keyPem] = await Promise.all([readIfThere(ca), readIfThere(cert), readIfThere(key)]);
  if (caPem === undefined || certPem === undefined || keyPem === undefined) return false;
  try {
    const { notAfter, names: has } = await parseCertificate(certPem, keyPem, { cert, key });
    // Behind the server's own stands the CA: if that is another one now, clients would not trust this any more.
    return isFresh(notAfter) && names.every((name) => has.includes(name)) && certPem.includes(caPem.trim());
  } catch (error) {
    if (error instanceof GatewayError) return false;
    throw error;
  }
}

function isFresh(notAfter: number): boolean {
  return notAfter - Date.now() > RENEW_BEFORE_DAYS * DAY_MS;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function createAuthority(): Promise<Pair> {
  const x509 = await loadX509();
  const keys = await generateKeys();
  const id = randomHex(4); // tells apart the CAs of several folders in the list of a browser
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: [{ CN: [`Postern development CA ${id}`] }],
    keys,
    signingAlgorithm: ALGORITHM,
    ...validFor(CA_DAYS),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.Extension(NAME_CONSTRAINTS, true, nameConstraints()),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: certificate.toString("pem"), keyPem: await exportKey(keys.privateKey) };
}

async function issue(authority: Pair, names: readonly string[]): Promise<Pair> {
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(authority.certPem);
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [{ CN: ["Postern development"] }],
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.keyPem),
    signingAlgorithm: ALGORITHM,
    ...validFor(SERVER_DAYS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...names.map((value) => ({ type: "dns" as const, value })),
        ...ADDRESSES.map((value) => ({ type: "ip" as const, value })),
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: certificate.toString("pem"), keyPem: await exportKey(keys.privateKey) };
}

const NAME_CONSTRAINTS = "2.5.29.30";

/**
 * NameConstraints ::= SEQUENCE { permittedSubtrees [0] SEQUENCE OF SEQUENCE { base GeneralName } }, where a DNS name
 * is [2] and an address with its mask is [7].
 */
function nameConstraints(): Uint8Array<ArrayBuffer> {
  const subtree = (tag: number, content: Iterable<number>) => der(0x30, der(tag, content));
  const permitted = [
    ...subtree(0x82, new TextEncoder().encode("localhost")),
    ...subtree(0x87, [127, 0, 0, 0, 255, 0, 0, 0]),
    ...subtree(0x87, [...new Uint8Array(15), 1, ...new Uint8Array(16).fill(255)]),
  ];
  return der(0x30, der(0xa0, permitted));
}

/** One DER element of at most 127 bytes. */
function der(tag: number, content: Iterable<number>): Uint8Array<ArrayBuffer> {
  const bytes = [...content];
  if (bytes.length > 127) throw new RangeError("The long form of DER lengths is not needed here");
  return Uint8Array.of(tag, bytes.length, ...bytes);
}

async function importKey(pem: string): Promise<CryptoKey> {
  const { PemConverter } = await loadX509();
  const [pkcs8] = PemConverter.decode(pem);
  if (pkcs8 === undefined) throw new TypeError("No key in the PEM");
  return await crypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, false, ["sign"]);
}

/** The key first: a certificate without its key would be taken for a mistake of the user's. */
async function writePair(certPath: string, certPem: string, keyPath: string, keyPem: string): Promise<void> {
  await writeSecret(keyPath, keyPem);
  await writeSecret(certPath, `${certPem}\n`);
}

/** Whole or not at all, and never for others to read, not even for a moment. */
async function writeSecret(path: string, text: string): Promise<void> {
  const temporary = await Deno.makeTempFile({ dir: dirname(path), prefix: ".new-" }); // made with mode 0600
  try {
    await Deno.writeTextFile(temporary, text);
    await Deno.chmod(temporary, 0o600);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
