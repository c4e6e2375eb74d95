import { ALGORITHM, exportKey, generateKeys, loadX509, randomSerial, validFor } from "./x509.ts";

/** A client certificate that nobody has reason to trust, with its key. PEM, leaf first. */
export interface RogueCertificate {
  readonly cert: string;
  readonly key: string;
}

/** As long as the gateway may run: once it has expired, it would be refused for that. */
const DAYS = 3650;
/** In every other respect what a client would show. `.invalid` is nobody's, for ever (RFC 2606 §2). */
const IDENTITY = "spiffe://postern.invalid/orgs/self-test/users/self-test";

/** Makes a client certificate under a CA that is forgotten at once, and so is in nobody's list. */
export async function createRogueCertificate(): Promise<RogueCertificate> {
  const x509 = await loadX509();
  const [caKeys, keys] = await Promise.all([generateKeys(), generateKeys()]);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: [{ CN: ["Postern self-test: unknown CA"] }],
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    ...validFor(DAYS),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const leaf = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [{ CN: ["Postern self-test"] }],
    issuer: ca.subjectName,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    ...validFor(DAYS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: IDENTITY }]),
    ],
  });
  const cert = `${leaf.toString("pem")}\n${ca.toString("pem")}\n`;
  return { cert, key: await exportKey(keys.privateKey) };
}
