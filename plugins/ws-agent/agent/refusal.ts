import { farewellOf } from "../session/end_reason.ts";
import { Refused } from "./control_channel.ts";

/** What a gateway says that only wants to be asked later: it is too busy, or can't reach whom it asks about tokens. */
const TEMPORARY =
  /\b(?:try again|later|unavailable|too many|at the moment|(?:can't|cannot) (?:check|ask))\b/i;

/**
 * Whether trying again makes no sense: the token is not good, or a newer run of this agent is there.
 *
 * @returns Why, as the gateway says it.
 */
export function lostForGood(error: unknown): string | undefined {
  if (!(error instanceof Refused) || TEMPORARY.test(error.reason)) return undefined;
  return error.reason === "" ? "The gateway refuses this token" : error.reason;
}

/** The same of a goodbye: all but that of a newer run may be answered by coming back. */
export function isSuperseded(farewell: string | undefined): boolean {
  return farewell !== undefined && farewell === farewellOf("superseded");
}
