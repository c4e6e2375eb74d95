import assert from "node:assert/strict";
import { type AccessRequest, DatabaseDown, type Verdict } from "../../../plugins/mtls-postgres/access.ts";
import { AccessCache } from "../../../plugins/mtls-postgres/access_cache.ts";

const ALICE: AccessRequest = { org: "acme", user: "alice", connectId: "web" };
const IN: Verdict = { kind: "allowed", address: "10.0.0.1" };
const OUT: Verdict = { kind: "denied", reason: "not_listed" };

/** Answers when told to. */
class StubDatabase {
  readonly asked: { request: AccessRequest; answer: PromiseWithResolvers<Verdict> }[] = [];

  decide(request: AccessRequest): Promise<Verdict> {
    const answer = Promise.withResolvers<Verdict>();
    this.asked.push({ request, answer });
    return answer.promise;
  }

  answer(index: number, verdict: Verdict): void {
    this.asked[index]?.answer.resolve(verdict);
  }

  fail(index: number): void {
    this.asked[index]?.answer.reject(new DatabaseDown("Gone"));
  }
}

function makeCache(ttlMs: number, maxEntries?: number) {
  const database = new StubDatabase();
  const clock = { ms: 1000 };
  const options = { now: () => clock.ms, ...(maxEntries === undefined ? {} : { maxEntries }) };
  return { database, clock, cache: new AccessCache(database, ttlMs, options) };
}

for (const verdict of [IN, OUT]) {
  Deno.test(`what is ${verdict.kind} is asked once in its time`, async () => {
    const { database, clock, cache } = makeCache(5000);
    const first = cache.decide(ALICE);
    database.answer(0, verdict);
    assert.equal(await first, verdict);
    clock.ms += 4999;
    assert.equal(await cache.decide({ ...ALICE }), verdict);
    assert.deepEqual([database.asked.length, cache.hits, cache.misses, cache.size], [1, 1, 1, 1]);
    clock.ms += 1;
    database.answer(1, verdict);
    void cache.decide(ALICE);
    assert.deepEqual([database.asked.length, cache.hits, cache.misses, cache.size], [2, 1, 2, 1]);
  });
}

Deno.test("an answer is as old as its question, however long it took", async () => {
  const { database, clock, cache } = makeCache(5000);
  const slow = cache.decide(ALICE);
  clock.ms += 4000;
  database.answer(0, IN);
  await slow;
  clock.ms += 1000;
  void cache.decide(ALICE);
  assert.equal(database.asked.length, 2);
});

Deno.test("identical questions share one query, different ones do not", async () => {
  const { database, cache } = makeCache(5000);
  const same = [cache.decide(ALICE), cache.decide({ ...ALICE }), cache.decide({ ...ALICE })];
  const other = cache.decide({ ...ALICE, connectId: "db" });
  assert.deepEqual([database.asked.length, cache.hits, cache.misses], [2, 2, 2]);
  database.answer(0, IN);
  database.answer(1, OUT);
  assert.deepEqual(await Promise.all(same), [IN, IN, IN]);
  assert.equal(await other, OUT);
});

Deno.test("a question of which a part could belong to its neighbour is another one", () => {
  const { database, cache } = makeCache(5000);
  for (
    const [org, user, connectId] of [["ab", "c", "d"], ["a", "bc", "d"], ["a", "b", "cd"], ["", "abc", "d"]]
  ) {
    void cache.decide({ org: `${org}`, user: `${user}`, connectId: `${connectId}` });
  }
  void cache.decide({ org: "1:1", user: "x", connectId: "" });
  void cache.decide({ org: "1", user: ":1x", connectId: "" });
  assert.equal(database.asked.length, 6);
});

Deno.test("invalidate() ends what is remembered", async () => {
  const { database, cache } = makeCache(5000);
  const first = cache.decide(ALICE);
  database.answer(0, IN);
  await first;
  cache.invalidate();
  assert.equal(cache.size, 0);
  const second = cache.decide(ALICE);
  database.answer(1, OUT);
  assert.equal(await second, OUT);
});

Deno.test("an answer that was asked for before invalidate() is nobody else's", async () => {
  const { database, cache } = makeCache(5000);
  const before = cache.decide(ALICE);
  cache.invalidate();
  const after = cache.decide(ALICE);
  assert.equal(database.asked.length, 2, "the second joined the first");
  database.answer(1, OUT);
  assert.equal(await after, OUT);
  database.answer(0, IN); // the older question is answered last
  assert.equal(await before, IN);
  assert.equal(await cache.decide(ALICE), OUT);
});

Deno.test("a failure is not remembered, and goes to all who wait for it", async () => {
  const { database, cache } = makeCache(5000);
  const waiting = [cache.decide(ALICE), cache.decide(ALICE)];
  database.fail(0);
  for (const { status } of await Promise.allSettled(waiting)) assert.equal(status, "rejected");
  assert.equal(cache.size, 0);
  const next = cache.decide(ALICE);
  database.answer(1, IN);
  assert.equal(await next, IN);
});

Deno.test("a failure of an overtaken question leaves the newer answer", async () => {
  const { database, cache } = makeCache(5000);
  const old = cache.decide(ALICE);
  cache.invalidate();
  const renewed = cache.decide(ALICE);
  database.answer(1, IN);
  await renewed;
  database.fail(0);
  await assert.rejects(old, DatabaseDown);
  assert.equal(cache.size, 1);
});

Deno.test("the answer that was wanted least recently goes first", () => {
  const { database, cache } = makeCache(5000, 3);
  const ask = (connectId: string) => void cache.decide({ ...ALICE, connectId });
  ["a", "b", "c", "a", "d"].forEach(ask);
  assert.deepEqual([cache.size, database.asked.length], [3, 4]);
  ["a", "c", "d"].forEach(ask);
  assert.equal(database.asked.length, 4, "one of the three was forgotten");
  ask("b");
  assert.deepEqual([cache.size, database.asked.length], [3, 5]);
});

Deno.test("without a time to live, every question is asked", () => {
  const { database, cache } = makeCache(0);
  void cache.decide(ALICE);
  void cache.decide(ALICE);
  assert.deepEqual([database.asked.length, cache.hits, cache.misses, cache.size], [2, 0, 2, 0]);
});
