import {
  createLocalJWKSet,
  type CryptoKey,
  errors,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWK,
  type JWSHeaderParameters,
} from "jose";
import { LogOnce } from "../../../core/data_plane/log_once.ts";
import { type Log, messageOf } from "../../../core/plugin/mod.ts";
import { type Fetch, fetchJson, NoAnswer, serverOf } from "./bounded_fetch.ts";
import type { Clock } from "../clock.ts";

const FETCH_TIMEOUT_MS = 5000;
/** From this age on they are fetched anew, beside the work. */
const REFRESH_AFTER_MS = 300_000;
/** Older keys open nothing: one of them may have been withdrawn. Long enough for a key server to be restarted. */
const MAX_AGE_MS = 900_000;
/** Between two fetches, whoever asks for them: strangers can name keys that are not there. */
const COOLDOWN_MS = 10_000;
/** Each is looked at for every token that is not known yet. */
const MAX_KEYS = 64;

/** A key, and what tells it from others also when it is fetched again. */
export interface VerificationKey {
  readonly key: CryptoKey | Uint8Array;
  readonly fingerprint: string;
}

interface PublishedKey {
  readonly fingerprint: string;
  /** Gives the key when a token may have been signed with it. Each is a set of its own, so that it is known which it was. */
  readonly match: ReturnType<typeof createLocalJWKSet>;
}

interface Keys {
  readonly all: readonly PublishedKey[];
  readonly fingerprints: ReadonlySet<string>;
  /** By the monotonic clock. */
  readonly fetchedAt: number;
}

export interface KeySetTools {
  readonly clock: Clock;
  readonly fetch: Fetch;
  readonly log: Log;
}

/** The keys that a server publishes (RFC 7517 §5), fetched when they are needed, and kept for some minutes. */
export class KeySet implements Disposable {
  readonly #url: string;
  readonly #tools: KeySetTools;
  readonly #life = new AbortController();
  readonly #told = new LogOnce();
  #keys: Keys | undefined;
  #fetching: Promise<Keys> | undefined;
  #lastFetch = -Infinity;

  constructor(url: string, tools: KeySetTools) {
    this.#url = url;
    this.#tools = tools;
  }

  /** Whether a token that was verified by this key is good without another look. */
  vouchesFor(fingerprint: string): boolean {
    return this.#age < MAX_AGE_MS && this.#keys?.fingerprints.has(fingerprint) === true;
  }

  /** Whether the server has taken this key back, as far as is known. */
  hasWithdrawn(fingerprint: string): boolean {
    return this.#keys?.fingerprints.has(fingerprint) === false;
  }

  /**
   * The key that a token says it was signed with. One that is not known is looked for once more at the server.
   *
   * @throws {NoAnswer} There are no keys, or only old ones.
   * @throws {errors.JOSEError} No key fits, or several do.
   */
  async keyFor(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<VerificationKey> {
    const keys = await this.#current();
    try {
      return await find(keys, header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayFetch) throw error;
      return await find(await this.#fetch(), header, token);
    }
  }

  [Symbol.dispose](): void {
    this.#life.abort();
  }

  get #age(): number {
    return this.#tools.clock.monotonic() - (this.#keys?.fetchedAt ?? -Infinity);
  }

  get #mayFetch(): boolean {
    return this.#fetching !== undefined || this.#tools.clock.monotonic() - this.#lastFetch >= COOLDOWN_MS;
  }

  async #current(): Promise<Keys> {
    const keys = this.#keys;
    const age = this.#age;
    if (keys !== undefined && age < REFRESH_AFTER_MS) return keys;
    if (!this.#mayFetch && (keys === undefined || age >= MAX_AGE_MS)) {
      throw new NoAnswer("The keys could not be fetched a moment ago");
    }
    if (keys === undefined || age >= MAX_AGE_MS) return await this.#fetch();
    if (this.#mayFetch) this.#fetch().catch(() => {}); // it has been told
    return keys;
  }

  /** One at a time, for all who ask. */
  #fetch(): Promise<Keys> {
    return this.#fetching ??= this.#fetchNow().finally(() => this.#fetching = undefined);
  }

  async #fetchNow(): Promise<Keys> {
    const { clock, fetch, log } = this.#tools;
    this.#lastFetch = clock.monotonic();
    try {
      const answer = await fetchJson(fetch, this.#url, {
        headers: { accept: "application/jwk-set+json, application/json" },
        timeoutMs: FETCH_TIMEOUT_MS,
        signal: this.#life.signal,
      });
      return this.#keys = toKeys(answer, clock.monotonic());
    } catch (error) {
      const reason = error instanceof errors.JOSEError
        ? "The answer is no JSON Web Key Set"
        : messageOf(error);
      if (this.#told.may(reason) && !this.#life.signal.aborted) {
        log.warn("jwks_unavailable", { server: serverOf(this.#url), reason });
      }
      throw error instanceof NoAnswer ? error : new NoAnswer(reason, { cause: error });
    }
  }
}

/** @throws {errors.JWKSInvalid} */
function toKeys(answer: unknown, fetchedAt: number): Keys {
  const { keys } = createLocalJWKSet(answer as JSONWebKeySet).jwks(); // it checks the shape
  if (keys.length > MAX_KEYS) throw new errors.JWKSInvalid(`More than ${MAX_KEYS} keys`);
  const all = keys.map((key): PublishedKey => ({
    fingerprint: fingerprintOf(key),
    match: createLocalJWKSet({ keys: [key] }),
  }));
  return { all, fingerprints: new Set(all.map(({ fingerprint }) => fingerprint)), fetchedAt };
}

/** The one key that fits: by `kid`, by kind, and by what it is for. */
async function find(
  { all }: Keys,
  header: JWSHeaderParameters,
  token: FlattenedJWSInput,
): Promise<VerificationKey> {
  const found: VerificationKey[] = [];
  for (const { match, fingerprint } of all) {
    try {
      found.push({ key: await match(header, token), fingerprint });
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
  }
  const [first, second] = found;
  if (first === undefined) throw new errors.JWKSNoMatchingKey();
  if (second !== undefined) throw new errors.JWKSMultipleMatchingKeys();
  return first;
}

/** The members that make the key what it is, as for its thumbprint (RFC 7638 §3.2). */
function fingerprintOf({ kty, crv, e, n, x, y }: JWK): string {
  return JSON.stringify({ kty, crv, e, n, x, y });
}
