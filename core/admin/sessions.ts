import { createHash, timingSafeEqual } from "node:crypto";

/** A working day and a little. */
export const SESSION_LIFETIME_MS = 12 * 60 * 60_000;

/** A team and its browsers. Past this the one that began first ends. */
export const MAX_SESSIONS = 64;

/** 256 bits, as many as the admin token has. */
const ID_BYTES = 32;

/** Somebody who has shown the admin token, in one browser. */
export interface Session {
  /** Stands in every form of this session's pages: a page of another site does not know it. */
  readonly formToken: string;
}

interface Kept extends Session {
  readonly until: number;
}

/** Who is logged in. The ids are random and say nothing of the token; only their digests are kept. */
export class Sessions {
  readonly #now: () => number;
  /** By the digest of the id, oldest first. */
  readonly #sessions = new Map<string, Kept>();

  /** @param now Milliseconds from any fixed point. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @returns The id of a new session, for its owner's cookie. */
  begin(): string {
    if (this.#sessions.size >= MAX_SESSIONS) {
      const oldest = this.#sessions.keys().next();
      if (!oldest.done) this.#sessions.delete(oldest.value);
    }
    const id = randomText();
    this.#sessions.set(digestOf(id), {
      formToken: randomText(),
      until: this.#now() + SESSION_LIFETIME_MS,
    });
    return id;
  }

  /** The session with this id, while it lasts. The look-up is by a digest, whose timing tells nothing of an id. */
  find(id: string): Session | undefined {
    const key = digestOf(id);
    const session = this.#sessions.get(key);
    if (session === undefined || this.#now() < session.until) return session;
    this.#sessions.delete(key);
    return undefined;
  }

  end(id: string): void {
    this.#sessions.delete(digestOf(id));
  }

  endAll(): void {
    this.#sessions.clear();
  }

  get size(): number {
    return this.#sessions.size;
  }
}

/** What nobody guesses. */
export function randomText(): string {
  return crypto.getRandomValues(new Uint8Array(ID_BYTES)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
}

/** Compares in a time that does not depend on where the two differ. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(createHash("sha256").update(a).digest(), createHash("sha256").update(b).digest());
}

function digestOf(id: string): string {
  return createHash("sha256").update(id).digest("base64url");
}
