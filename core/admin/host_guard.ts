import { formatHostPort } from "../net/address.ts";
import type { AdminSettings, BoundAddress } from "./contract.ts";

/** Why a request is not meant for us, or not by the one in front of the browser. */
export interface Refusal {
  readonly status: 421 | 403;
  readonly code: "misdirected" | "cross_origin";
  readonly message: string;
}

const MISDIRECTED: Refusal = {
  status: 421,
  code: "misdirected",
  message: "This Host is not a name of this server",
};

const CROSS_ORIGIN: Refusal = {
  status: 403,
  code: "cross_origin",
  message: "Requests made by pages of other origins are refused",
};

/** What a browser says of a request by our own page, and of an address that somebody typed. */
const OWN_FETCH_SITES = new Set(["same-origin", "none"]);

/**
 * Refuses what another site makes a browser send here.
 *
 * A page whose name was pointed at 127.0.0.1 after it was loaded (DNS rebinding) is of one origin with us as far as
 * the browser can tell; that it calls us by its own name in `Host` is all that gives it away. A page that asks
 * without rebinding shows in `Origin`, or in `Sec-Fetch-Site` where a GET carries no `Origin`.
 */
export class HostGuard {
  readonly #hosts = new Set<string>();
  readonly #origins = new Set<string>();
  /** When listening on every address, each of them is ours. One written out needs no DNS, so it can't be rebound. */
  readonly #literalWithPort: RegExp | undefined;

  constructor(configured: Pick<AdminSettings, "hostname" | "hosts">, bound: BoundAddress) {
    const { port } = bound;
    for (const host of [configured.hostname, bound.hostname, "localhost", "127.0.0.1", "::1"]) {
      this.#add(formatHostPort({ host, port }), ["http"]);
      if (port === 80) this.#add(formatHostPort({ host, port }).slice(0, -":80".length), ["http"]);
    }
    for (const host of configured.hosts ?? []) { // perhaps behind a proxy that speaks https
      this.#add(host, ["http", "https"]);
      if (!/:\d+$/.test(host)) this.#add(`${host}:${port}`, ["http", "https"]);
    }
    if (isWildcard(bound.hostname)) {
      this.#literalWithPort = new RegExp(`^(?:[0-9.]{7,15}|\\[[0-9a-f:.]{2,45}\\]):${port}$`);
    }
  }

  /** Why this request is refused, or `undefined` when it may go on. */
  refusal(request: Request): Refusal | undefined {
    const host = request.headers.get("host")?.toLowerCase();
    if (host === undefined || !this.#ours(host)) return MISDIRECTED;
    // A request line with a whole URL in it names a host of its own, and that one wins (RFC 9112 §3.2.2).
    if (hostOf(request.url) !== hostOf(`http://${host}`)) return MISDIRECTED;
    const origin = request.headers.get("origin")?.toLowerCase();
    if (origin !== undefined && !this.#ownOrigin(origin, host)) return CROSS_ORIGIN;
    const site = request.headers.get("sec-fetch-site");
    // `same-site` is not enough: every page on any port of localhost is that.
    return site === null || OWN_FETCH_SITES.has(site) ? undefined : CROSS_ORIGIN;
  }

  #add(host: string, schemes: readonly string[]): void {
    const lower = host.toLowerCase();
    this.#hosts.add(lower);
    for (const scheme of schemes) this.#origins.add(`${scheme}://${lower}`);
  }

  #ours(host: string): boolean {
    return this.#hosts.has(host) || this.#literalWithPort?.test(host) === true;
  }

  #ownOrigin(origin: string, host: string): boolean {
    if (!origin.endsWith(`://${host}`)) return false;
    return this.#origins.has(origin) || (origin === `http://${host}` && this.#ours(host));
  }
}

function isWildcard(hostname: string): boolean {
  return hostname === "0.0.0.0" || hostname === "::";
}

/** Lower case, without the scheme's own port; empty for something that is no URL. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "";
}
