const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 25;

/**
 * Polls until `condition` gives something truthy, and resolves to that.
 *
 * @param options.deadlineMs How long at most. @default 5000
 * @param options.what What is waited for, for the message. A function is called when the deadline has passed.
 * @throws When the deadline passes, or at once when `condition` throws.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: { readonly deadlineMs?: number; readonly what: string | (() => string) },
): Promise<Exclude<T, false | undefined | null | 0 | "">> {
  const { deadlineMs = 5000, what } = options;
  const end = performance.now() + deadlineMs;
  for (let wait = FIRST_WAIT_MS;; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    const value = await condition();
    if (value) return value as Exclude<T, false | undefined | null | 0 | "">;
    if (performance.now() >= end) {
      throw new Error(`Waited ${deadlineMs} ms for ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
