import { type FieldSet, FORBIDDEN_TRAILERS, hopByHopAnd } from "../../../core/http1/mod.ts";

/**
 * Fields that speak of who the client is on behalf of a proxy. From a stranger they are worth nothing, and services
 * believe them: some let people in by `X-Forwarded-User`.
 */
const CLAIMS = [
  "forwarded",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-forwarded",
  "x-forwarded-access-token",
  "x-forwarded-by",
  "x-forwarded-client-cert",
  "x-forwarded-email",
  "x-forwarded-for",
  "x-forwarded-groups",
  "x-forwarded-host",
  "x-forwarded-method",
  "x-forwarded-path",
  "x-forwarded-port",
  "x-forwarded-prefix",
  "x-forwarded-preferred-username",
  "x-forwarded-proto",
  "x-forwarded-protocol",
  "x-forwarded-scheme",
  "x-forwarded-server",
  "x-forwarded-ssl",
  "x-forwarded-tls-client-cert",
  "x-forwarded-tls-client-cert-info",
  "x-forwarded-uri",
  "x-forwarded-user",
  "x-original-forwarded-for",
  "x-real-ip",
];

const REPLACED = ["expect", "host", ...CLAIMS];

/** What is left out of a request: what ends at this hop, and what is said anew. */
export const NOT_FORWARDED: FieldSet = hopByHopAnd(REPLACED);

/** What is left out of a response. */
export const NOT_RETURNED: FieldSet = hopByHopAnd([]);

/** What is left out of the trailers of a request: there a claim is worth no more than in the head. */
export const NOT_FORWARDED_BEHIND: FieldSet = hopByHopAnd([...REPLACED, ...FORBIDDEN_TRAILERS.names]);

const NOT_FORWARDED_NAMES: ReadonlySet<string> = new Set(NOT_FORWARDED.names);
const NOT_FORWARDED_BEHIND_NAMES: ReadonlySet<string> = new Set(NOT_FORWARDED_BEHIND.names);

/**
 * Whether {@link NOT_FORWARDED} has a name. As there, an underscore is as good as a dash: CGI and what came after it cannot
 * tell them apart.
 *
 * @param name In lower case.
 */
export function isNotForwarded(name: string): boolean {
  return NOT_FORWARDED_NAMES.has(folded(name));
}

/** The same for {@link NOT_FORWARDED_BEHIND}. */
export function isNotForwardedBehind(name: string): boolean {
  return NOT_FORWARDED_BEHIND_NAMES.has(folded(name));
}

function folded(name: string): string {
  return name.includes("_") ? name.replaceAll("_", "-") : name;
}
