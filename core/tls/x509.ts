/**
 * The library that makes and reads X.509 certificates. It is large, so it is loaded when it is needed, and it finds
 * its parts by metadata of classes, for which the polyfill must be there first.
 */
export async function loadX509(): Promise<typeof import("@peculiar/x509")> {
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}

/** What every certificate that Postern makes is signed with. */
export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** From an hour ago, for clocks that are behind. */
export function validFor(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + days * DAY_MS) };
}

/** Positive, and with more than the 64 random bits that are asked for (RFC 5280 §4.1.2.2). */
export function randomSerial(): string {
  return `40${randomHex(15)}`;
}

/** @param bytes How many: twice as many characters. */
export function randomHex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}

/** For {@link ALGORITHM}. */
export async function generateKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}

/** A private key as PKCS #8, PEM. */
export async function exportKey(key: CryptoKey): Promise<string> {
  const { PemConverter } = await loadX509();
  return `${PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}
