/** Resolves when `ending` does, and after `ms` in any case. Rejects as `ending` does. */
export async function within(ms: number, ending: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    await Promise.race([ending, late]);
  } finally {
    clearTimeout(timer);
  }
}
