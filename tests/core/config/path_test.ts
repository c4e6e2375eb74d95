import assert from "node:assert/strict";
import { formatPath, parsePath } from "../../../core/config/path.ts";

Deno.test("formatPath() writes paths as people do, and quotes odd keys", () => {
  assert.equal(formatPath(["plugins", "ws-agent", "routes", 2, "to"]), "plugins.ws-agent.routes[2].to");
  assert.equal(formatPath([]), "");
  assert.equal(formatPath(["a", "b c", "x\ny"]), 'a["b c"]["x\\ny"]');
  assert.equal(formatPath(["k".repeat(5000)]).length < 100, true);
});

const cases: readonly (readonly [string, unknown])[] = [
  ["limits.idleTimeout", ["limits", "idleTimeout"]],
  ["plugins.static.routes[0].to", ["plugins", "static", "routes", 0, "to"]],
  ["plugins.static.routes.0.to", ["plugins", "static", "routes", "0", "to"]],
  ["a[0][1]", ["a", 0, 1]],
  ["", undefined],
  [".a", undefined],
  ["a.", undefined],
  ["a..b", undefined],
  ["[0]", undefined],
  ["a[x]", undefined],
  ["a[-1]", undefined],
  ["a[0", undefined],
  ["a[0]b", undefined],
  ["a[9999999]", undefined],
];
for (const [text, path] of cases) {
  Deno.test(`parsePath() reads "${text}"`, () => assert.deepEqual(parsePath(text), path));
}
