import assert from "node:assert/strict";
import { DatabaseDown } from "../../../plugins/mtls-postgres/access.ts";
import { ACCESS_QUERY } from "../../../plugins/mtls-postgres/query.ts";
import { SCHEMA } from "../../../plugins/mtls-postgres/schema.ts";
import { type Postgres, startPostgres } from "../../support/postgres.ts";
import { until } from "../../support/until.ts";
import { ALICE, ALICE_GETS, CASES, SEED } from "./access_cases.ts";
import { addressOf, makeDatabase, openDatabase, sql, WITHOUT_POSTGRES as ignore } from "./database.ts";

/** As the seed of the data has them: somebody else's tables, and none of our triggers. */
const FOREIGN_TABLES = `
  CREATE TABLE backend_hosts (connect_id TEXT PRIMARY KEY, internal_ip_addr TEXT NOT NULL, org_id TEXT NOT NULL,
    user_ids TEXT[] NOT NULL DEFAULT '{}', team_ids TEXT[] NOT NULL DEFAULT '{}', host_user TEXT);
  CREATE TABLE teams (team_id TEXT PRIMARY KEY, org_id TEXT NOT NULL, user_ids TEXT[] NOT NULL DEFAULT '{}');
  CREATE TABLE users (user_id TEXT PRIMARY KEY, org_id TEXT NOT NULL, public_keys BYTEA[] NOT NULL DEFAULT '{}');`;
/** Without keys and without NOT NULL. */
const LOOSE_TABLES = FOREIGN_TABLES.replaceAll(/ PRIMARY KEY| NOT NULL/g, "");

let server: Postgres;

Deno.test.beforeAll(async () => {
  if (!ignore) server = await startPostgres({ tls: "off" });
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

for (
  const { what, statements } of [
    { what: "with the schema", statements: SCHEMA + SEED },
    { what: "with somebody else's tables", statements: FOREIGN_TABLES + SEED },
    {
      what: "with the schema on top of somebody else's data, twice",
      statements: FOREIGN_TABLES + SEED + SCHEMA + SCHEMA,
    },
  ]
) {
  Deno.test({
    name: `${what}, everybody gets where they may and nowhere else`,
    ignore,
    async fn(t) {
      await using opened = openDatabase(addressOf(server, await makeDatabase(server, statements)));
      for (const { name, request, verdict } of CASES) {
        await t.step(name, async () => assert.deepEqual(await opened.database.decide(request), verdict));
      }
      assert.equal(opened.database.state.up, true);
    },
  });
}

Deno.test({
  name: "NULL in tables that allow it lets nobody in",
  ignore,
  async fn() {
    const name = await makeDatabase(
      server,
      `${LOOSE_TABLES}
      INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme'), ('lost', NULL);
      INSERT INTO teams VALUES ('t', NULL, '{alice}'), ('u', 'acme', NULL);
      INSERT INTO backend_hosts VALUES ('no-org', 'a', NULL, '{alice}', '{}'), ('no-user', 'a', 'acme', '{lost}', '{}'),
        ('no-lists', 'a', 'acme', NULL, NULL), ('teams', 'a', 'acme', '{}', '{t,u}'),
        ('no-address', NULL, 'acme', '{alice}', '{}'), ('twice', 'a', 'acme', '{alice}', '{}'),
        ('twice', 'b', 'acme', '{alice}', '{}');`,
    );
    await using opened = openDatabase(addressOf(server, name));
    const ask = (user: string, connectId: string) => opened.database.decide({ org: "acme", user, connectId });
    assert.deepEqual(await ask("alice", "no-org"), { kind: "denied", reason: "other_organization" });
    assert.deepEqual(await ask("lost", "no-user"), { kind: "denied", reason: "other_organization" });
    assert.deepEqual(await ask("alice", "no-lists"), { kind: "denied", reason: "not_listed" });
    assert.deepEqual(await ask("alice", "teams"), { kind: "denied", reason: "not_listed" });
    await assert.rejects(ask("alice", "no-address"), DatabaseDown);
    await assert.rejects(ask("alice", "twice"), DatabaseDown);
  },
});

Deno.test({
  name: "a role that may do no more than the schema's comment grants decides and listens",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    const grants = SCHEMA.match(/GRANT .*;/g) ?? [];
    assert.equal(grants.length, 3);
    await sql(server, grants.join("\n").replaceAll("TO postern", `TO ${server.passwordUser}`), name);
    const { passwordUser: user, password } = server;
    await using opened = openDatabase(addressOf(server, name, { user, password }));
    await opened.listening();
    assert.deepEqual(await opened.database.decide(ALICE), ALICE_GETS);
  },
});

Deno.test({
  name: "one statement is prepared on a connection, once, and no decision that is remembered is asked again",
  ignore,
  async fn() {
    const name = await makeDatabase(server, FOREIGN_TABLES + SEED);
    await sql(server, `ALTER DATABASE ${name} SET log_min_duration_statement = 0`);
    await using opened = openDatabase(addressOf(server, name, { poolSize: 1 }));
    await opened.listening();
    for (let i = 0; i < 50; i++) assert.deepEqual(await opened.cache.decide(ALICE), ALICE_GETS);
    assert.deepEqual([opened.database.queries, opened.cache.hits, opened.cache.misses], [1, 49, 1]);
    for (let i = 0; i < 4; i++) await opened.database.decide(ALICE);
    assert.equal(opened.database.queries, 5);
    const count = (step: string) => server.program.output.split(` ms  ${step} postern_access:`).length - 1;
    // One more of each is that of the connection that listens: it looks whether the tables can be asked.
    await until(() => count("execute") === 6, {
      what: () => `six executions; there are ${count("execute")}`,
    });
    assert.equal(count("parse"), 2);
  },
});

for (
  const { what, change } of [
    { what: "INSERT", change: "INSERT INTO teams VALUES ('new', 'acme', '{}')" },
    { what: "UPDATE", change: "UPDATE backend_hosts SET user_ids = '{}' WHERE connect_id = 'direct'" },
    { what: "DELETE", change: "DELETE FROM users WHERE user_id = 'alice'" },
    { what: "TRUNCATE", change: "TRUNCATE backend_hosts" },
  ]
) {
  Deno.test({
    name: `${what} ends what is remembered at once`,
    ignore,
    async fn() {
      const name = await makeDatabase(server);
      await using opened = openDatabase(addressOf(server, name));
      await opened.listening();
      assert.deepEqual(await opened.cache.decide(ALICE), ALICE_GETS);
      const before = opened.changes;
      await sql(server, change, name);
      await until(() => opened.changes > before, { what: "the notice" });
      const kind = what === "INSERT" ? "allowed" : "denied";
      assert.equal((await opened.cache.decide(ALICE)).kind, kind);
      assert.equal(opened.database.queries, 2);
    },
  });
}

Deno.test({
  name: "without triggers, what is remembered is good for its time",
  ignore,
  async fn() {
    const name = await makeDatabase(server, FOREIGN_TABLES + SEED);
    await using opened = openDatabase(addressOf(server, name), 50);
    await opened.listening();
    await opened.cache.decide(ALICE);
    await sql(server, "DELETE FROM users", name);
    await until(async () => (await opened.cache.decide(ALICE)).kind === "denied", {
      what: "the time to be over",
    });
  },
});

Deno.test({
  name: "a question that finds too many waiting is refused at once",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    await using opened = openDatabase(addressOf(server, name, { poolSize: 1 }));
    await opened.listening();
    const questions = Array.from({ length: 1100 }, () => opened.database.decide(ALICE));
    const settled = await Promise.allSettled(questions);
    const refused = settled.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    assert.ok(refused.length > 0 && refused.length < 110, `${refused.length} were refused`);
    for (const { reason } of refused) {
      assert.deepEqual(reason, new DatabaseDown("Too many questions at once"));
    }
    assert.deepEqual(await opened.database.decide(ALICE), ALICE_GETS);
  },
});

Deno.test({
  name: "questions that are on their way when it closes come to an end, and later ones are refused",
  ignore,
  async fn() {
    const opened = openDatabase(addressOf(server, await makeDatabase(server)));
    await opened.listening();
    const asked = Promise.allSettled(Array.from({ length: 4 }, () => opened.database.decide(ALICE)));
    await opened.database[Symbol.asyncDispose]();
    await asked;
    await assert.rejects(opened.database.decide(ALICE), DatabaseDown);
    await opened.database[Symbol.asyncDispose]();
  },
});

/** Many of everything, and one host with far too many of everything. */
const MANY = `
  INSERT INTO users (user_id, org_id) SELECT 'user-' || i, 'acme' FROM generate_series(1, 20000) i;
  INSERT INTO teams (team_id, org_id, user_ids)
    SELECT 'team-' || i, 'acme', ARRAY['user-' || i] FROM generate_series(1, 20000) i;
  INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids, team_ids)
    SELECT 'host-' || i, '10.0.0.5', 'acme', ARRAY['user-' || i], ARRAY['team-' || i]
    FROM generate_series(1, 20000) i;
  INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids, team_ids)
    SELECT 'crowded', '10.0.0.5', 'acme', array_agg('nobody-' || user_id), array_agg('team-' || n)
    FROM (SELECT user_id, row_number() OVER () AS n FROM users) AS numbered;
  ANALYZE;`;

Deno.test({
  name: "every table is read by its primary key, however the query is planned",
  ignore,
  async fn() {
    const name = await makeDatabase(server, `${SCHEMA}${MANY}`);
    for (const mode of ["force_custom_plan", "force_generic_plan"]) {
      const plan = await sql(
        server,
        `SET plan_cache_mode = ${mode};
        PREPARE access (text, text, text) AS ${ACCESS_QUERY.text};
        EXPLAIN EXECUTE access ('acme', 'user-7', 'host-7')`,
        name,
      );
      const text = plan.join("\n");
      const scans = text.matchAll(/(?:Scan using|Bitmap Index Scan on|Seq Scan on) (\S+)/g);
      const read = [...scans].map(([, name]) => name).toSorted();
      assert.deepEqual(read, ["backend_hosts_pkey", "teams_pkey", "users_pkey"], text); // and each once
    }
  },
});

Deno.test({
  name: "a host with 20,000 users and 20,000 teams is decided on in time, and holds up nobody else",
  ignore,
  async fn() {
    await using opened = openDatabase(addressOf(server, await makeDatabase(server, `${SCHEMA}${MANY}`)), 0);
    await opened.listening();
    const ask = (user: string, connectId: string) => opened.database.decide({ org: "acme", user, connectId });
    const [crowded, ...others] = await Promise.all([
      ask("user-20000", "crowded"),
      ...Array.from({ length: 50 }, (_, i) => ask(`user-${i + 1}`, `host-${i + 1}`)),
    ]);
    assert.deepEqual(crowded, { kind: "allowed", address: "10.0.0.5" });
    assert.ok(others.every(({ kind }) => kind === "allowed"));
    assert.deepEqual(await ask("user-5", "host-6"), { kind: "denied", reason: "not_listed" });
  },
});
