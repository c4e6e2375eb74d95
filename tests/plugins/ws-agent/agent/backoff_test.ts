import assert from "node:assert/strict";
import { Backoff, pause } from "../../../../plugins/ws-agent/agent/backoff.ts";
import { SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";

const BOUNDS = { minMs: 500, maxMs: 60_000 };

Deno.test("the bound of the waits doubles up to the longest, and a wait is anything between the shortest and it", () => {
  const longest = new Backoff(BOUNDS, () => 1), shortest = new Backoff(BOUNDS, () => 0);
  assert.deepEqual(Array.from({ length: 9 }, () => longest.next()), [
    1000,
    2000,
    4000,
    8000,
    16_000,
    32_000,
    60_000,
    60_000,
    60_000,
  ]);
  assert.deepEqual(Array.from({ length: 9 }, () => shortest.next()), Array(9).fill(500));
});

Deno.test("a connection that was good makes the next wait a short one", () => {
  const backoff = new Backoff(BOUNDS, () => 1);
  for (let i = 0; i < 1100; i++) backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 1000);
});

Deno.test("Retry-After is never undercut, and not believed for ever", () => {
  const backoff = new Backoff(BOUNDS, () => 0.5);
  assert.equal(backoff.next(10_000), 10_250);
  assert.equal(backoff.next(1), 1250);
  assert.equal(backoff.next(Infinity), 600_250);
});

Deno.test("waits that were mixed up in the config do not grow beyond the longer one", () => {
  assert.equal(new Backoff({ minMs: 500, maxMs: 100 }, () => 1).next(), 500);
});

Deno.test("a pause ends when it is aborted, and leaves no timer", async () => {
  const ending = new AbortController();
  const paused = pause(SYSTEM_CLOCK, 60_000, ending.signal);
  ending.abort();
  await paused;
  await pause(SYSTEM_CLOCK, 60_000, ending.signal);
});
