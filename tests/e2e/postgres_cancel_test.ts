import assert from "node:assert/strict";
import { createCertificate, type MadeCertificate } from "../support/certificates.ts";
import { type LoggedEvent, TestGateway } from "../support/gateway.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import { type Address, hostPort, type Program, startProgram } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";

const ignore = !can("initdb", "postgres", "psql");
const NAME = "db.example.com";
/** Sessions that are tried until one was cancelled on its own data plane and one from the other. */
const MOST_SESSIONS = 40;

let server: Postgres;
let tls: MadeCertificate & { readonly ca: string };

Deno.test.beforeAll(async () => {
  if (ignore) return;
  tls = await createCertificate(NAME);
  server = await startPostgres({ tls });
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

interface Options {
  readonly threads?: number;
  /** Speaks TLS to PostgreSQL as well. */
  readonly upstreamTls?: boolean;
}

/** Terminates the TLS of PostgreSQL clients; what comes in plain text is no plugin's. */
async function terminating({ threads = 1, upstreamTls = false }: Options = {}) {
  const certificate = await certificateFiles(NAME);
  const section = {
    to: hostPort(server.address),
    ...(upstreamTls && { tls: { ca: tls.ca, serverName: NAME } }),
  };
  const gateway = await TestGateway.start({
    yaml: `${certificate.yaml}\nplugins: { gate: ${JSON.stringify(section)} }`,
    threads,
    declarations: {
      gate: {
        module: new URL("../testdata/plugins/terminate_all.ts", import.meta.url).href,
        isolation: "inline",
        permissions: {},
      },
    },
  });
  return {
    gateway,
    address: { hostname: "127.0.0.1", port: gateway.port() },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await certificate[Symbol.asyncDispose]();
    },
  };
}

/** Starts a psql that sleeps for half a minute in the database, and waits until it does. */
async function startSleeper({ hostname, port }: Address): Promise<Program> {
  const connection =
    `host=${NAME} hostaddr=${hostname} port=${port} user=${server.user} dbname=postgres sslmode=require`;
  const sleeper = await startProgram("psql", {
    args: ["-X", "-v", "VERBOSITY=verbose", "-d", connection, "-c", "SELECT pg_sleep(30)"],
  });
  const sleeping =
    "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'";
  await sleeper.waitFor(async () => (await psql(sleeping, { address: server.address })).rows[0] === "1", {
    what: "the query to run",
  });
  return sleeper;
}

/** Presses Ctrl-C, and waits until psql says by what its query ended. */
async function interrupt(sleeper: Program): Promise<void> {
  sleeper.kill("SIGINT");
  await sleeper.waitForOutput(/ERROR: {2}57014: canceling statement due to user request/);
  await sleeper.status;
}

for (const upstreamTls of [false, true]) {
  Deno.test({
    name: `Ctrl-C in psql ends its query through terminated TLS, with PostgreSQL behind ${
      upstreamTls ? "TLS" : "plain TCP"
    }`,
    ignore,
    async fn() {
      await using behind = await terminating({ upstreamTls });
      const ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
      const { rows, stderr } = await psql(ssl, { address: behind.address, host: NAME });
      assert.deepEqual(rows, [upstreamTls ? "t" : "f"], stderr);
      await using sleeper = await startSleeper(behind.address);
      await interrupt(sleeper);
      const logged = await behind.gateway.logged("postgres_cancel");
      assert.equal(logged.target, hostPort(server.address));
    },
  });
}

Deno.test({
  name: "Ctrl-C in psql ends its query also when it comes in on another data plane than its session",
  ignore,
  async fn() {
    await using behind = await terminating({ threads: 2 });
    const seen = new Set<boolean>();
    const before = new Set<unknown>();
    for (let i = 0; i < MOST_SESSIONS && seen.size < 2; i++) {
      await using sleeper = await startSleeper(behind.address);
      // It is written a little later than the session begins, and each data plane hands in its own lines.
      const opened = await behind.gateway.logged(
        "connection_opened",
        ({ connection }) => !before.has(connection),
      );
      before.add(opened["connection"]);
      await interrupt(sleeper);
      await until(() => events(behind.gateway, "postgres_cancel").length === i + 1, { what: "the log line" });
      seen.add(planeOf(opened) === planeOf(events(behind.gateway, "postgres_cancel").at(-1)));
    }
    assert.equal(seen.size, 2, "both on its own plane and on the other");
    assert.deepEqual(events(behind.gateway, "connection_refused"), []);
  },
});

function events({ events }: TestGateway, word: string): LoggedEvent[] {
  return events.filter(({ event }) => event === word);
}

/** The index of the data plane, which stands in every connection's id. */
function planeOf(event: LoggedEvent | undefined): string {
  return String(event?.connection).match(/-(\d+)\./)?.[1] ?? assert.fail(`No connection in ${event?.event}`);
}
