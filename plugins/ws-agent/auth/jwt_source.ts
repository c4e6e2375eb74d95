import { errors, type JWTHeaderParameters, type JWTPayload, jwtVerify, type JWTVerifyOptions } from "jose";
import type { Log } from "../../../core/plugin/mod.ts";
import { Lru } from "../../../core/tls/lru.ts";
import type { JwtConfig } from "../config.ts";
import type { PrivateService } from "../private_name.ts";
import { denialOf, mayAccess } from "./allowance.ts";
import { type Fetch, NoAnswer } from "./bounded_fetch.ts";
import type { Clock } from "../clock.ts";
import type { AccessAnswer, AuthRefusal, AuthResult, Grant, PortRange, RequestedService } from "./grant.ts";
import { checkAudience, type Claims, readClaims } from "./jwt_claims.ts";
import { KeySet } from "./key_set.ts";
import { digestOf } from "./token.ts";
import type { TokenLimits } from "./token_limits.ts";
import { refuse } from "./verdict.ts";

/** A JWT of an identity provider has 1 to 2 KiB. */
const MAX_JWT_LENGTH = 16_384;
/** Verified ones that are remembered: an agent comes with several connections, and again when it was lost. */
const MAX_VERIFIED = 4096;
/** For `nbf` alone: who issues a token may be ahead of us by a little, and the end of a token is its end. */
const CLOCK_TOLERANCE_SECONDS = 5;
const ENDED = "The JWT has expired";

/** Three parts in base64url; the last one is empty where nothing was signed. */
const JWT_SHAPE = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/** Whether a token is a JWT by its looks (RFC 7515 §7.1). */
export function looksLikeJwt(token: string): boolean {
  return JWT_SHAPE.test(token);
}

export interface JwtTools {
  readonly clock: Clock;
  readonly fetch: Fetch;
  readonly log: Log;
}

/** A JWT that was found good, and by which key of the key set; `undefined` with a secret. */
interface Verified {
  readonly claims: Claims;
  readonly fingerprint: string | undefined;
}

/** Tokens that somebody else makes, and signs: RFC 7519. One source is for one config; another config, another source. */
export class JwtSource implements Disposable {
  readonly #config: JwtConfig;
  readonly #domain: string;
  readonly #clock: Clock;
  readonly #keys: KeySet | undefined;
  readonly #secret: Uint8Array | undefined;
  /** By the digest of the token. */
  readonly #verified = new Lru<Verified>(MAX_VERIFIED);
  #isGone = false;

  constructor(config: JwtConfig, domain: string, tools: JwtTools) {
    this.#config = config;
    this.#domain = domain;
    this.#clock = tools.clock;
    if ("jwks" in config) this.#keys = new KeySet(config.jwks, tools);
    else this.#secret = new TextEncoder().encode(config.secret);
  }

  /** Rejects for what is a fault of ours, and lets nobody in then. */
  async authenticate(token: string): Promise<AuthResult> {
    if (token.length > MAX_JWT_LENGTH) return refuse("malformed", "The JWT is too long");
    const digest = digestOf(token).toHex();
    try {
      const verified = this.#remembered(digest) ?? await this.#verify(token);
      this.#verified.set(digest, verified);
      if (verified.claims.expiresAt <= this.#clock.wall()) return refuse("expired", ENDED);
      return { grant: new JwtGrant(this, verified) };
    } catch (error) {
      return refusalOf(error);
    }
  }

  /** Why a grant is over, or `undefined`. */
  endOf({ claims, fingerprint }: Verified): string | undefined {
    if (this.#isGone) return "The gateway's settings for JWTs have changed";
    if (claims.expiresAt <= this.#clock.wall()) return ENDED;
    if (fingerprint === undefined || !this.#keys?.hasWithdrawn(fingerprint)) return undefined;
    return "The key that the JWT was signed with has been withdrawn";
  }

  denialOf({ allowance }: Claims, service: RequestedService): string | undefined {
    return denialOf(allowance, service, this.#domain);
  }

  /** What it has granted is over. */
  [Symbol.dispose](): void {
    this.#isGone = true;
    this.#verified.clear();
    this.#keys?.[Symbol.dispose]();
  }

  #remembered(digest: string): Verified | undefined {
    const verified = this.#verified.get(digest);
    const { fingerprint } = verified ?? {};
    return fingerprint === undefined || this.#keys?.vouchesFor(fingerprint) ? verified : undefined;
  }

  async #verify(token: string): Promise<Verified> {
    const { issuer } = this.#config;
    const rules: JWTVerifyOptions = {
      currentDate: new Date(this.#clock.wall()),
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      requiredClaims: this.#keys === undefined ? ["exp"] : ["exp", "sub"],
      ...(issuer !== undefined && { issuer }),
    };
    if (this.#secret !== undefined) {
      const { payload } = await jwtVerify(token, this.#secret, { ...rules, algorithms: ["HS256"] });
      return { claims: this.#read(payload), fingerprint: undefined };
    }
    let fingerprint = "";
    const keyFor = async (header: JWTHeaderParameters, jws: Parameters<KeySet["keyFor"]>[1]) => {
      const found = await this.#keySet.keyFor(header, jws);
      fingerprint = found.fingerprint;
      return found.key;
    };
    const { payload } = await jwtVerify(token, keyFor, { ...rules, algorithms: ["RS256", "ES256"] });
    return { claims: this.#read(payload), fingerprint };
  }

  #read(payload: JWTPayload): Claims {
    checkAudience(payload, this.#config.audience ?? this.#domain);
    return readClaims(payload);
  }

  get #keySet(): KeySet {
    if (this.#keys === undefined) throw new TypeError("There is a secret in place of keys");
    return this.#keys;
  }
}

class JwtGrant implements Grant {
  readonly owner: string;
  readonly principal: string;
  readonly expiresAt: number;
  readonly ports: readonly PortRange[] | undefined;
  readonly limits: TokenLimits | undefined;
  readonly #source: JwtSource;
  readonly #verified: Verified;

  constructor(source: JwtSource, verified: Verified) {
    const { issuer = "", subject = "", expiresAt, allowance, limits } = verified.claims;
    this.#source = source;
    this.#verified = verified;
    this.owner = subject || issuer || "jwt";
    // Encoded: `a:b` of one issuer must not be `b` of the issuer `a`.
    this.principal = `jwt:${encodeURIComponent(issuer)}:${encodeURIComponent(subject)}`;
    this.expiresAt = expiresAt;
    this.ports = allowance.ports;
    this.limits = limits;
  }

  allows(service: RequestedService): string | undefined {
    return this.stillGood() ?? this.#source.denialOf(this.#verified.claims, service);
  }

  mayAccess(service: PrivateService): AccessAnswer {
    const may = this.stillGood() === undefined && mayAccess(this.#verified.claims.allowance, service);
    return may ? "may" : "may_not";
  }

  stillGood(): string | undefined {
    return this.#source.endOf(this.#verified);
  }
}

/** In the order from what nobody can help to what is wrong with the token. Never what the token says. */
function refusalOf(error: unknown): { readonly refusal: AuthRefusal } {
  if (error instanceof NoAnswer) {
    return refuse("keys_unavailable", "The gateway can't check JWTs at the moment");
  }
  if (error instanceof errors.JWTExpired) return refuse("expired", ENDED);
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error);
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return refuse("bad_signature", "The JWT is signed with a key that the gateway does not know");
  }
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed) {
    return refuse("bad_signature", "The signature of the JWT is not good");
  }
  if (error instanceof errors.JOSEError) return refuse("malformed", "The JWT can't be read");
  throw error;
}

function claimRefusal({ claim, reason }: errors.JWTClaimValidationFailed): { readonly refusal: AuthRefusal } {
  if (claim === "iss") return refuse("bad_issuer", "The JWT is from another issuer (iss)");
  if (claim === "aud") return refuse("bad_token", "The JWT is for another audience (aud)");
  if (reason === "missing") return refuse("malformed", `The JWT has no ${claim}`);
  if (claim === "nbf" && reason === "check_failed") {
    return refuse("bad_token", "The JWT is not valid yet (nbf)");
  }
  return refuse("malformed", `The claim ${claim} of the JWT can't be read`);
}
