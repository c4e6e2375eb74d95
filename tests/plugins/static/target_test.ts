import assert from "node:assert/strict";
import { affinity, fnv1a, Target } from "../../../plugins/static/target.ts";

const THRESHOLDS = { unhealthyAfter: 2, healthyAfter: 3 };

const cases: { name: string; checks: string; healthy: boolean; changes: number }[] = [
  { name: "no check", checks: "", healthy: true, changes: 0 },
  { name: "one failure", checks: "-", healthy: true, changes: 0 },
  { name: "two failures in a row", checks: "--", healthy: false, changes: 1 },
  { name: "two failures with a success between them", checks: "-+-", healthy: true, changes: 0 },
  { name: "two successes of the three that it takes", checks: "--++", healthy: false, changes: 1 },
  { name: "a failure that interrupts the recovery", checks: "--++-+", healthy: false, changes: 1 },
  { name: "three successes in a row", checks: "--+++", healthy: true, changes: 2 },
  { name: "failures that go on", checks: "-----", healthy: false, changes: 1 },
];
for (const { name, checks, healthy, changes } of cases) {
  Deno.test(`a target is ${healthy ? "healthy" : "unhealthy"} after ${name}`, () => {
    const target = new Target("127.0.0.1:1");
    const changed = [...checks].filter((check) => target.record(check === "+", THRESHOLDS));
    assert.equal(target.healthy, healthy);
    assert.equal(changed.length, changes);
  });
}

Deno.test("a target that nobody checks any more is taken for healthy, and starts counting anew", () => {
  const target = new Target("127.0.0.1:1");
  for (let i = 0; i < 3; i++) target.record(false, THRESHOLDS);
  target.assumeHealthy();
  assert.equal(target.healthy, true);
  assert.equal(target.record(false, THRESHOLDS), false);
});

Deno.test("affinity spreads neighbouring addresses evenly, and differs from target to target", () => {
  const targets = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"].map((name) =>
    new Target(name)
  );
  const won = new Map<Target, number>();
  for (let i = 0; i < 4096; i++) {
    const hash = fnv1a(`192.168.${i >> 8}.${i & 255}`);
    const best = targets.reduce((a, b) => affinity(hash, b) > affinity(hash, a) ? b : a);
    won.set(best, (won.get(best) ?? 0) + 1);
  }
  for (const target of targets) {
    const share = (won.get(target) ?? 0) / 4096;
    assert.ok(share > 0.2 && share < 0.3, `${target.name} has ${share}`);
  }
});
