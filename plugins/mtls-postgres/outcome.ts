import type { RejectReason } from "../../core/plugin/mod.ts";
import type { DenialReason } from "./access.ts";
import type { IdentityFaultCode } from "./identity.ts";

/** Why it is not known who a client is. */
export const AUTHENTICATION_FAILURES = [
  "tls_no_certificate",
  "tls_bad_certificate",
  "malformed_certificate",
  "not_for_clients",
  "no_spiffe_id",
  "several_spiffe_ids",
  "malformed_spiffe_id",
  "wrong_trust_domain",
  "revoked",
  "crl_unusable",
  "ca_expired",
  /** The CA that the certificate leads to is no longer among the configured ones. */
  "ca_removed",
] as const satisfies readonly (IdentityFaultCode | `tls_${string}` | "ca_removed")[];
export type AuthenticationFailure = (typeof AUTHENTICATION_FAILURES)[number] | IdentityFaultCode;

/** Why somebody whose identity is known does not get where they want to. */
export const AUTHORIZATION_FAILURES = [
  "unknown_host",
  "unknown_user",
  "other_organization",
  "not_listed",
  "database_down",
  /** `internal_ip_addr` is nothing to connect to. */
  "bad_target",
  /** A fault of the plugin's own. */
  "internal_error",
] as const satisfies readonly (DenialReason | "database_down" | "bad_target" | "internal_error")[];
export type AuthorizationFailure = (typeof AUTHORIZATION_FAILURES)[number] | DenialReason;

/** Why a connection that was let in is ended. Each is what the gateway logs and counts as its end. */
export const ENDINGS = [
  "access_revoked",
  "target_changed",
  "certificate_expired",
  "certificate_revoked",
  "ca_removed",
  /** Another issuer is configured now, or the certificate is no good for another reason. */
  "identity_refused",
] as const;
export type Ending = (typeof ENDINGS)[number];

export type Failure = AuthenticationFailure | AuthorizationFailure | "over_limit" | "client_left";

/** Failures that are nobody's attempt to get in. */
const HARMLESS: ReadonlySet<Failure> = new Set<Failure>([
  "database_down",
  "bad_target",
  "internal_error",
  "crl_unusable",
  "over_limit",
  "client_left",
]);

/** Whether it counts against the client's source. */
export function countsAgainstSource(failure: Failure): boolean {
  return !HARMLESS.has(failure);
}

/** What the client is told. */
export function rejectReasonOf(failure: Failure): RejectReason {
  switch (failure) {
    case "over_limit":
      return "over_limit";
    case "client_left":
      return "timeout";
    case "database_down":
    case "bad_target":
    case "internal_error":
      return "unavailable";
    case "unknown_host":
    case "unknown_user":
    case "other_organization":
    case "not_listed":
      return "forbidden";
    default:
      return "bad_certificate";
  }
}
