import assert from "node:assert/strict";
import { editDistance, nearest } from "../../../core/config/nearest.ts";

const KEYS = ["idleTimeout", "drainTimeout", "maxConnections", "maxConnectionsPerSource", "to", "sni"];
const cases: readonly (readonly [string, string | undefined])[] = [
  ["idleTimout", "idleTimeout"],
  ["idletimeout", "idleTimeout"],
  ["idleTimeuot", "idleTimeout"],
  ["maxConnection", "maxConnections"],
  ["ot", "to"],
  ["sin", "sni"],
  ["acme", undefined],
  ["", undefined],
  ["x".repeat(100_000), undefined],
];
for (const [word, want] of cases) {
  Deno.test(`nearest() takes ${word.slice(0, 20) || "nothing"} for ${want}`, () => {
    assert.equal(nearest(word, KEYS), want);
  });
}

Deno.test("editDistance() counts insertions, deletions, replacements and swaps as one each", () => {
  assert.deepEqual(
    [["abc", "abc"], ["abc", "abxc"], ["abc", "ac"], ["abc", "axc"], ["abc", "acb"], ["", "abc"]]
      .map(([a = "", b = ""]) => editDistance(a, b)),
    [0, 1, 1, 1, 1, 3],
  );
});
