import assert from "node:assert/strict";
import { Rechecks } from "../../../plugins/mtls-postgres/rechecks.ts";
import { FakeClock, settle } from "./fakes.ts";

Deno.test("a pass at every interval, and at once when asked", async () => {
  const clock = new FakeClock();
  const passes: number[] = [];
  await using rechecks = new Rechecks(
    () => Promise.resolve(passes.push(clock.monotonic()) > 0),
    1000,
    clock,
  );
  await clock.pass(2500);
  assert.equal(passes.length, 2);
  rechecks.request();
  await settle();
  assert.equal(passes.at(-1), 2500);
  rechecks.request();
  rechecks.request();
  await clock.pass(99);
  assert.equal(passes.length, 3, "not at once again");
  await clock.pass(1);
  assert.equal(passes.at(-1), 2600);
});

Deno.test("one pass at a time: what is asked for meanwhile comes after it", async () => {
  const clock = new FakeClock();
  let running = 0, passes = 0;
  let gate = Promise.withResolvers<void>();
  const pass = async () => {
    passes++;
    assert.equal(++running, 1);
    await gate.promise;
    running--;
    return true;
  };
  await using rechecks = new Rechecks(pass, 1000, clock);
  rechecks.request();
  rechecks.request();
  await clock.pass(5000);
  assert.equal(passes, 1, "it is still running");
  gate.resolve();
  gate = Promise.withResolvers();
  await settle();
  assert.equal(passes, 2);
  gate.resolve();
  await settle();
});

Deno.test("a pass that asks for another before it first waits is not joined by it", async () => {
  const clock = new FakeClock();
  let passes = 0;
  await using rechecks: Rechecks = new Rechecks(
    async () => {
      if (++passes === 1) rechecks.request();
      await Promise.resolve();
      return true;
    },
    1000,
    clock,
  );
  rechecks.request();
  await clock.pass(500);
  assert.equal(passes, 2);
});

Deno.test("its end waits for the pass that is running, and leaves no timer", async () => {
  const clock = new FakeClock();
  const gate = Promise.withResolvers<void>();
  let isOver = false;
  const rechecks = new Rechecks(() => gate.promise.then(() => isOver = true), 1000, clock);
  rechecks.request();
  const end = rechecks[Symbol.asyncDispose]();
  gate.resolve();
  await end;
  assert.equal(isOver, true);
  rechecks.request();
  assert.equal(clock.timers, 0);
  await rechecks[Symbol.asyncDispose]();
});
