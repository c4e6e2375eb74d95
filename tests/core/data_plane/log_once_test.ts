import assert from "node:assert/strict";
import { LogOnce } from "../../../core/data_plane/log_once.ts";
import { FakeClock } from "./fake_clock.ts";

const MINUTE_MS = 60_000;

Deno.test("one line a minute for each subject", () => {
  using clock = new FakeClock();
  const once = new LogOnce();
  assert.equal(once.may("a"), true);
  assert.equal(once.may("a"), false);
  assert.equal(once.may("b"), true);
  clock.advance(MINUTE_MS - 1);
  assert.equal(once.may("a"), false);
  clock.advance(1);
  assert.equal(once.may("a"), true);
});

Deno.test("asking does not put off the next line", () => {
  using clock = new FakeClock();
  const once = new LogOnce();
  let lines = 0;
  for (let second = 0; second < 600; second++) {
    if (once.may("a")) lines++;
    clock.advance(1000);
  }
  assert.equal(lines, 10);
});

Deno.test("a stranger who invents subjects gets a bounded number of lines, and room again later", () => {
  using clock = new FakeClock();
  const once = new LogOnce();
  let lines = 0;
  for (let i = 0; i < 100_000; i++) if (once.may(`subject ${i}`)) lines++;
  assert.ok(lines > 0 && lines <= 1024, `${lines} lines`);
  clock.advance(MINUTE_MS);
  assert.equal(once.may("somebody else"), true);
});
