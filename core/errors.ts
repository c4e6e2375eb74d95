/** What went wrong, for somebody who operates the gateway. `docs/errors.md` says what to do about each. */
export type FaultCode =
  | "config-invalid"
  | "plugin-not-declared"
  | "plugin-failed"
  | "plugin-timeout"
  | "permission-denied"
  | "address-in-use"
  | "listen-failed"
  | "certificate-invalid"
  | "mutual-tls-unproven"
  | "dial-failed"
  | "dial-timeout"
  | "rpc-closed";

/**
 * A fault that an operator acts on. Misuse by our own code is a `TypeError` or `RangeError` instead; waiting
 * for bytes and a peer's reset are values, not faults.
 */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: FaultCode;

  constructor(code: FaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The message of anything thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s*[\r\n]+\s*/g, " ");
}
