/**
 * What is wrong with a message. After `unknown_type` and `malformed` the next one begins where it should, so that a
 * reader may go on; after `too_long` and `truncated` there is no next one.
 */
export type ControlFaultCode = "unknown_type" | "malformed" | "too_long" | "truncated";

/** A control message that breaks the format. Its text quotes nothing of it: it may hold a token. */
export class ControlFault extends Error {
  override readonly name = "ControlFault";
  readonly code: ControlFaultCode;
  /** The message's first byte, where there is one. */
  readonly type: number | undefined;

  constructor(code: ControlFaultCode, message: string, type?: number) {
    super(message);
    this.code = code;
    this.type = type;
  }
}
