import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesGlob } from "../../../../plugins/ws-agent/auth/name_glob.ts";

const CASES: readonly (readonly [pattern: string, name: string, matches: boolean])[] = [
  ["demo", "demo", true],
  ["demo", "demo2", false],
  ["demo", "dem", false],
  ["b-*", "b-1", true],
  ["b-*", "b-", true],
  ["b-*", "b", false],
  ["b-*", "ab-1", false],
  ["*", "", true],
  ["*", "anything", true],
  ["*-prod", "a-prod", true],
  ["*-prod", "a-prod-b", false],
  ["a*b*c", "aXbbYc", true],
  ["a*b*c", "acb", false],
  ["**", "x", true],
  ["", "", true],
  ["", "x", false],
];

for (const [pattern, name, matches] of CASES) {
  Deno.test(`pattern "${pattern}" ${matches ? "matches" : "does not match"} "${name}"`, () => {
    assert.equal(matchesGlob(pattern, name), matches);
  });
}

Deno.test("patterns match what the same regular expression matches", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "-", "*"), maxLength: 12 });
  const name = fc.string({ unit: fc.constantFrom("a", "b", "-"), maxLength: 12 });
  fc.assert(
    fc.property(text, name, (pattern, name) => {
      assert.equal(matchesGlob(pattern, name), new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(name));
    }),
    { numRuns: 3000 },
  );
});

Deno.test("a pattern of many stars costs little", () => {
  const start = performance.now();
  for (let i = 0; i < 100; i++) matchesGlob("*a".repeat(30) + "*b", "a".repeat(63));
  assert.ok(performance.now() - start < 500);
});
