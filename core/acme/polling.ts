import { delay } from "../delay.ts";
import { AcmeFault } from "./fault.ts";

/** Looks, and waits between them that double, in milliseconds: two minutes in all. */
const MAX_LOOKS = 30, FIRST_WAIT_MS = 250, LAST_WAIT_MS = 5000;

/**
 * Looks at something of a directory until it is decided (RFC 8555 §7.5.1). A look that fails on the way there is taken
 * again; what the directory itself says ends it, so that nobody is asked more often who has had enough.
 *
 * @param isDecided Whether no other status follows.
 * @throws {AcmeFault} It takes too long, or the directory refuses to tell.
 * @throws The signal's reason.
 */
export async function decided<T>(
  look: () => Promise<T>,
  isDecided: (seen: T) => boolean,
  signal: AbortSignal,
): Promise<T> {
  for (let looks = 1, waitMs = FIRST_WAIT_MS;; looks++, waitMs = Math.min(2 * waitMs, LAST_WAIT_MS)) {
    try {
      const seen = await look();
      if (isDecided(seen)) return seen;
      if (looks >= MAX_LOOKS) throw new AcmeFault("refused", "The directory has not decided in two minutes");
    } catch (error) {
      signal.throwIfAborted();
      if (looks >= MAX_LOOKS || !isPassing(error)) throw error;
    }
    await pause(waitMs, signal);
  }
}

/** Whether the next look may well succeed. */
function isPassing(error: unknown): boolean {
  return error instanceof AcmeFault && error.kind === "unreachable" && !error.forAll &&
    error.retryAfterMs === undefined;
}

/** @throws The signal's reason. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, signal);
  signal.throwIfAborted();
}
