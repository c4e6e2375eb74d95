import { DerError } from "./der.ts";

/**
 * The blocks of one kind in a PEM text (RFC 7468), decoded, in their order. Other text around them is passed over.
 *
 * @param label What stands behind `BEGIN`: `X509 CRL`.
 * @throws {DerError} A block has no end, or is not base64: to pass over it would be to lose it without a word.
 */
export function decodePem(text: string, label: string): Uint8Array[] {
  const [, ...blocks] = text.split(`-----BEGIN ${label}-----`);
  return blocks.map((block) => {
    const end = block.indexOf(`-----END ${label}-----`);
    if (end < 0) throw new DerError(`"BEGIN ${label}" without its "END ${label}"`);
    return decodeBase64(block.slice(0, end));
  });
}

/** Base64, with white space anywhere. @throws {DerError} */
export function decodeBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new DerError("It is not base64", { cause: error });
  }
}
