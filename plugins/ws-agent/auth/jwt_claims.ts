import { errors, type JWTPayload } from "jose";
import { z } from "../../../core/plugin/mod.ts";
import { type Allowance, ALLOWANCE_FIELDS } from "./allowance.ts";
import { isPartyName } from "./printable.ts";
import { TOKEN_LIMITS, type TokenLimits } from "./token_limits.ts";

/** What a JWT says of its bearer; checked, and plain but for the patterns. */
export interface Claims {
  readonly issuer?: string | undefined;
  /** Absent: whoever issued it tells nobody apart. */
  readonly subject?: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly allowance: Allowance;
  readonly limits?: TokenLimits | undefined;
}

/** What is narrowed stays narrow: a claim that can't be read is no reason to allow everything. */
const schema = z.object({
  // go-tunnel writes an empty one when its config names none.
  iss: z.literal("").transform(() => undefined).or(z.string().refine(isPartyName)).optional(),
  sub: z.string().refine(isPartyName).optional(),
  exp: z.number(),
  subdomains: ALLOWANCE_FIELDS.subdomains.optional(),
  hostnames: ALLOWANCE_FIELDS.hostnames.default([]),
  ports: ALLOWANCE_FIELDS.ports.optional(),
  access: ALLOWANCE_FIELDS.access.optional(),
  share: ALLOWANCE_FIELDS.share.optional(),
  limits: TOKEN_LIMITS.optional(),
}).transform(({ iss, sub, exp, subdomains, hostnames, ports, access, share, limits }): Claims => ({
  issuer: iss,
  subject: sub,
  expiresAt: exp * 1000,
  allowance: {
    hostnames,
    ...(subdomains !== undefined && { subdomains }),
    ...(ports !== undefined && { ports }),
    ...(share !== undefined && { share }),
    ...(access !== undefined && { access }),
  },
  ...(limits !== undefined && { limits }),
}));

/**
 * Reads the claims of a JWT whose signature was verified.
 *
 * @throws {errors.JWTClaimValidationFailed} Naming the first claim that can't be read, never its value.
 */
export function readClaims(payload: JWTPayload): Claims {
  const result = schema.safeParse(payload);
  if (result.success) return result.data;
  const claim = String(result.error.issues[0]?.path[0] ?? "");
  throw new errors.JWTClaimValidationFailed(`Claim ${claim} can't be read`, payload, claim, "invalid");
}

/**
 * A token that says for whom it is must say that it is for us: or whoever is shown it in another place could come here
 * with it. One that says nothing is for whoever trusts its issuer.
 *
 * @throws {errors.JWTClaimValidationFailed}
 */
export function checkAudience(payload: JWTPayload, audience: string): void {
  const { aud } = payload;
  if (aud === undefined || aud === audience || (Array.isArray(aud) && aud.includes(audience))) return;
  throw new errors.JWTClaimValidationFailed("Another audience", payload, "aud", "check_failed");
}
