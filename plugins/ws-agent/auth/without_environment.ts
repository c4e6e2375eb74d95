import process from "node:process";

/**
 * Does something that must not look at environment variables, and finds none: a data plane may not read them, and the
 * YAML library asks for some of its own when it parses. Only for what is done when it returns.
 */
export function withoutEnvironment<T>(work: () => T): T {
  const { env } = process;
  process.env = {};
  try {
    return work();
  } finally {
    process.env = env;
  }
}
