import { type FieldSet, hopByHopAnd } from "../../../core/http1/mod.ts";

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

const NOT_FORWARDED_NAMES: ReadonlySet<string> = new Set(NOT_FORWARDED.names);

/**
 * Whether {@link NOT_FORWARDED} has a name. As there, an underscore is as good as a dash: CGI and what came after it cannot
 * tell them apart.
 *
 * @param name In lower case.
 */
export function isNotForwarded(name: string): boolean {
  return NOT_FORWARDED_NAMES.has(name.includes("_") ? name.replaceAll("_", "-") : name);
}
