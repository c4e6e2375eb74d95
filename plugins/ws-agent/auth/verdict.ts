import type { AuthRefusal, AuthResult } from "./grant.ts";

/** @param message For the agent: it names the policy, and no secret. */
export function refuse(reason: AuthRefusal["reason"], message: string): { readonly refusal: AuthRefusal } {
  return { refusal: { reason, message } };
}

/** Nobody's attempt to get in: they are not held against the source. */
const HARMLESS: ReadonlySet<AuthRefusal["reason"]> = new Set<AuthRefusal["reason"]>([
  "blocked",
  "controller_unavailable",
  "keys_unavailable",
  "internal_error",
]);

/** Whether this is a failure of the one who tried. */
export function countsAgainstSource(result: AuthResult): boolean {
  return "refusal" in result && !HARMLESS.has(result.refusal.reason);
}
