import {
  formatHostPort,
  GatewayError,
  isAddress,
  parseCidrs,
  parseHostPort,
} from "../../../core/plugin/mod.ts";

/** Where the connections of one service go. */
export interface Target {
  /** A canonical address or name. `localhost` is both loopback addresses, the one of IPv4 first. */
  readonly host: string;
  readonly port: number;
  /** Speaks TLS to it. Only for http services. */
  readonly tls: boolean;
}

/**
 * Addresses that answer to whoever is on the machine: link-local ones, and those where clouds hand out credentials to their machines
 * (AWS, Azure, Oracle, Alibaba). A name that leads there is a trick as a rule; who means it writes the address.
 */
const SENSITIVE = parseCidrs([
  "169.254.0.0/16",
  "64:ff9b::a9fe:0/112", // the same, through NAT64 (RFC 6052)
  "fe80::/10",
  "fd00:ec2::254",
  "168.63.129.16",
  "192.0.0.192",
  "100.100.100.200",
]);

const LOOPBACK = parseCidrs(["127.0.0.0/8", "::1"]);

/**
 * Reads `3000`, `127.0.0.1:3000`, `[::1]:3000`, `db.internal:5432`, and with `urls` also `http://…` and `https://…` without a path.
 *
 * @throws {GatewayError} `config-invalid`.
 */
export function parseTarget(value: string | number, { urls = false } = {}): Target {
  const text = String(value);
  if (/^\d+$/.test(text)) return { ...parseHostPort(`localhost:${text}`, { minPort: 1 }), tls: false };
  if (!urls && text.includes("://")) {
    throw new GatewayError("config-invalid", "Only http services have URLs as targets");
  }
  const [, scheme = "", rest = text] = /^(https?):\/\/(.*)$/i.exec(text) ?? [];
  if (scheme === "") return { ...parseHostPort(text, { minPort: 1 }), tls: false };
  const authority = rest.replace(/\/$/, "");
  if (/[/?#@]/.test(authority)) {
    throw new GatewayError(
      "config-invalid",
      'A target is a place and has no path, as in "http://127.0.0.1:3000"',
    );
  }
  const tls = scheme.toLowerCase() === "https";
  return { ...parseHostPort(authority, { defaultPort: tls ? 443 : 80, minPort: 1 }), tls };
}

/** The target of a service that has none: its connections are served in the program itself. */
export const IN_PROCESS: Target = Object.freeze({ host: "in-process", port: 0, tls: false });

/** As people write it: `127.0.0.1:3000`, `https://10.0.0.5:8443`. */
export function formatTarget({ host, port, tls }: Target): string {
  if (port === IN_PROCESS.port) return IN_PROCESS.host; // all others have a port
  const place = formatHostPort({ host: host === "localhost" ? "127.0.0.1" : host, port });
  return tls ? `https://${place}` : place;
}

/**
 * The hosts to dial for a target, in order, as far as that is known without asking anybody.
 *
 * @returns `undefined` for a name that has to be looked up.
 */
export function knownHosts({ host }: Pick<Target, "host">): readonly string[] | undefined {
  if (host === "localhost") return ["127.0.0.1", "::1"];
  if (host.endsWith(".localhost")) return ["127.0.0.1"];
  return isAddress(host) ? [host] : undefined;
}

/** Whether a name must not lead there. False for what is no address. */
export function isSensitive(address: string): boolean {
  return SENSITIVE.has(address);
}

/** Whether nobody can be in between. */
export function isLoopback({ host }: Pick<Target, "host">): boolean {
  return host === "localhost" || host.endsWith(".localhost") || LOOPBACK.has(host);
}

/** What a socket is bound to that is to reach this address: loopback is reached from itself only, which keeps others out. */
export function localAddressFor(address: string): string {
  if (address.includes(":")) return address === "::1" ? "::1" : "::";
  return address.startsWith("127.") ? "127.0.0.1" : "0.0.0.0";
}

/** What a worker must be permitted to connect to for a target: `net` of Deno's permissions. */
export function targetPermissions(target: Pick<Target, "host" | "port">): string[] {
  return (knownHosts(target) ?? [target.host]).map((host) => formatHostPort({ host, port: target.port }));
}

/**
 * The same to send datagrams to it: by its address, and from a port of the system's choice.
 *
 * @param addresses Of a target that is a name.
 */
export function datagramPermissions(
  target: Pick<Target, "host" | "port">,
  addresses: readonly string[] = [],
): string[] {
  const known = (knownHosts(target) ?? addresses).filter((address) =>
    !isSensitive(address) || address === target.host
  );
  return [
    ...known.map((host) => formatHostPort({ host, port: target.port })),
    ...known.map((host) => formatHostPort({ host: localAddressFor(host), port: 0 })),
  ];
}
