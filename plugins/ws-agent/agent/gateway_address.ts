import { formatHostPort, GatewayError, type HostPort, parseHostPort } from "../../../core/plugin/mod.ts";

/** Where an agent connects to. */
export interface GatewayAddress extends HostPort {
  /** `wss`; false: `ws`, without TLS. */
  readonly secure: boolean;
  /** Starts with `/`. */
  readonly path: string;
}

/** Where a gateway takes agents when its config says nothing else. */
export const DEFAULT_PATH = "/tunnel/v1";

const WANTED =
  'write "wss://tunnel.example.com", "tunnel.example.com:8443" or "ws://127.0.0.1:8080/tunnel/v1"';

/**
 * Reads `wss://host[:port][/path]`, `ws://…`, or `host[:port]`, which is `wss`.
 *
 * @throws {GatewayError} `config-invalid`. The text is not repeated when there may be a password in it.
 */
export function parseGateway(text: string): GatewayAddress {
  if (text.includes("@")) wrong("there is no place for a user in it");
  const [, scheme = "wss", rest = text] = /^(?:(wss?|https?):\/\/)(.*)$/i.exec(text) ?? [];
  const [, authority = "", path = ""] = /^([^/?#\s]+)(\/(?!\/)[!-"$->@-~]*)?$/.exec(rest) ??
    wrong(`${JSON.stringify(text)} is none`);
  const secure = /^(?:wss|https)$/i.test(scheme);
  const { host, port } = parseHostPort(authority, { defaultPort: secure ? 443 : 80, minPort: 1 });
  return { secure, host, port, path: path === "" || path === "/" ? DEFAULT_PATH : path };
}

/** The inverse of {@link parseGateway}; the port is left out where the scheme implies it. */
export function formatGateway({ secure, host, port, path }: GatewayAddress): string {
  return `${secure ? "wss" : "ws"}://${authorityOf({ secure, host, port })}${path}`;
}

/** The value of `Host` for it. */
export function authorityOf(
  { secure, host, port }: Pick<GatewayAddress, "secure" | "host" | "port">,
): string {
  const whole = formatHostPort({ host, port });
  return port === (secure ? 443 : 80) ? whole.slice(0, -`:${port}`.length) : whole;
}

/**
 * What to dial for a host: names below `localhost` are this machine without asking anybody (RFC 6761 §6.3), which not every resolver
 * knows.
 */
export function dialableHost(host: string): string {
  return host === "localhost" || host.endsWith(".localhost") ? "127.0.0.1" : host;
}

/** What an agent connects to on its way to the gateway: the proxy, if there is one. */
export function firstHop(
  { gateway, proxy }: { readonly gateway: HostPort; readonly proxy?: HostPort },
): HostPort {
  const { host, port } = proxy ?? gateway;
  return { host: dialableHost(host), port };
}

function wrong(why: string): never {
  throw new GatewayError("config-invalid", `Not the address of a gateway: ${why}; ${WANTED}`);
}
