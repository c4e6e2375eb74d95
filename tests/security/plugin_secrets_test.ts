/** The secrets of `cloudflared` and `mtls-postgres` are in no argument, log line, error, metric, page or command's output. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { runHere } from "../cli/run_cli.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { addHost, DOMAIN, ISSUER, makeTables, spiffeId, sql } from "../e2e/mtls_gateway.ts";
import { can } from "../e2e/can.ts";
import { createAuthority } from "../support/certificates.ts";
import { freeRange, hasStandIn, installStandIn } from "../support/cloudflared.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { type PemPair, writePem } from "../support/openssl.ts";
import { type Postgres, startPostgres } from "../support/postgres.ts";
import { freePort, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { visit } from "./mtls_plane.ts";

const ignore = !(can("initdb", "postgres", "psql") && hasStandIn());
const HOST = `host-1.${DOMAIN}`;
const TUNNEL = "db.customer.example.com";

/** Planted wherever the two have room for one. */
const SECRETS = {
  token: "planted-admin-token-1f2e",
  password: "planted-database-password-3d4c",
  id: "planted-service-token-id-5b6a.access",
  secret: "planted-service-token-secret-7980",
  /** After a reload. */
  next: "planted-next-token-secret-a1b2",
} as const;

let server: Postgres;

Deno.test.beforeAll(async () => {
  if (ignore) return;
  server = await startPostgres({ tls: "off" });
  await makeTables(server);
  await sql(
    server,
    `INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme');
     ALTER ROLE ${server.passwordUser} PASSWORD '${SECRETS.password}';
     GRANT SELECT ON backend_hosts, teams, users TO ${server.passwordUser}`,
  );
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

/** The second line of a PEM: enough of a key to know it by. */
function inside({ key }: PemPair): string {
  return key.split("\n")[1] ?? assert.fail("no PEM");
}

/** Where secrets are looked for. */
class Search {
  readonly #secrets: readonly string[];
  #looked = 0;

  constructor(secrets: readonly string[]) {
    this.#secrets = secrets;
  }

  get looked(): number {
    return this.#looked;
  }

  assertClean(where: string, text: string): void {
    this.#looked += text.length;
    for (const secret of this.#secrets) {
      for (const form of [secret, encodeURIComponent(secret), btoa(secret)]) {
        assert.ok(!text.includes(form), `${where} shows ${JSON.stringify(secret)}:\n${text.slice(0, 5000)}`);
      }
    }
  }
}

/** What somebody may put where the database's section goes. */
interface Sections {
  readonly database?: string;
  readonly serviceToken?: string;
}

Deno.test({
  name:
    "secrets of the plugins are nowhere: working, refusing, failing, reloading, stopping, and in every command",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder()).path;
    const echo = stack.use(startEcho());
    await sql(server, "TRUNCATE backend_hosts");
    await addHost(server, "host-1", { address: echo.target, users: ["alice"] });
    const [clients, servers] = [await createAuthority("Clients"), await createAuthority("Servers")];
    const own = await servers.issue({ names: [`*.${DOMAIN}`] });
    const alice = await clients.issue({ uris: [spiffeId("alice")], usage: "client" });
    const nobody = await clients.issue({ uris: [], usage: "client" });
    const cert = await writePem(folder, "server", own.certificate);
    const key = await writePem(folder, "server-key", own.key);
    const ca = await writePem(folder, "clients", clients.certificate);
    const says = [
      SECRETS.id,
      SECRETS.secret,
      `ERR failed, header Cf-Access-Client-Secret: ${SECRETS.secret}`,
      `DBG https://x.example.com/?id=${encodeURIComponent(SECRETS.id)}&secret=${SECRETS.secret}`,
    ];
    const standIn = stack.use(await installStandIn({ say: says, then: says, each: says }));
    const search = new Search([...Object.values(SECRETS), inside(own), inside(alice), inside(clients)]);

    const ports = freeRange();
    const [port, adminPort] = [freePort(), freePort()];
    const yaml = (
      {
        database =
          `{ host: ${server.address.hostname}, port: ${server.address.port}, user: ${server.passwordUser}, password: "${SECRETS.password}", name: postgres }`,
        serviceToken = `{ id: "${SECRETS.id}", secret: "${SECRETS.secret}" }`,
      }: Sections = {},
    ) =>
      `listeners: [{ address: "127.0.0.1:${port}" }]
admin: { address: "127.0.0.1:${adminPort}", token: "${SECRETS.token}" }
tls: { certificates: [{ cert: "${cert}", key: "${key}" }] }
plugins:
  mtls-postgres:
    domain: ${DOMAIN}
    issuer: ${ISSUER}
    caCertificates: ["${ca}"]
    database: ${database}
  cloudflared:
    command: "${standIn.path}"
    names: ["${TUNNEL}"]
    ports: ${ports}
    serviceToken: ${serviceToken}
`;
    const gateway = await TestGateway.start({ yaml: yaml() });
    try {
      await gateway.logged("database_up");
      const enter = async (certificate?: PemPair) =>
        await visit({ ca: servers.certificate, port, serverName: HOST, certificate });
      assert.equal(await enter(alice), "ping", "the password is the right one");
      for (const certificate of [nobody, undefined]) {
        search.assertClean("an answer", await enter(certificate));
      }
      const tunnel = async () => {
        using client = await gateway.connect();
        await writeAll(client, inRecords(helloMessage({ extensions: [serverName(TUNNEL)] })));
        await client.closeWrite();
        return new TextDecoder("latin1").decode(await readToEnd(client));
      };
      search.assertClean("an answer", await tunnel());
      const [start] = standIn.starts;
      assert.ok(JSON.stringify(start?.env).includes(SECRETS.secret), "the program has got its token");
      search.assertClean("the command line", JSON.stringify(start?.args));
      const cmdline = (pid: number) => Deno.readTextFile(`/proc/${pid}/cmdline`);
      search.assertClean("/proc/PID/cmdline", await cmdline(start?.pid ?? 0));

      for (const authorization of [`Bearer ${SECRETS.token}`, "Bearer wrong"]) {
        for (
          const page of ["api/v1/status", "api/v1/plugins", "api/v1/routes", "api/v1/connections", "metrics"]
        ) {
          const response = await fetch(`${gateway.adminUrl}/${page}`, { headers: { authorization } });
          search.assertClean(page, await response.text());
        }
      }
      for (const page of ["readyz", "healthz"]) {
        search.assertClean(page, await (await fetch(`${gateway.adminUrl}/${page}`)).text());
      }

      // As they are, each of the files is one that a command may be given.
      const config = `${folder}/postern.yaml`;
      const command = async (...args: readonly string[]) => {
        const { stdout, stderr, code } = await runHere(...args, "--config", config);
        search.assertClean(`postern ${args.join(" ")}`, stdout + stderr);
        return { code, said: stdout + stderr };
      };
      await Deno.writeTextFile(config, yaml());
      const check = await command("check");
      assert.equal(check.code, 0, check.said);
      assert.match(check.said, /password: "?\*\*\*/, "it shows that there is one");
      assert.match((await command("explain", HOST)).said, /planted|spiffe:/);
      assert.match((await command("explain", TUNNEL)).said, /service token through its environment/);
      for (const form of [["status"], ["status", "--json"]]) {
        const { code, said } = await command(...form, "--admin", gateway.adminUrl, "--token", SECRETS.token);
        assert.deepEqual([code, said.includes("cloudflared")], [0, true], said);
      }
      const wrong: readonly Sections[] = [
        { database: `{ host: 127.0.0.1, user: u, name: n, password: ["${SECRETS.password}"] }` },
        { database: `{ host: 127.0.0.1, user: u, name: n, passwrd: "${SECRETS.password}" }` },
        { database: `"postgres://planted:${SECRETS.password}@127.0.0.1/postgres"` },
        { database: `{ host: 127.0.0.1, user: u, password: "${SECRETS.password}" }` },
        { serviceToken: `"${SECRETS.id}:${SECRETS.secret}"` },
        { serviceToken: `{ id: "${SECRETS.id}", secret: "${SECRETS.secret} ${SECRETS.secret}" }` },
        { serviceToken: `{ id: ["${SECRETS.id}"], secret: { is: "${SECRETS.secret}" } }` },
        { serviceToken: `{ id: "${SECRETS.id}", secrt: "${SECRETS.secret}" }` },
      ];
      for (const sections of wrong) {
        await Deno.writeTextFile(config, yaml(sections));
        assert.equal((await command("check")).code, 1, JSON.stringify(sections));
        await assert.rejects(gateway.reload({ yaml: yaml(sections) }), (error) => {
          search.assertClean("the error of a reload", String(error));
          return true;
        });
      }

      // A token that is another now, and a database that no longer takes the password.
      await gateway.reload({
        yaml: yaml({ serviceToken: `{ id: "${SECRETS.id}", secret: "${SECRETS.next}" }` }),
      });
      standIn.behave({ say: [SECRETS.id, `secret: ${SECRETS.next}`], exit: 1 });
      search.assertClean("an answer", await tunnel());
      await sql(server, `ALTER ROLE ${server.passwordUser} PASSWORD 'another'`);
      await sql(
        server,
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${server.passwordUser}'`,
      );
      await gateway.logged("database_down");
      await until(async () => {
        const response = await fetch(`${gateway.adminUrl}/readyz`);
        search.assertClean("/readyz", await response.text());
        return response.status === 503;
      }, { what: "it to be down" });
      await command("status", "--admin", gateway.adminUrl, "--token", SECRETS.token);
    } finally {
      await gateway[Symbol.asyncDispose]();
    }
    const log = JSON.stringify(gateway.events);
    for (const event of ["access", "cloudflared_output", "cloudflared_failed", "database_down"]) {
      assert.ok(log.includes(`"${event}"`), `the log has its ${event}`);
    }
    search.assertClean("the log", log);
    assert.ok(search.looked > 20_000, `only ${search.looked} characters were looked at`);
  },
});
