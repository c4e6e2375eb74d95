import { canonicalAddress, type HostPort, parseAddress, parseHostPort } from "../net/address.ts";

/** A target that nobody may be sent to. */
export class ForbiddenTarget extends Error {
  constructor() {
    super("It leads to the gateway's own admin address");
  }
}

/** Whether the machine has this address: only those can be listened on. */
export type HasAddress = (address: string) => boolean;

/**
 * Keeps connections off the gateway's own admin side, which trusts whoever comes from loopback: a target that was
 * read from a database must not make the gateway the way in.
 */
export class AdminGuard {
  readonly #host: string;
  readonly #port: number;
  readonly #isOurs: HasAddress;

  /**
   * @param address Where the admin side listens, as bound: `127.0.0.1:9090`.
   * @throws {GatewayError} `config-invalid`: not a `host:port`.
   */
  constructor(address: string, isOurs: HasAddress = hasAddress) {
    const { host, port }: HostPort = parseHostPort(address);
    this.#host = host;
    this.#port = port;
    this.#isOurs = isOurs;
  }

  /**
   * Before connecting.
   *
   * @param address What the target's name was resolved to.
   * @throws {ForbiddenTarget} It is where the admin side listens.
   */
  check(address: string, port: number): void {
    if (port === this.#port && this.#isReachedBy(address)) throw new ForbiddenTarget();
  }

  /**
   * Once connected, before anything is sent: the system may take an address for another than we do.
   *
   * @throws {ForbiddenTarget} As {@link check}. The connection is the caller's to close.
   */
  checkConnected({ localAddr, remoteAddr }: Pick<Deno.TcpConn, "localAddr" | "remoteAddr">): void {
    this.check(remoteAddr.hostname, remoteAddr.port);
    const isOwn = canonicalAddress(localAddr.hostname) === canonicalAddress(remoteAddr.hostname);
    if (isOwn && remoteAddr.port === this.#port && isWildcard(this.#host)) throw new ForbiddenTarget();
  }

  #isReachedBy(text: string): boolean {
    const address = parseAddress(text);
    if (address === undefined) return true; // nothing that is resolved should be: better not
    if (address === this.#host) return true;
    if (isWildcard(this.#host)) return isLoopback(address) || this.#isOurs(address);
    return isLoopback(this.#host) && isLoopback(address);
  }
}

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Who connects to a wildcard address gets to loopback. */
function isLoopback(host: string): boolean {
  return host.startsWith("127.") || host === "::1" || host === "localhost" || isWildcard(host);
}

function hasAddress(hostname: string): boolean {
  try {
    Deno.listen({ hostname, port: 0 }).close();
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.AddrNotAvailable);
  }
}
