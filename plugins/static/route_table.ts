import { type ConnectionInfo, NameTable, parseNamePattern, type Protocol } from "../../core/plugin/mod.ts";

/** What a route asks of a connection. At least one of the two is given. */
export interface Matcher {
  /** Patterns in canonical form. Absent: any name, and none. */
  readonly sni?: readonly string[] | undefined;
  /** Absent: any. */
  readonly protocol?: Protocol | undefined;
}

/** The ALPN name of PostgreSQL, registered with IANA; libpq insists on it with `sslnegotiation=direct`. */
export const POSTGRES_ALPN = "postgresql";

/**
 * What a client speaks, as far as it decides which routes apply. PostgreSQL inside TLS without an SSLRequest before
 * it (`sslnegotiation=direct`) is both: TLS on the wire, PostgreSQL by ALPN.
 */
type Dialect = Protocol | "direct-postgres";

/** Protocols of a route that apply to a dialect, the closest first. */
const APPLICABLE: Readonly<Record<Dialect, readonly Protocol[]>> = {
  "tls": ["tls"],
  "postgres": ["postgres"],
  "direct-postgres": ["postgres", "tls"],
  "http": ["http"],
  "ssh": ["ssh"],
  "other": ["other"],
};

/**
 * The routes that apply to one dialect, so that one look-up is enough. For one and the same name, a route with a
 * protocol stands in front of one without.
 */
class DialectTable<Route extends Matcher> {
  readonly #byName = new NameTable<Route>();
  readonly #nameless: Route | undefined;

  constructor(routes: readonly Route[], applicable: readonly Protocol[]) {
    for (const protocol of [...applicable, undefined]) {
      const applying = routes.filter((route) => route.protocol === protocol);
      for (const route of applying) this.#addNames(route);
      this.#nameless ??= applying.find((route) => route.sni === undefined);
    }
  }

  find(name: string | undefined): Route | undefined {
    return (name === undefined ? undefined : this.#byName.lookup(name)) ?? this.#nameless;
  }

  #addNames(route: Route): void {
    for (const pattern of (route.sni ?? []).map(parseNamePattern)) {
      if (this.#byName.get(pattern) === undefined) this.#byName.add(pattern, route);
    }
  }
}

/**
 * Finds the route of a connection in constant time.
 *
 * Of the routes whose name and protocol both fit, the exact name wins over `*.parent`, and that over `*`; a route
 * without a name comes after all of them.
 */
export class RouteTable<Route extends Matcher> {
  readonly #tables: Readonly<Record<Dialect, DialectTable<Route>>>;

  constructor(routes: readonly Route[]) {
    const table = (dialect: Dialect) => new DialectTable(routes, APPLICABLE[dialect]);
    this.#tables = {
      "tls": table("tls"),
      "postgres": table("postgres"),
      "direct-postgres": table("direct-postgres"),
      "http": table("http"),
      "ssh": table("ssh"),
      "other": table("other"),
    };
  }

  find(connection: ConnectionInfo): Route | undefined {
    return this.#tables[dialectOf(connection)].find(connection.tls?.serverName);
  }
}

/** Whether a route with this protocol, or without one, takes such a connection as far as that goes. */
export function acceptsProtocol(route: Matcher, connection: ConnectionInfo): boolean {
  return route.protocol === undefined || APPLICABLE[dialectOf(connection)].includes(route.protocol);
}

function dialectOf({ protocol, tls }: ConnectionInfo): Dialect {
  return protocol === "tls" && tls?.alpn.includes(POSTGRES_ALPN) ? "direct-postgres" : protocol;
}
