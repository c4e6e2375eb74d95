import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { createAuthority } from "../support/certificates.ts";
import { startEcho } from "../support/echo.ts";
import { writePem } from "../support/openssl.ts";
import { denoEnvironment, startProgram, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { connectTls, DOMAIN, ISSUER, spiffeId } from "./mtls_gateway.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
/** PGlite takes seconds to start, more on a busy machine. */
const SLOW = { deadlineMs: 60_000 };

function seed(target: string, ...users: readonly string[]): string {
  return `INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme'), ('bob', 'acme') ON CONFLICT DO NOTHING;
    INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id) VALUES ('host-1', '${target}', 'acme')
      ON CONFLICT DO NOTHING;
    UPDATE backend_hosts SET user_ids = '{${users.join(",")}}'`;
}

Deno.test({
  name:
    "with the embedded database and a seed, a gateway needs no server: who is in the file gets in, and stays so long",
  ignore: !can() || Deno.build.os !== "linux",
  async fn() {
    await using echo = startEcho();
    await using folder = await temporaryFolder();
    const clients = await createAuthority("Client CA");
    const server = await createAuthority("Server CA");
    const { certificate, key } = await server.issue({ names: [`*.${DOMAIN}`] });
    await writePem(folder.path, "server", certificate);
    await writePem(folder.path, "server-key", key);
    await writePem(folder.path, "clients", clients.certificate);
    await Deno.writeTextFile(`${folder.path}/seed.sql`, seed(echo.target, "alice"));
    await Deno.writeTextFile(
      `${folder.path}/postern.yaml`,
      `listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
log: { level: info, format: json }
tls: { certificates: [{ cert: server.pem, key: server-key.pem }] }
plugins:
  mtls-postgres:
    domain: ${DOMAIN}
    issuer: ${ISSUER}
    caCertificates: [clients.pem]
    database: embedded
    seed: seed.sql
    cacheTtl: 5m
    recheckInterval: 1h`,
    );
    await using gateway = await startProgram(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", "-A", main, "gateway"],
      env: denoEnvironment(),
      cwd: folder.path,
      stopDeadlineMs: 20_000,
    });
    const [, port] = await gateway.waitForOutput(/listen 127\.0\.0\.1:(\d+)/, SLOW);
    const there = {
      address: { hostname: "127.0.0.1", port: Number(port) },
      serverCa: server.certificate,
    };
    const enter = async (user: string) => {
      const made = await clients.issue({ uris: [spiffeId(user)], usage: "client" });
      const client = await connectTls(there, "host-1", made);
      await client.echo("hello").catch(async (error) => {
        await client[Symbol.asyncDispose]();
        throw error;
      });
      return client;
    };

    // On a machine so busy that the gateway did not wait for it, nobody gets in before.
    await gateway.waitForOutput(/"event":"embedded_database_opened"/, SLOW);
    await using alice = await until(() => enter("alice").catch(() => undefined), { what: "alice to get in" });
    await assert.rejects(enter("bob"));
    await gateway.waitForOutput(/"user":"bob".*"reason":"not_listed"/);
    assert.equal(((await Deno.stat(`${folder.path}/.postern/mtls-postgres`)).mode ?? 0) & 0o777, 0o700);

    await Deno.writeTextFile(`${folder.path}/seed.sql`, seed(echo.target, "bob"));
    gateway.kill("SIGHUP");
    await until(() => alice.isClosed, { what: "alice's connection to be ended", ...SLOW });
    await gateway.waitForOutput(/"event":"access_ended".*"user":"alice".*"reason":"access_revoked"/);
    await using bob = await enter("bob");
    await assert.rejects(enter("alice"));
    assert.equal(bob.isClosed, false);

    await bob[Symbol.asyncDispose]();
    gateway.kill("SIGTERM");
    assert.equal((await gateway.status).code, 0, gateway.output);
  },
});
