import { granted, hasProgram } from "../support/permissions.ts";

/** Whether this run may start a whole gateway and these programs beside it. */
export function can(...programs: readonly string[]): boolean {
  return granted("read", "write", "env", "run", "sys", "ffi", "net") && programs.every(hasProgram);
}
