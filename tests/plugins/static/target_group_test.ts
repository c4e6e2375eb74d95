import assert from "node:assert/strict";
import { Target } from "../../../plugins/static/target.ts";
import { type Balance, TargetGroup } from "../../../plugins/static/target_group.ts";
import type { Decision } from "../../../core/plugin/contract.ts";

const ONCE = { unhealthyAfter: 1, healthyAfter: 1 };

function groupOf(names: string, balance: Balance) {
  const targets = [...names].map((name) => new Target(name));
  const group = new TargetGroup(targets, balance, (to) => ({ kind: "forward", to }));
  const mark = (name: string, healthy: boolean) => {
    targets.find((target) => target.name === name)?.record(healthy, ONCE);
    group.healthChanged();
  };
  return { group, targets, mark };
}

/** The targets of a decision in their order, as one word. */
function order(decision: Decision): string {
  assert.equal(decision.kind, "forward");
  assert.ok(decision.kind === "forward");
  return typeof decision.to === "string" ? decision.to : decision.to.join("");
}

function orders(group: TargetGroup, count: number, address = "192.0.2.1"): string[] {
  return Array.from({ length: count }, () => order(group.choose(address).decision));
}

Deno.test("a single target gets the very same decision each time", () => {
  const { group } = groupOf("a", "round-robin");
  const first = group.choose("192.0.2.1");
  assert.deepEqual(first.decision, { kind: "forward", to: ["a"] });
  assert.equal(group.choose("192.0.2.2"), first);
});

Deno.test("round-robin: each takes its turn, the others follow in order", () => {
  const { group } = groupOf("abc", "round-robin");
  assert.deepEqual(orders(group, 4), ["abc", "bca", "cab", "abc"]);
});

Deno.test("round-robin answers with decisions that were made once", () => {
  const { group } = groupOf("ab", "round-robin");
  const first = group.choose("192.0.2.1");
  group.choose("192.0.2.1");
  assert.equal(group.choose("192.0.2.1"), first);
});

Deno.test("an unhealthy target comes last, and first again once it is back", () => {
  const { group, mark } = groupOf("abc", "round-robin");
  mark("b", false);
  assert.deepEqual(orders(group, 3), ["acb", "cab", "acb"]);
  mark("b", true);
  assert.deepEqual(orders(group, 3).toSorted(), ["abc", "bca", "cab"]);
});

for (const balance of ["round-robin", "least-connections", "source-hash"] as const) {
  Deno.test(`${balance}: when all are unhealthy, all are tried as if they were healthy`, () => {
    const { group, targets, mark } = groupOf("abc", balance);
    for (const { name } of targets) mark(name, false);
    const tried = new Set<string>();
    for (let i = 0; i < 60; i++) {
      const to = order(group.choose(`192.0.2.${i}`).decision);
      assert.equal(to.length, 3);
      tried.add(to.charAt(0));
    }
    assert.equal(tried.size, 3);
  });
}

Deno.test("least-connections: the one with the fewest comes first", () => {
  const { group, targets } = groupOf("abc", "least-connections");
  targets.forEach((target, i) => target.connections = [2, 0, 1][i] ?? 0);
  assert.equal(group.choose("192.0.2.1").target.name, "b");
  targets.forEach((target, i) => target.connections = [2, 5, 1][i] ?? 0);
  assert.equal(group.choose("192.0.2.1").target.name, "c");
});

Deno.test("least-connections: equals take turns", () => {
  const { group } = groupOf("abc", "least-connections");
  assert.deepEqual(orders(group, 4).map((to) => to.charAt(0)), ["a", "b", "c", "a"]);
});

Deno.test("least-connections: an unhealthy target is not chosen for being idle", () => {
  const { group, targets, mark } = groupOf("ab", "least-connections");
  targets.forEach((target, i) => target.connections = [9, 0][i] ?? 0);
  mark("b", false);
  assert.equal(order(group.choose("192.0.2.1").decision), "ab");
});

Deno.test("source-hash: a client's address always leads to the same order", () => {
  const { group } = groupOf("abcd", "source-hash");
  const [first, ...rest] = orders(group, 5, "2001:db8::7");
  for (const other of rest) assert.equal(other, first);
});

Deno.test("source-hash: a target that leaves moves only its own clients, and spreads them", () => {
  const { group, mark } = groupOf("abcd", "source-hash");
  const addresses = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const before = addresses.map((address) => group.choose(address).target.name);
  mark("b", false);
  const moved = new Set<string>();
  addresses.forEach((address, i) => {
    const now = group.choose(address).target.name;
    if (before[i] === "b") moved.add(now);
    else assert.equal(now, before[i]);
  });
  assert.deepEqual([...moved].toSorted(), ["a", "c", "d"]);
});

Deno.test("source-hash: the retry after a failed connect is where the client goes without that target", () => {
  const { group, mark } = groupOf("abcd", "source-hash");
  const before = orders(group, 1, "10.1.2.3")[0] ?? "";
  mark(before.charAt(0), false);
  assert.equal(orders(group, 1, "10.1.2.3")[0], before.slice(1) + before.charAt(0));
});
