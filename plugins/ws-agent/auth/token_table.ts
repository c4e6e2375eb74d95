import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { digestOf } from "./token.ts";
import type { TokenEntry } from "./token_file.ts";

/**
 * Finds the entry of a token.
 *
 * How long a look takes says nothing about the digests that are kept. The index is of HMACs of the digests, under a key
 * that only this table has: whoever sends tokens and takes the time can't tell which would come close to an entry, nor
 * make any that do. What is found is compared once more, in constant time.
 */
export class TokenTable {
  readonly #key = randomBytes(32);
  readonly #byDigest = new Map<string, TokenEntry>();
  readonly #byId = new Map<string, TokenEntry>();

  constructor(entries: readonly TokenEntry[]) {
    for (const entry of entries) {
      this.#byDigest.set(this.#indexOf(Uint8Array.fromHex(entry.sha256)), entry);
      this.#byId.set(entry.id, entry);
    }
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The entry of a token, whether or not it is still good. */
  find(token: string): TokenEntry | undefined {
    const digest = digestOf(token);
    const entry = this.#byDigest.get(this.#indexOf(digest));
    if (entry === undefined) return undefined;
    return timingSafeEqual(digest, Uint8Array.fromHex(entry.sha256)) ? entry : undefined;
  }

  /** The entry that stands for the same token as this one of an older table. */
  successorOf({ id, sha256 }: TokenEntry): TokenEntry | undefined {
    const entry = this.#byId.get(id);
    return entry?.sha256 === sha256 ? entry : undefined;
  }

  #indexOf(digest: Uint8Array): string {
    return createHmac("sha256", this.#key).update(digest).digest("base64url");
  }
}
