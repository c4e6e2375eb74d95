/**
 * What a reason means for whoever is told. `final`: to ask the same again gets the same answer, until somebody has changed something.
 * `retry`: it passes by itself.
 */
export type Course = "final" | "retry";

/**
 * The words that reasons begin with: those of the gateway's log and metrics, which agents act upon. PROTOCOL.md, "Reasons", lists them
 * for everybody else.
 */
const COURSES = {
  // Of an agent that wants to be let in.
  bad_token: "final",
  expired: "final",
  revoked: "final",
  bad_signature: "final",
  bad_issuer: "final",
  controller_refused: "final",
  malformed: "final",
  no_auth: "final",
  superseded: "final", // also of one that is in
  blocked: "retry",
  controller_unavailable: "retry",
  keys_unavailable: "retry",
  registry_failed: "retry",
  // Of a service.
  bad_name: "final",
  reserved_name: "final",
  bad_port: "final",
  not_supported: "final",
  not_allowed: "final",
  duplicate: "final",
  held: "retry",
  port_in_use: "retry",
  no_free_port: "retry",
  // Of an access to a private service.
  no_such_service: "final",
  access_expired: "final",
  access_revoked: "final",
  service_gone: "final",
  // Of more than one of these.
  limit: "retry",
  internal_error: "retry",
  // Of a tunnel that stood. Whether its agent may come back is answered when it does.
  going_away: "retry",
  closed_by_admin: "retry",
  idle_timeout: "retry",
  token_expired: "retry",
  token_revoked: "retry",
  service_revoked: "retry",
  control_flood: "retry",
  protocol_error: "retry",
} as const satisfies Record<string, Course>;

/** A word that a gateway begins a reason with. */
export type ReasonWord = keyof typeof COURSES;

/** The messages that have a reason. */
export type ReasonedMessage = "authFail" | "registerFail" | "accessFail" | "accessEnded" | "disconnect";

/** What a reason means whose word is not known: of a gateway that is newer, or another. */
const UNKNOWN: Readonly<Record<ReasonedMessage, Course>> = {
  authFail: "final",
  registerFail: "retry",
  accessFail: "retry",
  accessEnded: "final",
  disconnect: "retry",
};

/** A reason in its parts. Both come from outside. */
export interface Reason {
  /** What a program goes by; absent: it has none. */
  readonly word?: string;
  /** What people read. */
  readonly text: string;
}

const WORD = /^([a-z][a-z0-9_]{0,31}): /;

/** `word: text`, as it goes into a message. */
export function formatReason(word: ReasonWord, text: string): string {
  return `${word}: ${text}`;
}

/** The inverse of {@link formatReason}. What does not begin with a word is all text. */
export function parseReason(reason: string): Reason {
  const [start, word] = WORD.exec(reason) ?? [];
  return start === undefined || word === undefined
    ? { text: reason }
    : { word, text: reason.slice(start.length) };
}

/** What to make of a reason in such a message. */
export function courseOf(message: ReasonedMessage, word: string | undefined): Course {
  return word !== undefined && isReasonWord(word) ? COURSES[word] : UNKNOWN[message];
}

function isReasonWord(word: string): word is ReasonWord {
  return Object.hasOwn(COURSES, word);
}

/** All words with what they mean, for the table in PROTOCOL.md. */
export function reasonWords(): ReadonlyMap<ReasonWord, Course> {
  return new Map(Object.entries(COURSES) as [ReasonWord, Course][]);
}
