import type { ConnectionInfo } from "../../core/plugin/mod.ts";

/** Asked for by the gateway itself, when it proves that nobody gets in without a certificate. */
const SELF_TEST_LABEL = "postern-self-test";

/**
 * The listener by which the gateway comes to prove it; no configured one can be called so. Its clients are to be
 * refused, so they are nobody's failure.
 */
export const SELF_TEST_LISTENER = "self-test";

/** Every name that the plugin may take, as a pattern. */
export function patternOf(domain: string): string {
  return `*.${domain}`;
}

/** A name under which everybody is asked for a certificate, and which need not stand in the database. */
export function selfTestName(domain: string): string {
  return `${SELF_TEST_LABEL}.${domain}`;
}

/**
 * The connectID that a client asks for: the one label in front of `domain`, in lower case, as the gateway hands over
 * every server name.
 *
 * @returns `undefined` when the connection is not for this plugin.
 */
export function connectIdOf({ tls }: ConnectionInfo, domain: string): string | undefined {
  const name = tls?.serverName;
  if (name === undefined || !name.endsWith(domain)) return undefined;
  const end = name.length - domain.length - 1;
  if (end < 1 || name[end] !== ".") return undefined;
  const label = name.slice(0, end);
  return label.includes(".") ? undefined : label;
}
