import type { ErrorStatus } from "./pages.ts";

/** Why a request gets no answer of its service, or not all of one. */
export interface Failure {
  /** What the client is told; 0: it cannot be told any more. */
  readonly status: ErrorStatus | 0;
  /** For `RequestEvent.fault`. */
  readonly word: string;
  /** The rule that was broken. */
  readonly detail?: string | undefined;
}

/** The client has left before the answer's end. */
export const CLIENT_CLOSED: Failure = { status: 0, word: "client_closed" };
/** The gateway has closed the connection. */
export const CLOSED: Failure = { status: 0, word: "closed" };
/** The head or the body of the request did not come in time. */
export const SLOW_CLIENT: Failure = { status: 408, word: "request_timeout" };
/** The service did not answer in time. */
export const SLOW_SERVICE: Failure = { status: 504, word: "response_timeout" };
/** Nothing has moved for too long in the middle of an answer. */
export const IDLE: Failure = { status: 0, word: "idle_timeout" };
/** The service has left in the middle of its answer, or broken its framing. */
export const CUT_SHORT: Failure = { status: 0, word: "response_cut_short" };
/** The request is for a name that its connection is not for. */
export const MISDIRECTED: Failure = { status: 421, word: "misdirected" };

/** The client broke a rule of HTTP. @param fault The status that it is answered with, and the rule. */
export function badRequest(fault: { readonly status: ErrorStatus; readonly word: string }): Failure {
  return { status: fault.status, word: "bad_request", detail: fault.word };
}
