import { DatabaseDown } from "./access.ts";
import { IdentityFault } from "./identity.ts";
import type { Failure } from "./outcome.ts";

/** Somebody does not get in, for a reason that has a name. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly failure: Failure;

  /** @param message For the operator; the client is told none of it. */
  constructor(failure: Failure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }

  /** What an error on the way to a decision comes to; `undefined` for one that should not have happened. */
  static from(error: unknown): Refused | undefined {
    if (error instanceof Refused) return error;
    if (error instanceof IdentityFault) return new Refused(error.code, error.message, { cause: error });
    if (error instanceof DatabaseDown) return new Refused("database_down", error.message, { cause: error });
    return undefined;
  }
}
