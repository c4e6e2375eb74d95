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

/** A dash may be written as an underscore, which CGI and what came after it cannot tell apart. */
function* withUnderscores(name: string): Generator<string> {
  const dash = name.indexOf("-");
  if (dash < 0) return yield name;
  const head = name.slice(0, dash);
  for (const rest of withUnderscores(name.slice(dash + 1))) {
    yield `${head}-${rest}`;
    yield `${head}_${rest}`;
  }
}

/** Names that a request's fields must not have on their way to a service, in lower case; they are written anew or left out. */
export const REPLACED_NAMES: ReadonlySet<string> = new Set([
  "host",
  "expect",
  ...CLAIMS.flatMap((name) => [...withUnderscores(name)]),
]);

/** What is left out of a request: what ends at this hop, and what is said anew. */
export const NOT_FORWARDED: FieldSet = hopByHopAnd(REPLACED_NAMES);

/** What is left out of a response. */
export const NOT_RETURNED: FieldSet = hopByHopAnd([]);
