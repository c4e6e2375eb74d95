import { connect, type TLSSocket } from "node:tls";
import {
  createAuthority,
  type LeafOptions,
  type MadeCertificate,
  type TestAuthority,
} from "../support/certificates.ts";
import { type LoggedEvent, TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { writePem } from "../support/openssl.ts";
import { type Postgres, psql } from "../support/postgres.ts";
import { type Address, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";

export const DOMAIN = "connect.example.com";
export const ISSUER = "example.com";
const SCHEMA = new URL("../../plugins/mtls-postgres/schema.sql", import.meta.url);

/** The SPIFFE ID of a user. */
export function spiffeId(user: string, org = "acme", issuer = ISSUER): string {
  return `spiffe://${issuer}/orgs/${org}/users/${user}`;
}

/** Makes the tables anew, without the triggers that tell of changes if `triggers` is false. */
export async function makeTables(server: Postgres, { triggers = true } = {}): Promise<void> {
  await sql(server, "DROP TABLE IF EXISTS backend_hosts, teams, users");
  await sql(server, await Deno.readTextFile(SCHEMA));
  if (!triggers) {
    const tables = ["backend_hosts", "teams", "users"];
    await sql(server, tables.map((table) => `DROP TRIGGER postern_access_changed ON ${table};`).join(" "));
  }
}

/** Runs statements as the operator would. @throws With what psql said. */
export async function sql(server: Postgres, text: string): Promise<void> {
  const { code, stderr } = await psql(text, { address: server.address, sslMode: "disable" });
  if (code !== 0) throw new Error(stderr);
}

/** A row of `backend_hosts`. */
export interface HostRow {
  readonly address: string;
  readonly org?: string;
  readonly users?: readonly string[];
  readonly teams?: readonly string[];
}

export async function addHost(server: Postgres, connectId: string, row: HostRow): Promise<void> {
  const { address, org = "acme", users = [], teams = [] } = row;
  const list = (names: readonly string[]) => `ARRAY[${names.map((name) => `'${name}'`).join(",")}]::text[]`;
  const values = `'${connectId}', '${address}', '${org}', ${list(users)}, ${list(teams)}`;
  const columns = "connect_id, internal_ip_addr, org_id, user_ids, team_ids";
  await sql(server, `INSERT INTO backend_hosts (${columns}) VALUES (${values})`);
}

export interface MtlsGatewayOptions extends Omit<TestGatewayOptions, "yaml"> {
  readonly database: Address;
  /** The port behind an address without one. */
  readonly defaultPort?: number;
  /** More keys of the plugin's section. */
  readonly section?: Readonly<Record<string, unknown>>;
  /** In the CA file at the start; the first is `client`'s. @default one */
  readonly authorities?: readonly TestAuthority[];
}

/** What came of an attempt to get in. */
export interface Attempt {
  readonly isIn: boolean;
  /** What the client was told, for a failed test. */
  readonly error: string;
}

export interface Client extends AsyncDisposable {
  readonly socket: TLSSocket;
  /** Whether it has been closed by now. */
  readonly isClosed: boolean;
  /** Sends text and waits for its echo. @throws When the connection ends before. */
  echo(text: string): Promise<void>;
}

/** A gateway with the plugin, a server certificate for its names, and CAs of its own for clients. */
export class MtlsGateway implements AsyncDisposable {
  readonly authority: TestAuthority;
  readonly folder: string;
  readonly serverCa: string;
  readonly gateway: TestGateway;
  readonly #stack: AsyncDisposableStack;
  readonly #options: MtlsGatewayOptions;

  private constructor(
    made: { authority: TestAuthority; folder: string; serverCa: string; gateway: TestGateway },
    stack: AsyncDisposableStack,
    options: MtlsGatewayOptions,
  ) {
    this.authority = made.authority;
    this.folder = made.folder;
    this.serverCa = made.serverCa;
    this.gateway = made.gateway;
    this.#stack = stack;
    this.#options = options;
  }

  static async start(options: MtlsGatewayOptions): Promise<MtlsGateway> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder()).path;
    const authorities = options.authorities ?? [await createAuthority("Client CA")];
    const [authority] = authorities;
    if (authority === undefined) throw new RangeError("No authority");
    const server = await createAuthority("Server CA");
    const { certificate, key } = await server.issue({ names: [`*.${DOMAIN}`] });
    await writePem(folder, "server", certificate);
    await writePem(folder, "server-key", key);
    await writePem(folder, "clients", authorities.map(({ certificate }) => certificate).join("\n"));
    const yaml = yamlOf(folder, options);
    const gateway = stack.use(await TestGateway.start({ ...options, yaml }));
    const made = { authority, folder, serverCa: server.certificate, gateway };
    const running = new MtlsGateway(made, stack.move(), options);
    await gateway.logged("database_up");
    return running;
  }

  get address(): Address {
    return { hostname: "127.0.0.1", port: this.gateway.port() };
  }

  /** Takes other CAs, or other keys of the section, as SIGHUP would. */
  async reload(
    { authorities, section }: Pick<MtlsGatewayOptions, "authorities" | "section">,
  ): Promise<void> {
    if (authorities) {
      await writePem(this.folder, "clients", authorities.map(({ certificate }) => certificate).join("\n"));
    }
    const yaml = yamlOf(this.folder, {
      ...this.#options,
      section: { ...this.#options.section, ...section },
    });
    await this.gateway.reload({ ...this.#options, yaml });
  }

  /** A certificate of the first authority. */
  async issue(user: string, options: LeafOptions = {}): Promise<MadeCertificate> {
    return await this.authority.issue({ uris: [spiffeId(user)], usage: "client", ...options });
  }

  /** Connects; resolves when the client believes that the handshake is done, which in TLS 1.3 says little. */
  async connect(host: string, certificate?: MadeCertificate, options: ConnectOptions = {}): Promise<Client> {
    return await connectTls(this, host, certificate, options);
  }

  /** Whether somebody gets to the echo server behind `host`. */
  async try(host: string, certificate?: MadeCertificate, options: ConnectOptions = {}): Promise<Attempt> {
    const before = this.lines().length;
    try {
      await using client = await this.connect(host, certificate, options);
      await client.echo("ping");
      // The log may be behind: its line is not to be taken for the next one's.
      await until(() => this.lines().length > before, { what: `an audit line about ${host}` });
      return { isIn: true, error: "" };
    } catch (error) {
      return { isIn: false, error: String(error) };
    }
  }

  /** As {@link try}, with the audit line that it made. */
  async audited(
    host: string,
    certificate?: MadeCertificate,
    options: ConnectOptions = {},
  ): Promise<Attempt & { readonly line: LoggedEvent }> {
    const before = this.lines().length;
    const attempt = await this.try(host, certificate, options);
    await until(() => this.lines().length > before, {
      what: `an audit line about ${host}: ${attempt.error}`,
    });
    const line = this.lines().at(-1);
    if (line === undefined) throw new RangeError("No line");
    return { ...attempt, line };
  }

  /** The audit so far. */
  lines(event = "access"): LoggedEvent[] {
    return this.gateway.events.filter((one) => one.event === event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export interface ConnectOptions {
  readonly version?: "TLSv1.2" | "TLSv1.3";
  /** The whole server name, instead of the host's. */
  readonly serverName?: string;
  /** The client's own address. @default 127.0.0.1 */
  readonly localAddress?: string;
  /** Protocols on offer. @default none */
  readonly alpn?: readonly string[];
}

function yamlOf(folder: string, { database, defaultPort, section }: MtlsGatewayOptions): string {
  const mtls = {
    domain: DOMAIN,
    issuer: ISSUER,
    caCertificates: [`${folder}/clients.pem`],
    database: { host: database.hostname, port: database.port, user: "postgres", name: "postgres" },
    failuresPerMinute: 0,
    ...(defaultPort !== undefined && { defaultPort }),
    ...section,
  };
  // JSON is YAML.
  return `tls: { certificates: [{ cert: "${folder}/server.pem", key: "${folder}/server-key.pem" }] }
plugins: { mtls-postgres: ${JSON.stringify(mtls)} }`;
}

/** {@link MtlsGateway.connect}, to a gateway wherever it runs. */
export async function connectTls(
  { address, serverCa }: Pick<MtlsGateway, "address" | "serverCa">,
  host: string,
  certificate: MadeCertificate | undefined,
  { version, localAddress, alpn, serverName = `${host}.${DOMAIN}` }: ConnectOptions = {},
): Promise<Client> {
  const socket = connect({
    host: address.hostname,
    port: address.port,
    servername: serverName,
    ca: serverCa,
    ...(certificate && { cert: certificate.certificate, key: certificate.key }),
    ...(localAddress !== undefined && { localAddress }),
    ...(alpn && { ALPNProtocols: [...alpn] }),
    ...(version && { minVersion: version, maxVersion: version }),
  });
  const closed = Promise.withResolvers<never>();
  closed.promise.catch(() => {});
  let fault: Error | undefined;
  let isClosed = false;
  socket.on("error", (error: Error) => fault = error);
  socket.on("end", () => closed.reject(fault ?? new Error("The gateway has closed the connection")));
  const gone = new Promise<void>((resolve) => {
    socket.on("close", () => {
      isClosed = true;
      closed.reject(fault ?? new Error("The connection is closed"));
      resolve();
    });
  });
  let received = "";
  const arrivals = new EventTarget();
  socket.on("data", (data: Uint8Array) => {
    received += new TextDecoder().decode(data);
    arrivals.dispatchEvent(new Event("data"));
  });
  const dispose = async () => {
    socket.destroy();
    await gone;
  };
  try {
    await Promise.race([
      new Promise<void>((resolve) => socket.once("secureConnect", () => resolve())),
      closed.promise,
    ]);
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    socket,
    get isClosed() {
      return isClosed || fault !== undefined || socket.readableEnded;
    },
    async echo(text) {
      received = "";
      socket.write(text);
      const arrived = new Promise<void>((resolve) => {
        arrivals.addEventListener("data", () => received.length >= text.length && resolve());
      });
      await Promise.race([arrived, closed.promise]);
      if (received !== text) throw new Error(`Got ${JSON.stringify(received)}`);
    },
    [Symbol.asyncDispose]: dispose,
  };
}
