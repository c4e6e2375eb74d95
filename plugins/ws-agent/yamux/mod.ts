import type { ByteStream } from "../../../core/plugin/mod.ts";
import { Session } from "./session.ts";
import type { YamuxOptions, YamuxSession } from "./yamux.ts";

export type { GoAwayCode, SessionEnd, YamuxOptions, YamuxRole, YamuxSession, YamuxStream } from "./yamux.ts";

/**
 * Starts a yamux session (hashicorp's specification, version 0) over `transport`, and owns it from now on: the session's
 * end closes it.
 */
export function openYamux(transport: ByteStream, options: YamuxOptions): YamuxSession {
  return new Session(transport, options);
}
