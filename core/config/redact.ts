import type { ConfigPath } from "./path.ts";

/** What is printed in place of a secret. */
export const REDACTED = "***";

const SECRET_WORDS = new Set([
  "token",
  "tokens",
  "secret",
  "secrets",
  "password",
  "passwords",
  "passwd",
  "passphrase",
  "credential",
  "credentials",
]);
/** Kinds of keys that open something; a `key` alone is a path in this config (`tls.certificates[].key`). */
const SECRET_KEYS = new Set([
  "private",
  "api",
  "shared",
  "signing",
  "encryption",
  "hmac",
  "secret",
  "access",
]);
/** Says that the value is about a secret and is none itself: `tokenTtl`, `passwordFile`. */
const ABOUT = new Set(["ttl", "timeout", "file", "path", "count", "length", "limit"]);

/** Tells whether a key's name says that its value is a secret. Rather one too many: what is hidden harms nobody. */
export function isSecretKey(key: string): boolean {
  const words = key.replaceAll(/([a-z\d])([A-Z])/g, "$1 $2").toLowerCase().split(/[^a-z\d]+/).filter(Boolean);
  if (ABOUT.has(words.at(-1) ?? "")) return false;
  return words.some((word, i) =>
    SECRET_WORDS.has(word) || (/^(?:key|keys|material)$/.test(word) && SECRET_KEYS.has(words[i - 1] ?? "")) ||
    (word === "material" && words[i - 1] === "key")
  );
}

/** Tells whether a path leads to a secret or into one. */
export function isSecretPath(path: ConfigPath): boolean {
  return path.some((segment) => typeof segment === "string" && isSecretKey(segment));
}

/**
 * A copy to print: everything under a key named like a secret is `***`, and so is the password within a URL. What is
 * not set stays not set, so that a missing token can be told from a hidden one. The path of a token file is shown.
 */
export function redact(value: unknown): unknown {
  if (typeof value === "string") return redactText(value);
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      isSecretKey(key) && !isTokenFile(key, inner) ? hidden(inner) : redact(inner),
    ]),
  );
}

/** Whether this says where tokens are kept, and is none: nobody's token ends so. */
function isTokenFile(key: string, value: unknown): boolean {
  return key === "tokens" && typeof value === "string" && /^[^\s:@]+\.(?:ya?ml|json)$/.test(value);
}

function hidden(value: unknown): unknown {
  return value === undefined || value === null ? value : REDACTED;
}

/** Hides the password of `user:password@host` (RFC 3986 §3.2.1), also where the URL around it is a broken one. */
export function redactText(text: string): string {
  return text.replaceAll(/(^|[\s/])([^\s:@/]*):(?!\/\/)\S*@/g, `$1$2:${REDACTED}@`);
}
