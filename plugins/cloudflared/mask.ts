import { CUT } from "./lines.ts";

const MASK = "***";

/** What is secret by its shape, wherever it comes from: headers, cookies, tokens in URLs. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/(cf-access-(?:client-id|client-secret|token)["']?\s*[:=]\s*["']?)[^\s"'\\,;]+/gi, `$1${MASK}`],
  [/(CF_(?:Authorization|AppSession)["']?\s*[:=]\s*["']?)[^\s"'\\,;]+/gi, `$1${MASK}`],
  [/(authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic)\s+)?)[^\s"'\\,;]+/gi, `$1${MASK}`],
  [/((?:token|secret|password)=)[^\s"'&]+/gi, `$1${MASK}`],
  // RFC 7519: the header of a JWT begins with {", which is eyJ.
  [/eyJ[\w-]{5,}(?:\.[\w-]*)*/g, MASK],
];

/** Hides secrets in the program's words. */
export interface Masker {
  mask(text: string): string;
}

/**
 * @param secrets Hidden wherever they stand, as they are and percent-encoded; at the end of a line that was cut, also
 * the beginning of one.
 */
export function createMasker(secrets: readonly string[]): Masker {
  const literal = [...new Set(secrets.flatMap((secret) => [secret, encodeURIComponent(secret)]))]
    .filter((secret) => secret !== "")
    .sort((a, b) => b.length - a.length); // the longer first: one may begin with the other
  return {
    mask(text) {
      let masked = text;
      for (const secret of literal) masked = masked.replaceAll(secret, MASK);
      for (const secret of literal) masked = maskBeginningAtCut(masked, secret);
      for (const [pattern, replacement] of SHAPES) masked = masked.replaceAll(pattern, replacement);
      return masked;
    },
  };
}

function maskBeginningAtCut(text: string, secret: string): string {
  if (!text.endsWith(CUT)) return text;
  const end = text.length - CUT.length;
  for (let length = Math.min(secret.length - 1, end); length > 0; length--) {
    if (text.startsWith(secret.slice(0, length), end - length)) {
      return text.slice(0, end - length) + MASK + CUT;
    }
  }
  return text;
}
