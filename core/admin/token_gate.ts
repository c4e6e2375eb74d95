import { createHash, timingSafeEqual } from "node:crypto";
import { sourceKey } from "../failure_limits.ts";
import { parseAddress } from "../net/address.ts";
import type { NumberSample } from "../plugin/reports.ts";

/** What a request's `Authorization` is worth. */
export type TokenVerdict = "ok" | "missing" | "wrong" | "blocked";

/**
 * Wrong tokens from one address before it has to wait. A person mistypes a few times; a script goes on. All of a /64
 * of IPv6 is one address here: whoever has one address of it has all at hand.
 */
export const MAX_FAILURES = 10;

/** How long the wrong tokens of one address are remembered, from the first of them. */
export const FAILURE_WINDOW_MS = 60_000;

/** Addresses remembered at once. Past this the longest remembered is forgotten: the table is bounded, whoever comes. */
export const MAX_SOURCES = 1024;

interface Failures {
  count: number;
  readonly until: number;
}

/** What a test puts in place of the real thing. */
export interface TokenGateSeams {
  /** Milliseconds from any fixed point. */
  readonly now?: () => number;
  /** Compares in a time that does not depend on where the two differ. */
  readonly equal?: (a: Uint8Array, b: Uint8Array) => boolean;
}

/** Tells whether a request may pass. Keeps the digest of the token, not the token. */
export class TokenGate {
  #digest: Uint8Array | undefined;
  readonly #now: () => number;
  readonly #equal: (a: Uint8Array, b: Uint8Array) => boolean;
  readonly #failures = new Map<string, Failures>();
  readonly #refused = { missing: 0, wrong: 0, blocked: 0 };

  constructor(token?: string, seams: TokenGateSeams = {}) {
    this.#now = seams.now ?? (() => performance.now());
    this.#equal = seams.equal ?? timingSafeEqual;
    this.replace(token);
  }

  /**
   * Asks for another token from now on, or for none.
   *
   * @returns Whether that is another one than before.
   */
  replace(token: string | undefined): boolean {
    const before = this.#digest;
    this.#digest = token === undefined ? undefined : sha256(token);
    this.#failures.clear(); // whoever failed with the new token before it was in force starts anew
    if (before === undefined || this.#digest === undefined) return before !== this.#digest;
    return !timingSafeEqual(before, this.#digest);
  }

  /** Whether there is a token at all. */
  get required(): boolean {
    return this.#digest !== undefined;
  }

  /**
   * Judges one request.
   *
   * @param authorization The header as it came.
   * @param source The address of the one who asks.
   */
  check(authorization: string | undefined, source: string): TokenVerdict {
    return this.checkToken(/^Bearer +([^ ]+) *$/i.exec(authorization ?? "")?.[1], source);
  }

  /** Judges a token that came by another way, as {@link check} does. */
  checkToken(token: string | undefined, source: string): TokenVerdict {
    if (this.#digest === undefined) return "ok";
    const verdict = this.#judge(this.#digest, token, source);
    if (verdict !== "ok") this.#refused[verdict]++;
    return verdict;
  }

  /** The refusals so far, for `/metrics`. */
  samples(): readonly NumberSample[] {
    return Object.entries(this.#refused).map(([reason, value]) => ({
      name: "auth_failures_total",
      help: "Refused credentials, by who refused them and why.",
      type: "counter",
      labels: { plugin: "admin", reason: `${reason}_token` },
      value,
    }));
  }

  /** How many addresses are remembered for wrong tokens. */
  get remembered(): number {
    return this.#failures.size;
  }

  #judge(digest: Uint8Array, token: string | undefined, source: string): TokenVerdict {
    const key = sourceKey(parseAddress(source) ?? source);
    // Looked at before the token: someone who guesses must not learn from the answer that a guess was right.
    if (this.#blocked(key)) return "blocked";
    if (token === undefined) return "missing";
    // Digests have one length whatever was sent, and their bytes say nothing about the token's.
    if (this.#equal(sha256(token), digest)) return "ok";
    this.#failed(key);
    return "wrong";
  }

  #blocked(key: string): boolean {
    const failures = this.#failures.get(key);
    if (failures === undefined) return false;
    if (this.#now() < failures.until) return failures.count >= MAX_FAILURES;
    this.#failures.delete(key);
    return false;
  }

  #failed(key: string): void {
    const failures = this.#failures.get(key);
    if (failures !== undefined) {
      failures.count++;
      return;
    }
    if (this.#failures.size >= MAX_SOURCES) {
      for (const [oldest] of this.#failures) {
        this.#failures.delete(oldest);
        break;
      }
    }
    this.#failures.set(key, { count: 1, until: this.#now() + FAILURE_WINDOW_MS });
  }
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
