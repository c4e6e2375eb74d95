import assert from "node:assert/strict";
import { Breaker, growingWait } from "../../../plugins/cloudflared/breaker.ts";

function breaker() {
  const clock = { ms: 0 };
  return { clock, breaker: new Breaker(() => clock.ms) };
}

Deno.test("waits double, up to a minute, or stay what was configured if that is longer", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map((n) => growingWait(2000, n)), [
    ...[2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000],
  ]);
  assert.equal(growingWait(300_000, 3), 300_000);
  assert.equal(growingWait(2000, 5000), 60_000);
});

Deno.test("a breaker lets everybody through until it trips, then nobody, then one", () => {
  const { breaker: one, clock } = breaker();
  assert.deepEqual([one.admit("a"), one.isClosed, one.isOpen], [0, true, false]);
  assert.equal(one.trip(1000), 1000);
  clock.ms = 400;
  assert.deepEqual([one.admit("b"), one.isClosed, one.isOpen], [600, false, true]);
  clock.ms = 1000;
  assert.deepEqual([one.admit("c"), one.isTrial("c"), one.isTrial("b")], [0, true, false]);
  assert.ok(one.admit("d") > 0, "a second one while the first tries");
});

Deno.test("a breaker whose trial fails waits twice as long; one whose trial works is closed", () => {
  const { breaker: one, clock } = breaker();
  one.trip(1000);
  clock.ms = 1000;
  one.admit("a");
  assert.equal(one.trip(1000), 2000);
  clock.ms = 3000;
  assert.equal(one.admit("b"), 0);
  one.worked(2999);
  assert.equal(one.isClosed, true);
  assert.deepEqual([one.isClosed, one.admit("c"), one.admit("d"), one.trip(1000)], [true, 0, 0, 1000]);
});

Deno.test("a trial that left without a result makes room for another", () => {
  const { breaker: one, clock } = breaker();
  one.trip(1000);
  clock.ms = 1000;
  assert.equal(one.admit("a"), 0);
  one.ended("stranger");
  assert.ok(one.admit("b") > 0);
  one.ended("a");
  assert.deepEqual([one.admit("b"), one.isTrial("b")], [0, true]);
});

Deno.test("a trial that lives on lets others follow, and what fails then opens it for longer", () => {
  const { breaker: one, clock } = breaker();
  one.trip(1000);
  clock.ms = 1000;
  one.admit("a");
  clock.ms = 30_000;
  assert.ok(one.admit("b") > 0, "it has not been sent yet: its program is still starting");
  one.sent("a");
  clock.ms = 34_999;
  assert.equal(one.admit("b"), 1);
  clock.ms = 35_000;
  assert.deepEqual([one.admit("b"), one.admit("c"), one.isOnTrial], [0, 0, false]);
  assert.equal(one.trip(1000), 2000);
});
