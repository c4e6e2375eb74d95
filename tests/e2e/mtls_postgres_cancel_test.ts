import assert from "node:assert/strict";
import { once } from "node:events";
// @ts-types="../../plugins/mtls-postgres/pg.d.ts"
import pg from "pg";
import { createCertificate, type MadeCertificate } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import { hostPort, type Program, startProgram, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { addHost, type Client, DOMAIN, makeTables, MtlsGateway, sql } from "./mtls_gateway.ts";

const ignore = !can("initdb", "postgres", "psql");
const HOST = "host-1";
const NAME = `${HOST}.${DOMAIN}`;
/** From Ctrl-C to psql's last word. */
const AT_ONCE_MS = 200;
const CANCELED = "57014";
const SLEEP = "SELECT pg_sleep(30)";

let server: Postgres;
let backend: MadeCertificate & { readonly ca: string };

Deno.test.beforeAll(async () => {
  if (ignore) return;
  backend = await createCertificate("db.internal");
  server = await startPostgres({ tls: backend });
  await makeTables(server);
  await sql(server, "INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme'), ('bob', 'acme')");
  await addHost(server, HOST, { address: hostPort(server.address), users: ["alice"] });
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

type Leg = "plain" | "TLS";

/** A gateway where alice may go to the database itself. */
async function gatewayBy(leg: Leg): Promise<MtlsGateway> {
  await using folder = await temporaryFolder(); // it is read at the start
  const ca = await writePem(folder.path, "targets", backend.ca);
  const targetTls = { ca, serverName: "db.internal" };
  return await MtlsGateway.start({ database: server.address, section: leg === "TLS" ? { targetTls } : {} });
}

/** How many sessions sleep in the database at the moment. */
async function sleepers(): Promise<number> {
  const query = `SELECT count(*) FROM pg_stat_activity WHERE query = '${SLEEP}' AND state = 'active'`;
  return Number((await psql(query, { address: server.address })).rows[0]);
}

/** psql as alice, asleep. */
async function startSleeper(there: MtlsGateway, certificate: MadeCertificate): Promise<Program> {
  const parameters = {
    host: NAME,
    hostaddr: there.address.hostname,
    port: there.address.port,
    user: server.user,
    dbname: "postgres",
    sslmode: "verify-full",
    sslrootcert: await writePem(there.folder, "server-ca", there.serverCa),
    sslcert: await writePem(there.folder, "alice", certificate.certificate),
    sslkey: await writePem(there.folder, "alice-key", certificate.key),
  };
  const connection = Object.entries(parameters).map(([name, value]) => `${name}=${value}`).join(" ");
  const sleeper = await startProgram("psql", {
    args: ["-X", "-v", "VERBOSITY=verbose", "-d", connection, "-c", SLEEP],
  });
  await sleeper.waitFor(async () => await sleepers() === 1, { what: "the query to run" });
  return sleeper;
}

for (const leg of ["plain", "TLS"] as const) {
  Deno.test({
    name: `Ctrl-C in psql with sslcert ends its query at once, with PostgreSQL behind ${leg}`,
    ignore,
    async fn() {
      await using there = await gatewayBy(leg);
      const alice = await there.issue("alice");
      const times: number[] = [];
      for (let i = 0; i < 3; i++) {
        await using sleeper = await startSleeper(there, alice);
        const before = performance.now();
        sleeper.kill("SIGINT");
        await sleeper.status;
        times.push(performance.now() - before);
        assert.match(sleeper.output, /ERROR: {2}57014: canceling statement due to user request/);
      }
      assert.ok(Math.min(...times) < AT_ONCE_MS, `${times} ms`); // what else runs here may delay one or two
      const cancels = () => there.lines("postgres_cancel").length;
      await until(() => cancels() === 3, { what: () => `three lines, not ${cancels()}` });
      assert.equal(there.lines().length, 3, "a cancel request by plain text is nobody's attempt to get in");
    },
  });

  Deno.test({
    name:
      `node-pg with a certificate works, and a cancel by TLS is decided on as any connection, behind ${leg}`,
    ignore,
    async fn() {
      await using there = await gatewayBy(leg);
      const alice = await there.issue("alice");
      await using session = await openSession(there, alice);
      const { rows } = await session.client.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
      assert.deepEqual(rows, [{ ssl: leg === "TLS" }]);

      const sleeping = assert.rejects(session.client.query(SLEEP), { code: CANCELED });
      await until(async () => await sleepers() === 1, { what: "the query to run" });
      const stranger = await there.audited(HOST, await there.issue("bob"));
      assert.deepEqual([stranger.isIn, stranger.line["reason"]], [false, "not_listed"]);
      await cancelByTls(there, session, await there.issue("bob"));
      assert.equal(await sleepers(), 1, "who may not get in cancels nothing");

      await cancelByTls(there, session, alice);
      await sleeping;
      const decisions = () => there.lines().map(({ user, allowed }) => `${user} ${allowed}`);
      await until(() => decisions().length === 4, { what: "four audit lines" });
      assert.deepEqual(decisions(), ["alice true", "bob false", "bob false", "alice true"]);
      assert.deepEqual(there.lines("postgres_cancel"), []);
    },
  });
}

interface Session extends AsyncDisposable {
  readonly client: InstanceType<typeof pg.Client>;
  readonly key: { readonly processID: number; readonly secretKey: number };
}

/** A session of node-pg. */
async function openSession(there: MtlsGateway, { certificate, key }: MadeCertificate): Promise<Session> {
  const config = {
    host: there.address.hostname,
    port: there.address.port,
    user: server.user,
    database: "postgres",
    ssl: { ca: there.serverCa, cert: certificate, key, servername: NAME },
  };
  const client = new pg.Client(config as never);
  client.on("error", () => {});
  await client.connect();
  return {
    client,
    key: client as unknown as Session["key"],
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** Sends a CancelRequest (PostgreSQL docs, "Message Formats") within TLS, and waits for the end of the connection. */
async function cancelByTls(
  there: MtlsGateway,
  { key: { processID, secretKey } }: Session,
  certificate: MadeCertificate,
): Promise<void> {
  const request = new DataView(new ArrayBuffer(16));
  for (const [i, value] of [16, 80_877_102, processID, secretKey].entries()) request.setInt32(4 * i, value);
  await using client: Client = await there.connect(HOST, certificate, { alpn: ["postgresql"] });
  client.socket.write(new Uint8Array(request.buffer));
  if (!client.isClosed) await once(client.socket, "close");
}
