/** How long the supervisor may take to answer, in milliseconds. */
export const ANSWER_TIMEOUT_MS = 5_000;

/** The supervisor did not answer in time. */
export class NoAnswer extends Error {}

/** What the supervisor answers. @throws {NoAnswer} Not in `ms` milliseconds. */
export async function answerWithin<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(`The supervisor did not answer in ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
