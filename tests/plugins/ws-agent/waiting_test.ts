import assert from "node:assert/strict";
import { Waiting } from "../../../plugins/ws-agent/waiting.ts";
import { TestClock } from "./auth/harness.ts";

const NEVER = new AbortController().signal;

Deno.test("who waits is woken by a change behind its own key, and no other", async () => {
  const clock = new TestClock("still");
  const waiting = new Waiting(clock);
  const [a, b] = [waiting.begin("a", 1000, NEVER).end, waiting.begin("b", 1000, NEVER).end];
  waiting.wake("a");
  assert.equal(await a, "changed");
  assert.equal(waiting.size, 1);
  clock.advance(1000);
  assert.equal(await b, "late");
  assert.equal(waiting.size, 0);
  assert.equal(clock.timers, 0);
});

Deno.test("who leaves waits no longer, and keeps no timer", async () => {
  const clock = new TestClock("still");
  const waiting = new Waiting(clock);
  const controller = new AbortController();
  const pending = waiting.begin("a", 1000, controller.signal).end;
  controller.abort();
  assert.equal(await pending, "aborted");
  assert.equal(await waiting.begin("a", 1000, controller.signal).end, "aborted");
  assert.equal(waiting.size, 0);
  assert.equal(clock.timers, 0);
});

Deno.test("no more wait than may, and none whose time is over", async () => {
  const waiting = new Waiting(new TestClock("still"), 2);
  const pending = [waiting.begin("a", 1000, NEVER).end, waiting.begin("b", 1000, NEVER).end];
  assert.equal(await waiting.begin("c", 1000, NEVER).end, "full");
  assert.equal(await waiting.begin("c", 0, NEVER).end, "late");
  waiting.endAll();
  assert.deepEqual(await Promise.all(pending), ["aborted", "aborted"]);
  assert.equal(waiting.size, 0);
});

Deno.test("the clients of one agent that is lost leave room for those of others", async () => {
  const waiting = new Waiting(new TestClock("still"), 10, 2);
  const pending = ["a", "a", "b"].map((key) => waiting.begin(key, 1000, NEVER).end);
  assert.equal(await waiting.begin("a", 1000, NEVER).end, "full");
  pending.push(waiting.begin("b", 1000, NEVER).end);
  waiting.wake("a");
  pending.push(waiting.begin("a", 1000, NEVER).end);
  assert.equal(waiting.size, 3);
  waiting.endAll();
  assert.deepEqual(await Promise.all(pending), ["changed", "changed", "aborted", "aborted", "aborted"]);
});

Deno.test("whoever is woken and waits again is not woken by the same change", async () => {
  const waiting = new Waiting(new TestClock("still"));
  let woken = 0;
  const pending = waiting.begin("a", 1000, NEVER).end.then(() => {
    woken++;
    return waiting.begin("a", 1000, NEVER).end;
  });
  waiting.wake("a");
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(woken, 1);
  waiting.endAll();
  assert.equal(await pending, "aborted");
});
