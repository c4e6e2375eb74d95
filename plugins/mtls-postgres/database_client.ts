import { Socket } from "node:net";
// @ts-types="./pg.d.ts"
import pg from "pg";

/** Where the database is, and how long it may take. */
export interface DatabaseAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** @default the environment variable `PGPASSWORD`, read only when the server asks for a password */
  readonly password?: string;
  /** The database's name. */
  readonly name: string;
  /**
   * TLS, with the server's certificate checked against `ca` (PEM) and the host's name; without `ca`, against the
   * runtime's own authorities. `false`: none.
   *
   * @default false
   */
  readonly tls?: { readonly ca?: string } | false;
  /** How long a query may take, here and, by `statement_timeout`, in the server. */
  readonly queryTimeoutMs: number;
  /** Connections for questions; one more is for notices. */
  readonly poolSize: number;
  /** How long a connection may take to be ready for queries, and how long a question may wait for a free one. */
  readonly connectTimeoutMs: number;
}

/** How long the server may take to answer a goodbye, in milliseconds, before its connection is cut. */
const GOODBYE_MS = 500;

/** SQLSTATE of a statement that `statement_timeout` ended: `query_canceled`. */
const QUERY_CANCELED = "57014";
/** What pg says of a query, and of a connection, that took too long: it gives these errors no code. */
const QUERY_TIMEOUT_MESSAGES: readonly unknown[] = ["Query read timeout"];
const CONNECT_TIMEOUT_MESSAGES: readonly unknown[] = [
  "timeout expired",
  "timeout exceeded when trying to connect",
  "Connection terminated due to connection timeout",
];

/** What pg takes from its config and then from the environment, and keeps where its types don't show it. */
interface ClientInternals {
  binary: boolean;
  connectionParameters: { replication: string | undefined };
}

/**
 * pg's client, but for the environment: pg looks for PGBINARY and PGREPLICATION there when the config has something
 * falsy for them, and where that isn't permitted it throws. So they are given, and taken back once it has looked.
 */
export class DatabaseClient extends pg.Client {
  readonly #socket: Socket;

  /** @param open Where it is listed from now on until its socket is closed. */
  constructor(config: pg.ClientConfig, open: Set<DatabaseClient>) {
    const socket = new Socket();
    const given = { ...config, stream: () => socket, binary: true, replication: "off" };
    super(given);
    const internals = this as unknown as ClientInternals;
    internals.binary = false;
    internals.connectionParameters.replication = undefined;
    this.#socket = socket;
    open.add(this);
    socket.once("close", () => open.delete(this));
  }

  /** Ends the connection whatever the server does. */
  cut(): void {
    this.#socket.destroy();
  }
}

/** Opens the connections to one database, all with the same settings. */
export class DatabaseClients {
  readonly #config: pg.ClientConfig;
  readonly #address: DatabaseAddress;
  readonly #pooled = new Set<DatabaseClient>();

  /** @throws TypeError When `address.tls.ca` holds no certificate. */
  constructor(address: DatabaseAddress) {
    this.#address = address;
    this.#config = configOf(address);
  }

  /** A connection that isn't open yet. Whoever opens it closes it, with {@link close}. */
  make(): DatabaseClient {
    return new DatabaseClient(this.#config, new Set());
  }

  /** Says goodbye, and cuts the connection of a server that doesn't answer. Never rejects. */
  async close(client: DatabaseClient): Promise<void> {
    await cutAfter(GOODBYE_MS, [client], client.end());
  }

  /** A pool that opens connections as they are needed. Whoever makes it closes it, with {@link closePool}. */
  makePool(): pg.Pool {
    const config = this.#config;
    const open = this.#pooled;
    class Client extends DatabaseClient {
      constructor() {
        super(config, open); // not what the pool hands over: there the password is a property that a spread leaves out
      }
    }
    // Never idle out: reopening costs a decision its millisecond, and the timer would be one more thing a query.
    return new pg.Pool({ ...config, Client, max: this.#address.poolSize, idleTimeoutMillis: 0 });
  }

  /** Lets queries that are on their way end, for a moment. Never rejects. */
  async closePool(pool: pg.Pool): Promise<void> {
    await cutAfter(GOODBYE_MS, this.#pooled, pool.end());
  }

  /** Why there is no answer, for logs and for `status`: without secrets. */
  reasonOf(error: unknown): string {
    const { queryTimeoutMs, connectTimeoutMs } = this.#address;
    const { message, code } = (error ?? {}) as { message?: unknown; code?: unknown };
    if (code === QUERY_CANCELED || QUERY_TIMEOUT_MESSAGES.includes(message)) {
      return `No answer in ${queryTimeoutMs} ms`;
    }
    if (CONNECT_TIMEOUT_MESSAGES.includes(message)) return `No connection in ${connectTimeoutMs} ms`;
    const known = [message, code].filter((part) => typeof part === "string" && part !== "");
    return known.length === 2 ? `${known[0]} (${known[1]})` : `${known[0] ?? "Unknown error"}`;
  }
}

async function cutAfter(ms: number, clients: Iterable<DatabaseClient>, ending: Promise<void>): Promise<void> {
  const timer = setTimeout(() => {
    for (const client of clients) client.cut();
  }, ms);
  try {
    await ending;
  } catch {
    // It is over either way.
  } finally {
    clearTimeout(timer);
  }
}

/** Whatever pg would look for in the environment is given, however plain: reading that would take a permission. */
function configOf(address: DatabaseAddress): pg.ClientConfig {
  return {
    host: address.host,
    port: address.port,
    user: address.user,
    database: address.name,
    // A function, or pg would look for PGPASSWORD at once, and for a ~/.pgpass.
    password: () => address.password ?? Deno.env.get("PGPASSWORD"),
    ssl: sslOf(address),
    sslnegotiation: "postgres",
    application_name: "postern",
    client_encoding: "UTF8",
    // The server gives up when we do: else a query that nobody waits for would go on holding a backend.
    options: `-c statement_timeout=${address.queryTimeoutMs} -c default_transaction_read_only=on`,
    query_timeout: address.queryTimeoutMs,
    connectionTimeoutMillis: address.connectTimeoutMs,
    keepAlive: true,
  };
}

function sslOf({ tls }: DatabaseAddress): { ca?: string } | false {
  if (!tls) return false;
  // An empty text would be taken for none, and the runtime's own authorities would be trusted instead.
  if (tls.ca !== undefined && !tls.ca.includes("-----BEGIN CERTIFICATE-----")) {
    throw new TypeError("The CA of the database holds no certificate in PEM");
  }
  return tls.ca === undefined ? {} : { ca: tls.ca };
}
