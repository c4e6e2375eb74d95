import { Buffer } from "node:buffer";
import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { Signed } from "./x509.ts";

interface Algorithm {
  /** What the key must be. */
  readonly keyType: "ec" | "rsa" | "ed25519";
  readonly hash: string | null;
  /** RSASSA-PSS with a salt of this many bytes. */
  readonly saltLength?: number;
}

/** One AlgorithmIdentifier for RSASSA-PSS: hash, MGF1 with the same hash, a salt as long (RFC 4055 §3.1), DER in hex. */
function pss(hash: string, saltLength: string): string {
  const hashIdentifier = `300d060960864801650304020${hash}0500`;
  return `304106092a864886f70d01010a3034a00f${hashIdentifier}` +
    `a11c301a06092a864886f70d010108${hashIdentifier}a2030201${saltLength}`;
}

/**
 * By whole AlgorithmIdentifier, DER in hex. What is not here is not believed: SHA-1 and MD5 above all, and odd
 * parameters (RFC 5758 §3.2, RFC 4055 §5, RFC 8410 §3).
 */
const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map<string, Algorithm>([
  ["300a06082a8648ce3d040302", { keyType: "ec", hash: "sha256" }],
  ["300a06082a8648ce3d040303", { keyType: "ec", hash: "sha384" }],
  ["300a06082a8648ce3d040304", { keyType: "ec", hash: "sha512" }],
  ["300d06092a864886f70d01010b0500", { keyType: "rsa", hash: "sha256" }],
  ["300d06092a864886f70d01010c0500", { keyType: "rsa", hash: "sha384" }],
  ["300d06092a864886f70d01010d0500", { keyType: "rsa", hash: "sha512" }],
  [pss("1", "20"), { keyType: "rsa", hash: "sha256", saltLength: 32 }],
  [pss("2", "30"), { keyType: "rsa", hash: "sha384", saltLength: 48 }],
  [pss("3", "40"), { keyType: "rsa", hash: "sha512", saltLength: 64 }],
  ["300506032b6570", { keyType: "ed25519", hash: null }],
]);

/** Whether the algorithm of a signature is one that can be verified here. */
export function isSupported({ algorithm }: Signed): boolean {
  return ALGORITHMS.has(algorithm.toHex());
}

/**
 * Whether this key has signed it. A key that the runtime cannot use has not.
 *
 * @param publicKey SubjectPublicKeyInfo, DER.
 */
export function isSignedBy({ signedPart, algorithm, signature }: Signed, publicKey: Uint8Array): boolean {
  const known = ALGORITHMS.get(algorithm.toHex());
  if (known === undefined) return false;
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    return key.asymmetricKeyType === known.keyType &&
      verify(known.hash, signedPart, verifyOptions(key, known), signature);
  } catch {
    return false; // the runtime throws what it likes at a curve or a key that it does not know
  }
}

function verifyOptions(key: KeyObject, { saltLength }: Algorithm): Parameters<typeof verify>[2] {
  if (saltLength === undefined) return key;
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
}
