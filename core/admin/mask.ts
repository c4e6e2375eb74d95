import { isSecretKey, REDACTED as MASK } from "../config/redact.ts";

/**
 * Secrets as they turn up in sentences: in a URL, after a key word, in a header, as a key file. Each pattern begins
 * with something fixed, so that a long hostile text is gone through once.
 */
const SECRETS_IN_TEXT: readonly (readonly [RegExp, string])[] = [
  [/:\/\/[^\s/@]+@/g, `://${MASK}@`],
  [
    /(password|passwd|secret|token|api_?key)(\s{0,4}[=:]\s{0,4})("[^"]*"|'[^']*'|[^\s"',;&]+)/gi,
    `$1$2${MASK}`,
  ],
  [/\b(Bearer|Basic)\s{1,4}[\w+/.~=-]{8,}/gi, `$1 ${MASK}`],
  [/-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^]*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|$)/g, MASK],
];

/**
 * Takes what looks like a secret out of a sentence. Nobody should have put one there; a plugin that hands on the
 * message of its database driver does so all the same, and health checks are read without a token.
 */
export function maskText(text: string): string {
  return SECRETS_IN_TEXT.reduce((masked, [secret, mask]) => masked.replace(secret, mask), text);
}

/** A replacer for `JSON.stringify` that leaves out what is a secret by its name or its looks. */
export function maskField(key: string, value: unknown): unknown {
  if (typeof value === "string") return isSecretKey(key) ? MASK : maskText(value);
  return typeof value === "object" && value !== null && isSecretKey(key) ? MASK : value; // a count is no secret
}
