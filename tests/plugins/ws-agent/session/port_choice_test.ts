import assert from "node:assert/strict";
import { portsToTry } from "../../../../plugins/ws-agent/session/port_choice.ts";

const RANGE = { first: 30_000, last: 30_009 };

Deno.test("every port of a small range is tried once, in an order that follows from who asks", () => {
  const tried = [...portsToTry("alice/ssh", RANGE, undefined)];
  assert.deepEqual(tried.toSorted(), Array.from({ length: 10 }, (_, i) => 30_000 + i));
  assert.deepEqual([...portsToTry("alice/ssh", RANGE, undefined)], tried);
  const firsts = new Set(
    Array.from({ length: 100 }, (_, i) => [...portsToTry(`alice/${i}`, RANGE, undefined)][0]),
  );
  assert.ok(firsts.size > 5, `all begin with one of ${firsts.size}`);
});

Deno.test("only ports that the token allows and the gateway has", () => {
  const allowed = [{ first: 29_990, last: 30_001 }, { first: 30_005, last: 30_005 }, { first: 1, last: 2 }];
  assert.deepEqual([...portsToTry("a", RANGE, allowed)].toSorted(), [30_000, 30_001, 30_005]);
  assert.deepEqual([...portsToTry("a", RANGE, [])], []);
  assert.deepEqual([...portsToTry("a", RANGE, [{ first: 1, last: 2 }])], []);
});

Deno.test("a large range that is nearly full is not searched for ever", () => {
  assert.equal([...portsToTry("a", { first: 1, last: 65_535 }, undefined)].length, 4096);
});
