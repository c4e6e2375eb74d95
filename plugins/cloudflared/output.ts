import type { LogLevel } from "../../core/plugin/mod.ts";
import type { FailureReason } from "./failure.ts";

/** One line of the program's output: of its own log, or (`level` absent) whatever else it prints. */
export interface OutputLine {
  readonly level?: LogLevel;
  /** Without the time stamp, which the gateway's log has itself. */
  readonly message: string;
}

/** What a line says about the tunnel. */
export type Meaning =
  /** It is about to listen. Printed right before it does. */
  | { readonly kind: "listening" }
  /** It cannot work as it was started: over. */
  | { readonly kind: "fatal"; readonly reason: FailureReason }
  /** It could not bring one connection to where it belongs. */
  | { readonly kind: "complaint"; readonly reason: FailureReason };

const LEVELS: Readonly<Record<string, LogLevel>> = {
  TRC: "debug",
  DBG: "debug",
  INF: "info",
  WRN: "warn",
  ERR: "error",
  FTL: "error",
  PNC: "error",
};

/** `2026-08-20T10:54:27Z INF Start Websocket listener host=localhost:45000` */
const LOG_LINE = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d) ([A-Z]{3}) (.*)$/;

/** Reads a line of the program's log, which is that of a terminal without its colours. */
export function parseLine(text: string): OutputLine {
  const [, word = "", message = ""] = LOG_LINE.exec(text) ?? [];
  const level = LEVELS[word];
  return level === undefined ? { message: text } : { level, message };
}

/**
 * What the program says and what it means, the first that fits. A redirect to the login shows by what the program
 * does next: it asks for the application's metadata, looks for a stored login in its home folder, prints the URL.
 */
const MEANINGS: readonly (readonly [RegExp, Meaning])[] = [
  [/\bStart Websocket listener\b/, { kind: "listening" }],
  [/\bbind: (?:address already in use|Only one usage)/i, fatal("port_taken")],
  [/\bopen the following URL and log in\b|\bbrowser window should have opened\b/i, fatal("login_required")],
  [/\bWaiting for login\b|\bwaiting for authentication\b/i, fatal("login_required")],
  [/\/cdn-cgi\/access\/(?:login|cli)\b/, fatal("login_required")],
  [/\bfailed to (?:find Access application|get app info)\b|\bmetadata JWT\b/, fatal("login_required")],
  [/\bfailed to (?:generate|get|acquire) (?:app|org) token\b/, fatal("login_required")],
  [/\bfailed to run transfer service\b|\/\.cloudflared: not a directory\b/, fatal("login_required")],
  [/\bservice token\b.*\b(?:invalid|expired|revoked|not valid)\b/i, fatal("bad_service_token")],
  [/\binvalid service token\b/i, fatal("bad_service_token")],
  [/\bx509: |\btls: (?:failed to verify|bad|unknown) certificate/, complaint("certificate_error")],
  [/\bwebsocket: bad handshake\b/, complaint("edge_refused")],
  [/\bfailed to connect to origin\b/, complaint("edge_unreachable")],
];

/** What a line means, or nothing when it is only for the log. Never throws, whatever the line. */
export function classify({ level, message }: OutputLine): Meaning | undefined {
  // Debug lines dump whole requests and answers, in which anything may stand.
  if (level === "debug") return undefined;
  return MEANINGS.find(([pattern]) => pattern.test(message))?.[1];
}

function fatal(reason: FailureReason): Meaning {
  return { kind: "fatal", reason };
}

function complaint(reason: FailureReason): Meaning {
  return { kind: "complaint", reason };
}
