/** Why a certificate names nobody that is let in. Each is a label of a metric and a word of the audit log. */
export type IdentityFaultCode =
  | "malformed_certificate"
  | "not_for_clients"
  | "no_spiffe_id"
  | "several_spiffe_ids"
  | "malformed_spiffe_id"
  | "wrong_trust_domain"
  | "revoked"
  | "crl_unusable"
  | "ca_expired";

/** A client's certificate was verified, and yet does not say who the client is. */
export class IdentityFault extends Error {
  override readonly name = "IdentityFault";
  readonly code: IdentityFaultCode;

  constructor(code: IdentityFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
