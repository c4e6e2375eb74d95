import type { FailureKind } from "./schedule.ts";

/** No certificate came of an order. The message is for the operator, on one line. */
export class AcmeFault extends Error {
  override readonly name = "AcmeFault";
  readonly kind: FailureKind;
  /** For how long not to ask again, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Whether that is for every name: the directory itself is busy. */
  readonly forAll: boolean;
  /** The type of the problem, without its prefix: `rateLimited` (RFC 8555 §6.7). */
  readonly problem: string | undefined;

  constructor(
    kind: FailureKind,
    message: string,
    options: ErrorOptions & {
      readonly retryAfterMs?: number | undefined;
      readonly forAll?: boolean;
      readonly problem?: string | undefined;
    } = {},
  ) {
    super(message, options);
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
    this.forAll = options.forAll ?? false;
    this.problem = options.problem;
  }
}
