import { courseOf, type Reason } from "../control/reason.ts";
import { Refused } from "./control_channel.ts";

/**
 * Whether trying again makes no sense: the token is not good, or a newer run of this agent is there.
 *
 * @returns Why, as the gateway says it.
 */
export function lostForGood(error: unknown): string | undefined {
  if (!(error instanceof Refused) || error.course === "retry") return undefined;
  return error.reason.text || "The gateway refuses this token";
}

/** The same of a goodbye: nearly all may be answered by coming back. */
export function endsForGood(farewell: Reason | undefined): boolean {
  return farewell !== undefined && courseOf("disconnect", farewell.word) === "final";
}
