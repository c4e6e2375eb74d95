import assert from "node:assert/strict";
import { SILENT_LOG } from "../../../core/log.ts";
import { DatabaseDown } from "../../../plugins/mtls-postgres/access.ts";
import { AccessCache } from "../../../plugins/mtls-postgres/access_cache.ts";
import { openEmbeddedDatabase } from "../../../plugins/mtls-postgres/embedded_database.ts";
import { granted } from "../../support/permissions.ts";
import { temporaryFolder } from "../../support/processes.ts";
import { askFrom } from "./restricted.ts";
import { ALICE, ALICE_GETS, CASES, Events, SEED } from "./access_cases.ts";

Deno.test({
  name: "the embedded database decides as PostgreSQL does, tells of changes, and keeps what it holds",
  ignore: !granted("read", "write", "env", "sys"),
  async fn(t) {
    await using temporary = await temporaryFolder();
    const folder = `${temporary.path}/not/there/yet`;

    await t.step("it starts with the tables, and gives everybody what they may", async () => {
      const events = new Events();
      await using database = await openEmbeddedDatabase(folder, events, SILENT_LOG);
      await database.execute(SEED);
      for (const { name, request, verdict } of CASES) {
        assert.deepEqual(await database.decide(request), verdict, name);
      }
      assert.deepEqual(database.state, { up: true, listening: true });
      const before = events.changes;
      const cache = new AccessCache(database, 60_000);
      await cache.decide(ALICE);
      const queries = database.queries;
      await cache.decide(ALICE);
      assert.equal(database.queries, queries);
      await database.execute("UPDATE users SET org_id = 'evil' WHERE user_id = 'bob'");
      assert.equal(events.changes, before + 1);
    });

    await t.step("nobody else can read its files", async () => {
      assert.equal(((await Deno.stat(folder)).mode ?? 0) & 0o777, 0o700);
    });

    await t.step("it starts again from its files, for one process at a time", async () => {
      const database = await openEmbeddedDatabase(folder, new Events(), SILENT_LOG);
      const second = openEmbeddedDatabase(folder, new Events(), SILENT_LOG);
      await assert.rejects(
        second,
        (error) => error instanceof DatabaseDown && /another process/.test(error.message),
      );
      assert.deepEqual(await database.decide(ALICE), ALICE_GETS);
      const bob = { org: "acme", user: "bob", connectId: "team" };
      assert.deepEqual(await database.decide(bob), { kind: "denied", reason: "other_organization" });
      await database[Symbol.asyncDispose]();
      await assert.rejects(database.decide(ALICE), DatabaseDown);
    });
  },
});

Deno.test({
  name: "permission for its folder is enough for the embedded database, and without it there is a reason",
  ignore: !granted("read", "write", "env", "sys"),
  async fn() {
    await using temporary = await temporaryFolder();
    const folder = `${temporary.path}/embedded`;
    assert.equal(await askFrom({ read: [folder], write: [folder] }, folder), "allowed");
    assert.match(await askFrom({}, folder), /Requires (read|write) access to/);
  },
});
