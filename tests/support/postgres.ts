import {
  type Address,
  freeAddress,
  isRoot,
  owning,
  type Program,
  run,
  type RunOptions,
  runOrThrow,
  startProgram,
  temporaryFolder,
} from "./processes.ts";
import { createCertificate } from "./certificates.ts";
import { type PemPair, writePem } from "./openssl.ts";
import { requireProgram } from "./permissions.ts";

/** A running PostgreSQL with a database of its own in a temporary folder. */
export interface Postgres extends AsyncDisposable {
  readonly address: Address;
  /** The superuser's name; it logs in from loopback without a password. */
  readonly user: string;
  /** A second role, which needs {@link Postgres.password} (SCRAM). */
  readonly passwordUser: string;
  readonly password: string;
  readonly program: Program;
}

export interface PostgresOptions {
  /** Its certificate, or `"off"` for a server without TLS. @default one for `localhost` */
  readonly tls?: PemPair | "off";
  /** More settings, as in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PsqlOptions extends Pick<RunOptions, "deadlineMs"> {
  /** The server's, or that of a gateway in front of it. */
  readonly address: Address;
  /** The name for SNI and for `verify-full`; nothing is looked up. @default "localhost" */
  readonly host?: string;
  /** @default "postgres" */
  readonly user?: string;
  readonly password?: string;
  /** @default "postgres" */
  readonly database?: string;
  /** @default "require" */
  readonly sslMode?: "disable" | "prefer" | "require" | "verify-ca" | "verify-full";
  /** Path of the CA file for `verify-ca` and `verify-full`. */
  readonly caFile?: string;
  /** More connection parameters, as libpq names them: `{ sslcert, sslkey, gssencmode }`. */
  readonly parameters?: Readonly<Record<string, string>>;
}

export interface PsqlResult {
  readonly code: number;
  /** The rows, unaligned, without headers; fields are separated by `|`. */
  readonly rows: readonly string[];
  readonly stderr: string;
}

const SUPERUSER = "postgres";
const PASSWORD_USER = "reader";
const PASSWORD = "correct horse";

/** Sheds root: `initdb` and `postgres` refuse to run as it. */
const AS_POSTGRES = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--"];

/**
 * Makes a cluster and starts it. Takes about a second: share one among the tests of a file with
 * `Deno.test.beforeAll` and `afterAll`.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const address = freeAddress();
  return await owning(async (stack) => {
    const folder = stack.use(await temporaryFolder()).path;
    await makeCluster(folder, address, options);
    const program = stack.use(await startServer(`${folder}/data`));
    await program.waitForOutput(/database system is ready to accept connections/, { deadlineMs: 30_000 });
    await makePasswordUser(address);
    return { address, user: SUPERUSER, passwordUser: PASSWORD_USER, password: PASSWORD, program };
  });
}

/** Runs SQL with the real psql. A failure to connect is a result (code 2), not an exception. */
export async function psql(sql: string, options: PsqlOptions): Promise<PsqlResult> {
  const { address, host = "localhost", sslMode = "require" } = options;
  const parameters: Record<string, string> = {
    host,
    hostaddr: address.hostname,
    port: String(address.port),
    user: options.user ?? SUPERUSER,
    dbname: options.database ?? "postgres",
    sslmode: sslMode,
    connect_timeout: "10",
    ...(options.caFile === undefined ? {} : { sslrootcert: options.caFile }),
    ...options.parameters,
  };
  const connection = Object.entries(parameters).map(([name, value]) => `${name}=${quoteForLibpq(value)}`)
    .join(" ");
  const { code, stdout, stderr } = await run("psql", {
    args: ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", connection, "-c", sql],
    // Not in the arguments, which every user of the machine can read.
    env: options.password === undefined ? {} : { PGPASSWORD: options.password },
    ...(options.deadlineMs === undefined ? {} : { deadlineMs: options.deadlineMs }),
  });
  return { code, rows: stdout.split("\n").filter((line) => line !== ""), stderr };
}

async function makeCluster(folder: string, address: Address, options: PostgresOptions): Promise<void> {
  const data = `${folder}/data`;
  await Deno.mkdir(data);
  await giveToPostgres(folder, data);
  await runAsPostgres("initdb", [
    ...["-D", data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
    ...["--auth-local=trust", "--auth-host=trust"],
  ]);
  const files = options.tls === "off"
    ? []
    : await writeCertificate(data, options.tls ?? await createCertificate("localhost"));
  await giveToPostgres(...files);
  await Deno.writeTextFile(`${data}/pg_hba.conf`, HBA);
  await Deno.writeTextFile(`${data}/postgresql.auto.conf`, settingsText(address, options));
}

async function writeCertificate(data: string, pair: PemPair): Promise<string[]> {
  return [await writePem(data, "server", pair.certificate), await writePem(data, "server-key", pair.key)];
}

/** Nothing here needs to outlive the test, so nothing waits for a disk. */
function settingsText(address: Address, options: PostgresOptions): string {
  const settings: Record<string, string> = {
    listen_addresses: address.hostname,
    port: String(address.port),
    unix_socket_directories: "",
    fsync: "off",
    full_page_writes: "off",
    synchronous_commit: "off",
    shared_buffers: "16MB",
    max_connections: "50",
    ssl: options.tls === "off" ? "off" : "on",
    ssl_cert_file: "server.pem",
    ssl_key_file: "server-key.pem",
    ...options.settings,
  };
  return Object.entries(settings).map(([name, value]) => `${name} = ${quote(value)}\n`).join("");
}

const HBA = `
host  all  ${PASSWORD_USER}  127.0.0.1/32  scram-sha-256
host  all  all               127.0.0.1/32  trust
`;

async function makePasswordUser(address: Address): Promise<void> {
  const sql = `CREATE ROLE ${PASSWORD_USER} LOGIN PASSWORD ${quote(PASSWORD)}`;
  const { code, stderr } = await psql(sql, { address, sslMode: "disable" });
  if (code !== 0) throw new Error(`Cannot make a role: ${stderr}`);
}

async function startServer(data: string): Promise<Program> {
  const [command, args] = asPostgres("postgres", ["-D", data]);
  // SIGINT is PostgreSQL's "fast" shutdown; on SIGTERM it would wait for its clients to leave.
  return await startProgram(command, { args, stopSignal: "SIGINT", stopDeadlineMs: 10_000 });
}

async function runAsPostgres(program: string, args: readonly string[]): Promise<void> {
  const [command, all] = asPostgres(program, args);
  await runOrThrow(command, { args: all, cwd: "/", deadlineMs: 60_000 });
}

function asPostgres(program: string, args: readonly string[]): [string, string[]] {
  const path = requireProgram(program);
  return isRoot() ? ["setpriv", [...AS_POSTGRES, path, ...args]] : [path, [...args]];
}

async function giveToPostgres(...paths: readonly string[]): Promise<void> {
  if (isRoot() && paths.length > 0) await runOrThrow("chown", { args: ["postgres:postgres", ...paths] });
}

/** A string of a connection string. */
function quoteForLibpq(value: string): string {
  return `'${value.replaceAll(/['\\]/g, "\\$&")}'`;
}

/** A string of SQL or of postgresql.conf. */
function quote(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
