import assert from "node:assert/strict";
import { createCertificate } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import { temporaryFolder } from "../support/processes.ts";

const ignore = !["initdb", "postgres", "psql"].every(hasProgram);

let server: Postgres;
let ca: string;

Deno.test.beforeAll(async () => {
  if (ignore) return;
  const tls = await createCertificate("db.example.com");
  ca = tls.ca;
  server = await startPostgres({ tls, settings: { log_connections: "on" } });
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

Deno.test({
  name: "psql reaches PostgreSQL over TLS",
  ignore,
  async fn() {
    const sql = "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    const result = await psql(sql, { address: server.address });
    assert.deepEqual([result.code, result.rows], [0, ["t|postgres"]], result.stderr);
  },
});

Deno.test({
  name: "verify-full checks the name",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const caFile = await writePem(folder.path, "ca", ca);
    const options = { address: server.address, sslMode: "verify-full", caFile } as const;
    const good = await psql("SELECT 1", { ...options, host: "db.example.com" });
    assert.deepEqual([good.code, good.rows], [0, ["1"]], good.stderr);
    const bad = await psql("SELECT 1", { ...options, host: "other.example.com" });
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /does not match host name/);
  },
});

Deno.test({
  name: "a role with a password needs it",
  ignore,
  async fn() {
    const options = { address: server.address, user: server.passwordUser };
    const good = await psql("SELECT current_user", { ...options, password: server.password });
    assert.deepEqual(good.rows, [server.passwordUser], good.stderr);
    const bad = await psql("SELECT 1", { ...options, password: "it's \\wrong" });
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /password authentication failed/);
  },
});

Deno.test({
  name: "PostgreSQL can be started without TLS",
  ignore,
  async fn() {
    await using plain = await startPostgres({ tls: "off" });
    const refused = await psql("SELECT 1", { address: plain.address });
    assert.match(refused.stderr, /server does not support SSL/);
    const allowed = await psql("SELECT 1", { address: plain.address, sslMode: "disable" });
    assert.equal(allowed.code, 0, allowed.stderr);
  },
});
