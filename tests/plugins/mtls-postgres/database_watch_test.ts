import assert from "node:assert/strict";
import { DatabaseDown } from "../../../plugins/mtls-postgres/access.ts";
import { SCHEMA } from "../../../plugins/mtls-postgres/schema.ts";
import { type Postgres, psql, startPostgres } from "../../support/postgres.ts";
import { until } from "../../support/until.ts";
import { ALICE, ALICE_GETS, SEED } from "./access_cases.ts";
import {
  addressOf,
  makeDatabase,
  type OpenDatabase,
  openDatabase,
  sql,
  WITHOUT_POSTGRES as ignore,
} from "./database.ts";
import { Forwarder } from "./forwarder.ts";

let server: Postgres;

Deno.test.beforeAll(async () => {
  if (!ignore) server = await startPostgres({ tls: "off" });
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

/** SQL for the gateway's connections to a database. */
const backends = (name: string) =>
  `SELECT pid FROM pg_stat_activity WHERE datname = '${name}' AND application_name = 'postern'`;

Deno.test({
  name: "a server that crashes and starts again is found again, and changes are told again",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    await using opened = openDatabase(addressOf(server, name));
    await opened.listening();
    assert.deepEqual(await opened.cache.decide(ALICE), ALICE_GETS);
    const before = opened.changes;
    await sql(server, "CHECKPOINT"); // the test's server keeps what is new in memory
    const [pid] = await sql(server, `${backends(name)} LIMIT 1`);
    Deno.kill(Number(pid), "SIGKILL"); // the server ends every other backend then, recovers, and goes on
    await until(() => opened.changes > before, { deadlineMs: 15_000, what: "changes to be told" });
    await opened.listening();
    assert.equal(opened.cache.size, 0);
    assert.deepEqual(await opened.cache.decide(ALICE), ALICE_GETS);
    await assertNotices(opened, name);
  },
});

Deno.test({
  name: "while the server cannot be reached nobody gets in, at once, until it can be reached again",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    using way = new Forwarder(server.address);
    const { hostname: host, port } = way.address;
    await using opened = openDatabase(addressOf(server, name, { host, port }));
    await opened.listening();
    await Promise.all(Array.from({ length: 8 }, () => opened.database.decide(ALICE)));
    way.cut();
    await opened.down(/ECONNREFUSED/);
    const before = opened.database.queries;
    await assert.rejects(opened.database.decide(ALICE), DatabaseDown);
    assert.equal(opened.database.queries, before, "a query was sent to a server known to be down");
    way.restore();
    await opened.listening();
    assert.deepEqual(await opened.database.decide(ALICE), ALICE_GETS);
  },
});

Deno.test({
  name: "a server that stops answering is noticed within the query timeout, and closing does not wait for it",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    using way = new Forwarder(server.address);
    const { hostname: host, port } = way.address;
    const opened = openDatabase(
      addressOf(server, name, { host, port, queryTimeoutMs: 200, connectTimeoutMs: 60_000 }),
    );
    await opened.listening();
    await opened.database.decide(ALICE);
    way.silence();
    await assert.rejects(opened.database.decide(ALICE), new DatabaseDown("No answer in 200 ms"));
    await opened.down(/^No answer in 200 ms$/);
    const began = performance.now();
    await opened.database[Symbol.asyncDispose]();
    assert.ok(performance.now() - began < 5000);
  },
});

Deno.test({
  name: "a server that takes connections and says nothing is down after the connect timeout",
  ignore,
  async fn() {
    using way = new Forwarder(server.address);
    way.silence();
    const { hostname: host, port } = way.address;
    await using opened = openDatabase(addressOf(server, "postgres", { host, port, connectTimeoutMs: 200 }));
    await assert.rejects(opened.database.decide(ALICE), new DatabaseDown("No connection in 200 ms"));
    await opened.down(/^No connection in 200 ms$/);
  },
});

Deno.test({
  name: "a table that is locked is a database that is down, for as long as it is locked",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    await using opened = openDatabase(addressOf(server, name, { queryTimeoutMs: 200 }));
    await opened.listening();
    const lock = psql("BEGIN; LOCK TABLE users; SELECT pg_sleep(60)", {
      address: server.address,
      database: name,
      sslMode: "disable",
    });
    const holder =
      `SELECT pid FROM pg_locks JOIN pg_class ON oid = relation WHERE relname = 'users' AND granted
      AND mode = 'AccessExclusiveLock'`;
    const [pid] = await until(async () => {
      const rows = await sql(server, holder, name);
      return rows.length > 0 && rows;
    }, { what: "the lock" });
    await assert.rejects(opened.database.decide(ALICE), new DatabaseDown("No answer in 200 ms"));
    await opened.down(/^No answer in 200 ms$/);
    assert.match(server.program.output, /canceling statement due to statement timeout/);
    await sql(server, `SELECT pg_terminate_backend(${pid})`);
    await lock;
    await opened.listening();
    assert.deepEqual(await opened.database.decide(ALICE), ALICE_GETS);
  },
});

Deno.test({
  name: "tables that are missing are a database that is down, until they are there",
  ignore,
  async fn() {
    const name = await makeDatabase(server, "SELECT");
    await using opened = openDatabase(addressOf(server, name));
    await opened.down(/relation "\w+" does not exist \(42P01\)/);
    await assert.rejects(opened.database.decide(ALICE), DatabaseDown);
    await sql(server, SCHEMA + SEED, name);
    await opened.listening();
    assert.deepEqual(await opened.database.decide(ALICE), ALICE_GETS);
  },
});

Deno.test({
  name:
    "when only the connection for notices is ended, questions are answered on and missed changes are made up for",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    await using opened = openDatabase(addressOf(server, name));
    await opened.listening(); // and no question has been asked: the only connection is this one
    const before = opened.changes;
    await sql(server, `SELECT pg_terminate_backend(pid) FROM (${backends(name)}) AS b`);
    await until(() => opened.changes > before, { what: "changes to be told" });
    await opened.listening();
    assert.ok(opened.states.every(({ up }) => up), JSON.stringify(opened.states));
    await assertNotices(opened, name);
  },
});

Deno.test({
  name: "when connections for questions are ended, others take their place",
  ignore,
  async fn() {
    const name = await makeDatabase(server);
    await using opened = openDatabase(addressOf(server, name));
    await opened.listening();
    const [listener] = await sql(server, backends(name));
    await Promise.all(Array.from({ length: 8 }, () => opened.database.decide(ALICE)));
    const others = `${backends(name)} AND pid <> ${listener}`;
    assert.equal((await sql(server, others)).length, 4);
    await sql(server, `SELECT pg_terminate_backend(pid) FROM (${others}) AS b`);
    await until(
      async () => (await opened.database.decide(ALICE).catch(() => undefined))?.kind === "allowed",
      {
        what: "an answer",
      },
    );
    assert.ok(opened.states.every(({ up }) => up), JSON.stringify(opened.states));
  },
});

Deno.test({
  name: "closing while it connects, and while it waits to try again, takes no time",
  ignore,
  async fn() {
    using way = new Forwarder(server.address);
    way.silence();
    const { hostname: host, port } = way.address;
    const options = { host, port, connectTimeoutMs: 60_000 };
    const connecting = openDatabase(addressOf(server, "postgres", options));
    const waiting = openDatabase(addressOf(server, "postgres", { port: 1 }));
    await waiting.down(/ECONNREFUSED/);
    const began = performance.now();
    await Promise.all([connecting.database[Symbol.asyncDispose](), waiting.database[Symbol.asyncDispose]()]);
    assert.ok(performance.now() - began < 5000);
  },
});

async function assertNotices(opened: OpenDatabase, name: string): Promise<void> {
  const before = opened.changes;
  await sql(server, "DELETE FROM users WHERE user_id = 'alice'", name);
  await until(() => opened.changes > before, { what: "a notice" });
  assert.equal((await opened.cache.decide(ALICE)).kind, "denied");
}
