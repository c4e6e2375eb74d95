/** A command that cannot go on: what to tell the user, on one line or several, and the exit code. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  /** See `EXIT`. */
  readonly exitCode: number;

  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
