import assert from "node:assert/strict";
import { DatabaseDown } from "../../../plugins/mtls-postgres/access.ts";
import type { DatabaseAddress } from "../../../plugins/mtls-postgres/postgres_database.ts";
import { createCertificate } from "../../support/certificates.ts";
import { granted } from "../../support/permissions.ts";
import { type Postgres, startPostgres } from "../../support/postgres.ts";
import { ALICE, ALICE_GETS } from "./access_cases.ts";
import { addressOf, makeDatabase, openDatabase, sql, WITHOUT_POSTGRES } from "./database.ts";
import { askFrom } from "./restricted.ts";

const ignore = WITHOUT_POSTGRES || !granted("read", "net");

let server: Postgres;
let name: string;
let ca: string;
let otherCa: string;

Deno.test.beforeAll(async () => {
  if (ignore) return;
  const tls = await createCertificate("localhost");
  ca = tls.ca;
  otherCa = (await createCertificate("localhost")).ca;
  server = await startPostgres({ tls });
  name = await makeDatabase(server);
  await sql(server, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${server.passwordUser}`, name);
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

const withPassword = () => ({ user: server.passwordUser, password: server.password });

for (
  const { what, more, reason } of [
    {
      what: "a wrong password",
      more: () => ({ ...withPassword(), password: "planted secret" }),
      reason: /^password authentication failed for user "reader" \(28P01\)$/,
    },
    {
      what: "a database that is not there",
      more: () => ({ name: "nowhere" }),
      reason: /"nowhere" does not exist/,
    },
    {
      what: "a role that is not there",
      more: () => ({ user: "nobody" }),
      reason: /role "nobody" does not exist/,
    },
    { what: "a port where nothing listens", more: () => ({ port: 1 }), reason: /ECONNREFUSED/ },
    {
      what: "a certificate of a CA that is not known",
      more: () => ({ host: "localhost", tls: {} }),
      reason: /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT/,
    },
    {
      what: "a certificate of another CA than the one given",
      more: () => ({ host: "localhost", tls: { ca: otherCa } }),
      reason: /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED|signature/i,
    },
    {
      what: "a certificate for another name",
      more: () => ({ host: "127.0.0.1", tls: { ca } }),
      reason: /ERR_TLS_CERT_ALTNAME_INVALID/,
    },
  ] as { what: string; more: () => Partial<DatabaseAddress>; reason: RegExp }[]
) {
  Deno.test({
    name: `${what} is a database that is down, for that reason`,
    ignore,
    async fn() {
      await using opened = openDatabase(addressOf(server, name, more()));
      await assert.rejects(
        opened.database.decide(ALICE),
        (error) => error instanceof DatabaseDown && reason.test(error.message),
      );
      await opened.down(reason);
      assert.ok(!JSON.stringify(opened.states).includes("planted secret"));
    },
  });
}

Deno.test({
  name: "TLS with the right CA and name gets there, for questions and for notices",
  ignore,
  async fn() {
    const address = addressOf(server, name, { ...withPassword(), host: "localhost", tls: { ca } });
    await using opened = openDatabase(address);
    await opened.listening();
    assert.deepEqual(await opened.database.decide(ALICE), ALICE_GETS);
    const encrypted = `SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
      WHERE application_name = 'postern' AND ssl AND datname = '${name}'`;
    assert.deepEqual(await sql(server, encrypted), ["2"]);
  },
});

Deno.test({
  name: "TLS from a server that has none is refused",
  ignore,
  async fn() {
    await using plain = await startPostgres({ tls: "off" });
    await using opened = openDatabase(addressOf(plain, "postgres", { host: "localhost", tls: { ca } }));
    await assert.rejects(opened.database.decide(ALICE), /does not support SSL/);
    await opened.down(/does not support SSL/);
  },
});

for (const text of ["", "not a certificate"]) {
  Deno.test(`a CA that is "${text}" is refused, and does not stand for the runtime's own`, () => {
    const address = { host: "127.0.0.1", port: 1, user: "u", name: "n", tls: { ca: text } };
    const times = { queryTimeoutMs: 1, connectTimeoutMs: 1, poolSize: 1 };
    assert.throws(() => openDatabase({ ...address, ...times }), TypeError);
  });
}

Deno.test({
  name: "permission for the database's address is enough, and no other will do",
  ignore,
  async fn() {
    const { port } = server.address;
    const byName = addressOf(server, name, { ...withPassword(), host: "localhost", tls: { ca } });
    assert.equal(
      await askFrom({ net: [`127.0.0.1:${port}`] }, addressOf(server, name, withPassword())),
      "allowed",
    );
    assert.equal(await askFrom({ net: [`localhost:${port}`] }, byName), "allowed");
    assert.match(
      await askFrom({ net: [`127.0.0.1:${port + 1}`] }, addressOf(server, name)),
      /Requires net access/,
    );
  },
});

Deno.test({
  name: "without a password in the config, PGPASSWORD is read when the server asks for one",
  ignore: ignore || !granted("env"),
  async fn() {
    const net = [`127.0.0.1:${server.address.port}`];
    const address = addressOf(server, name, { user: server.passwordUser });
    const before = Deno.env.get("PGPASSWORD");
    try {
      Deno.env.set("PGPASSWORD", server.password);
      assert.equal(await askFrom({ net, env: ["PGPASSWORD"] }, address), "allowed");
      assert.match(await askFrom({ net }, address), /Requires env access to "PGPASSWORD"/);
      assert.equal(await askFrom({ net }, addressOf(server, name)), "allowed", "the superuser needs none");
    } finally {
      if (before === undefined) Deno.env.delete("PGPASSWORD");
      else Deno.env.set("PGPASSWORD", before);
    }
  },
});
