/** A certificate with its key, as it is kept in one file: two files could be replaced one without the other. */
export interface Bundle {
  /** PEM, PKCS #8. */
  readonly keyPem: string;
  /** PEM, leaf first. */
  readonly certPem: string;
}

/** A chain of a few certificates has less than a tenth of it. */
export const MAX_BUNDLE_BYTES = 128 * 1024;

const BLOCK = /-----BEGIN ([A-Z ]{1,40})-----\n[A-Za-z0-9+/=\n]+\n-----END \1-----/g;

/** The text of a cache file: the key first, then the chain. */
export function formatBundle({ keyPem, certPem }: Bundle): string {
  return `${keyPem.trim()}\n${certPem.trim()}\n`;
}

/**
 * Reads a cache file: one private key and at least one certificate, and nothing between them. Whether they fit together
 * is not looked at.
 *
 * @returns `undefined` for anything else.
 */
export function parseBundle(text: string): Bundle | undefined {
  if (text.length > MAX_BUNDLE_BYTES) return undefined;
  const normal = text.replaceAll("\r\n", "\n");
  const blocks = [...normal.matchAll(BLOCK)].map(([block, label]) => ({ block, label }));
  const [key, ...certificates] = blocks;
  if (key === undefined || !/^(?:EC |RSA )?PRIVATE KEY$/.test(key.label ?? "")) return undefined;
  if (certificates.length === 0 || certificates.some(({ label }) => label !== "CERTIFICATE")) {
    return undefined;
  }
  if (normal.replaceAll(BLOCK, "").trim() !== "") return undefined;
  return { keyPem: key.block, certPem: certificates.map(({ block }) => block).join("\n") };
}

/**
 * The name of a certificate's file: `app.example.com.pem`, and `_.example.com.pem` for `*.example.com`. A name that is
 * asked for has no underscore.
 *
 * @param name Canonical, so that it can lead nowhere else.
 */
export function fileOf(name: string): string {
  return `${name.replace(/^\*\./, "_.")}.pem`;
}

/** The name that a file is for; `undefined`: it is none of a certificate. */
export function nameOfFile(file: string): string | undefined {
  return /^(?:_\.)?[a-z0-9.-]{1,253}\.pem$/.test(file) ? file.slice(0, -4).replace(/^_\./, "*.") : undefined;
}
