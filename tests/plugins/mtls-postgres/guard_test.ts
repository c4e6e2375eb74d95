import assert from "node:assert/strict";
import { type AccessRequest, DatabaseDown, type Verdict } from "../../../plugins/mtls-postgres/access.ts";
import { Guard } from "../../../plugins/mtls-postgres/guard.ts";
import { Bench, denied, leaf } from "./bench.ts";
import { settle } from "./fakes.ts";

const ALLOWED: Verdict = { kind: "allowed", address: "10.0.0.5" };

/** An answer of the database that fails for some hosts, and denies whoever wants to another. */
function failingFor(...hosts: readonly string[]): (request: AccessRequest) => Verdict | Error {
  return ({ connectId }) =>
    hosts.includes(connectId) ? new DatabaseDown("No answer in 2000 ms") : denied("not_listed");
}

Deno.test("a question that gets no answer does not keep the others from being asked about", async () => {
  await using bench = await Bench.start({ recheckInterval: "1h" });
  const der = await leaf();
  const stuck = ["host-1", "host-2", "host-3", "host-4", "host-5"];
  for (const host of stuck) await bench.enter(der, { host });
  const { connection } = await bench.enter(der, { host: "host-9" });
  bench.database.answer = failingFor(...stuck);
  bench.database.events?.changed();
  await bench.clock.pass(10);
  assert.deepEqual(bench.context.ended, [[connection.id, "access_revoked"]]);
});

Deno.test("who could not be asked about is asked about again soon, not at the next interval", async () => {
  await using bench = await Bench.start({ recheckInterval: "1h" });
  const { connection } = await bench.enter(await leaf());
  bench.database.answer = failingFor("host-1");
  bench.database.events?.changed();
  await bench.clock.pass(500);
  assert.deepEqual(bench.context.ended, []);
  bench.database.answer = () => denied("not_listed");
  await bench.clock.pass(1000);
  assert.deepEqual(bench.context.ended, [[connection.id, "access_revoked"]]);
});

Deno.test("a way in that never gets an answer is asked about more and more seldom", async () => {
  await using bench = await Bench.start({ recheckInterval: "1h" });
  await bench.enter(await leaf());
  bench.database.answer = failingFor("host-1");
  bench.database.events?.changed();
  await bench.clock.pass(600_000);
  const { length } = bench.database.asked;
  assert.ok(length > 8 && length < 15, `${length} questions in ten minutes`);
  bench.database.answer = () => ALLOWED;
  await bench.clock.pass(600_000);
  const { length: later } = bench.database.asked;
  await bench.clock.pass(1_800_000);
  assert.equal(bench.database.asked.length, later, "an answer ends it");
});

Deno.test("a change while a recheck waits for its answer is followed by another recheck", async () => {
  await using bench = await Bench.start({ recheckInterval: "1h" });
  const { connection } = await bench.enter(await leaf());
  const gate = Promise.withResolvers<void>();
  bench.database.gate = gate.promise;
  bench.database.events?.changed(); // asks, and is told what was right before the next change
  await settle();
  bench.database.answer = () => denied("not_listed");
  bench.database.events?.changed();
  gate.resolve();
  await settle();
  assert.deepEqual(bench.context.ended, []);
  await bench.clock.pass(100);
  assert.deepEqual(bench.context.ended, [[connection.id, "access_revoked"]]);
});

Deno.test("somebody who shares the question of another, from before a change, is asked about after it", async () => {
  await using bench = await Bench.start({ recheckInterval: "1h", cacheTtl: "5m" });
  const der = await leaf();
  const gate = Promise.withResolvers<void>();
  bench.database.gate = gate.promise;
  const both = [bench.enter(der), bench.enter(der)];
  await settle();
  assert.equal(bench.database.asked.length, 1);
  bench.database.answer = () => denied("not_listed");
  bench.database.events?.changed();
  gate.resolve();
  const entered = await Promise.all(both);
  assert.deepEqual(entered.map(({ decision }) => decision?.kind), ["forward", "forward"]);
  await bench.clock.pass(200);
  assert.deepEqual(
    bench.context.ended.map(([id]) => id).toSorted(),
    entered.map(({ connection }) => connection.id).toSorted(),
  );
  assert.equal((await bench.enter(der)).decision?.kind, "reject", "the older answer is not remembered");
});

Deno.test("nothing is remembered of a database that is lost, or that tells of no changes any more", async () => {
  for (const state of [{ up: false, reason: "gone" }, { up: true, listening: false }] as const) {
    await using bench = await Bench.start({ recheckInterval: "1h", cacheTtl: "5m" });
    const der = await leaf();
    assert.equal((await bench.enter(der)).decision?.kind, "forward");
    bench.database.answer = () => denied("not_listed"); // nobody is told of it
    bench.database.set(state);
    const { decision } = await bench.enter(der);
    assert.ok(decision?.kind === "reject", JSON.stringify(state));
    assert.equal(decision.detail, state.up ? "not_listed" : "database_down");
  }
});

Deno.test("a fault with one of many keeps nobody behind it from being looked at", async () => {
  await using bench = await Bench.start();
  const guard = new Guard({
    clock: bench.clock,
    log: bench.context.log,
    database: () => bench.database,
    targetOf: (address) => address,
    endConnection: () => {},
    ended: () => {},
  }, 1000);
  const seen: number[] = [];
  guard.inTurn(() => [1, 2, 3], (item) => {
    seen.push(item);
    if (item === 2) throw new TypeError("two");
  });
  await settle();
  assert.deepEqual(seen, [1, 2, 3]);
  assert.deepEqual(bench.context.lines("certificates_recheck_failed").map(({ reason }) => reason), ["two"]);
  await guard[Symbol.asyncDispose]();
});
