import { createHash, randomBytes } from "node:crypto";

/** Tells people, and programs that look for secrets in the wrong places, what it is. */
const PREFIX = "pst_";
const TOKEN_BYTES = 32;
/** Enough to tell a few thousand apart, and short enough to be typed. */
const ID_BYTES = 4;

/** A new token: 256 random bits. Whoever makes it shows it once, and keeps its {@link digestOf digest}. */
export function createToken(): string {
  return PREFIX + randomBytes(TOKEN_BYTES).toString("base64url");
}

/** Whether a text is a token by its looks. */
export function isToken(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** A text without the tokens in it. */
export function hideTokens(text: string): string {
  return text.replaceAll(/pst_[\w-]+/g, `${PREFIX}***`);
}

/** A new public name for a token, which says nothing about it. It begins with a letter: YAML must not read a number. */
export function createTokenId(): string {
  return "t" + randomBytes(ID_BYTES).toString("hex");
}

/**
 * What is kept of a token: its SHA-256. No salt and no slow hash: there is nothing to guess in 256 random bits.
 *
 * @returns 32 bytes.
 */
export function digestOf(token: string): Uint8Array {
  return createHash("sha256").update(token, "utf8").digest();
}
