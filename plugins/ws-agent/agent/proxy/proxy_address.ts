import { formatHostPort, GatewayError, type HostPort, parseHostPort } from "../../../../core/plugin/mod.ts";

/** An HTTP proxy on the way to the gateway. */
export interface ProxyAddress extends HostPort {
  /** What it is shown (RFC 7617). A secret. */
  readonly credentials?: { readonly user: string; readonly password: string };
}

const WANTED = 'write "http://proxy.example.com:3128" or "http://user:password@proxy.example.com:3128"';

/**
 * Reads `http://[USER[:PASSWORD]@]HOST[:PORT]`, or the same without `http://`. In user and password, what has a meaning in a URL is
 * written `%40`, for `@`.
 *
 * @throws {GatewayError} `config-invalid`. The text is not repeated: there may be a password in it.
 */
export function parseProxy(text: string): ProxyAddress {
  const [, scheme = "http", rest = text] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(text) ?? [];
  if (scheme.toLowerCase() !== "http") wrong("only http:// proxies are known");
  const [, user, password = "", place = ""] = /^(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^@/?#]+)\/?$/.exec(rest) ??
    wrong("it has a user, a password, a host and a port, and nothing else");
  const at = hostPort(place);
  return user === undefined ? at : { ...at, credentials: { user: decode(user), password: decode(password) } };
}

/** `HOST:PORT`, without what it is shown. */
export function formatProxy({ host, port }: HostPort): string {
  return formatHostPort({ host, port });
}

function hostPort(place: string): HostPort {
  try {
    return parseHostPort(place, { defaultPort: 80, minPort: 1 });
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return wrong("its host or its port is none"); // the message has the text
  }
}

/** Percent-decoded, as far as no head could be cut by it. */
function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    wrong("its user or password is not percent-encoded");
  }
  if (/\p{Cc}/u.test(decoded)) wrong("its user or password has control characters");
  return decoded;
}

function wrong(why: string): never {
  throw new GatewayError("config-invalid", `Not the address of a proxy: ${why}; ${WANTED}`);
}
