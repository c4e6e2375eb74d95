import assert from "node:assert/strict";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { DatabaseDown } from "../../../plugins/mtls-postgres/access.ts";
import { EmbeddedAccess } from "../../../plugins/mtls-postgres/embedded_access.ts";
import { openEmbeddedDatabase } from "../../../plugins/mtls-postgres/embedded_database.ts";
import { granted } from "../../support/permissions.ts";
import { temporaryFolder } from "../../support/processes.ts";
import { until } from "../../support/until.ts";
import { ALICE, ALICE_GETS, Events, SEED } from "./access_cases.ts";

/** It is PostgreSQL that starts. */
const LONG = { deadlineMs: 60_000 };

Deno.test({
  name: "the embedded database starts in the background, is seeded, and lets nobody in before",
  ignore: !granted("read", "write", "env", "sys"),
  async fn(t) {
    await using temporary = await temporaryFolder();
    const folder = `${temporary.path}/embedded`;
    const logged: LogEvent[] = [];
    const log = createLog("test", "info", (event) => logged.push(event));

    await t.step("it is down at first, and up with what the seed says", async () => {
      await using database = new EmbeddedAccess(folder, { path: "seed.sql", sql: SEED }, new Events(), log);
      assert.deepEqual(database.state, { up: false, reason: "PGlite is starting" });
      await assert.rejects(database.decide(ALICE), DatabaseDown);
      await until(() => database.state.up, { what: "the database to be up", ...LONG });
      assert.deepEqual(await database.decide(ALICE), ALICE_GETS);
    });

    await t.step("a seed that fails keeps it down, and names the file", async () => {
      await using database = new EmbeddedAccess(
        folder,
        { path: "seed.sql", sql: "NONSENSE" },
        new Events(),
        log,
      );
      const isTold = () => !database.state.up && database.state.reason !== "PGlite is starting";
      await until(isTold, { what: "the fault to be told", ...LONG });
      assert.match((database.state as { reason: string }).reason, /^"seed\.sql": syntax error/);
      await assert.rejects(database.decide(ALICE), DatabaseDown);
      assert.ok(logged.some(({ event }) => event === "embedded_database_failed"));
    });

    await t.step("a folder that somebody else has open is tried again", async () => {
      const other = await openEmbeddedDatabase(folder, new Events(), log);
      await using database = new EmbeddedAccess(folder, undefined, new Events(), log);
      const isTold = () => !database.state.up && database.state.reason.includes("another process");
      await until(isTold, { what: "the fault to be told", ...LONG });
      await other[Symbol.asyncDispose]();
      await until(() => database.state.up, { what: "the database to be up", ...LONG });
      assert.deepEqual(await database.decide(ALICE), ALICE_GETS);
    });
  },
});
