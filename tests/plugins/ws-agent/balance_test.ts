import assert from "node:assert/strict";
import { stickyChoice, Turns } from "../../../plugins/ws-agent/balance.ts";

const KEY = "name:app.example.com";

/** Who had how many of `times` turns. */
function count(times: number, next: (i: number) => string | undefined): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const who = next(i) ?? "nobody";
    counts[who] = (counts[who] ?? 0) + 1;
  }
  return counts;
}

Deno.test("turns go around, in whatever order those who take them are named", () => {
  const turns = new Turns();
  const orders = [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]];
  assert.deepEqual(count(9, (i) => turns.next(KEY, orders[i % 3] ?? [])), { a: 3, b: 3, c: 3 });
});

Deno.test("turns at one key are none at another", () => {
  const turns = new Turns();
  const given = [KEY, "port:1", KEY, "port:1"].map((key) => turns.next(key, ["a", "b"]));
  assert.deepEqual(given, ["a", "a", "b", "b"]);
});

Deno.test("whoever comes has the next turn, and whoever goes is skipped", () => {
  const turns = new Turns();
  for (let i = 0; i < 5; i++) turns.next(KEY, ["a", "b"]);
  assert.equal(turns.next(KEY, ["a", "b", "c"]), "c");
  assert.deepEqual(count(4, () => turns.next(KEY, ["b", "c"])), { b: 2, c: 2 });
  assert.equal(turns.next(KEY, []), undefined);
});

Deno.test("who is gone is forgotten, and a key without anybody too", () => {
  const turns = new Turns();
  for (let i = 0; i < 4; i++) turns.next(KEY, ["a", "b"]);
  turns.keep(KEY, new Set(["b"]));
  assert.equal(turns.last(KEY, "a"), 0);
  assert.ok(turns.last(KEY, "b") > 0);
  turns.keep(KEY, new Set());
  turns.keep("port:1", new Set());
  assert.equal(turns.size, 0);
});

const AGENTS = ["token:1/a", "token:1/b", "token:1/c"];
const sources = Array.from({ length: 3000 }, (_, i) => `10.${i >> 8}.${i & 255}.${i % 7}`);

Deno.test("a source has the same agent wherever and in whatever order the agents are named", () => {
  for (const source of sources.slice(0, 200)) {
    assert.equal(stickyChoice(source, AGENTS), stickyChoice(source, AGENTS.toReversed()));
  }
  assert.equal(stickyChoice("192.0.2.1", []), undefined);
});

Deno.test("sources are spread evenly, by differences of one bit too", () => {
  const counts = count(sources.length, (i) => stickyChoice(sources[i] ?? "", AGENTS));
  for (const agent of AGENTS) {
    assert.ok(Math.abs((counts[agent] ?? 0) - 1000) < 150, JSON.stringify(counts));
  }
});

Deno.test("an agent that leaves moves its own sources and no others", () => {
  const [, ...left] = AGENTS;
  for (const source of sources) {
    const before = stickyChoice(source, AGENTS);
    const after = stickyChoice(source, left);
    if (before !== AGENTS[0]) assert.equal(after, before, source);
    else assert.ok(after !== undefined && left.includes(after));
  }
});
