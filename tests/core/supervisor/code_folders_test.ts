import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { codeFolders, foldersToSeal } from "../../../core/supervisor/code_folders.ts";

const core = fileURLToPath(new URL("../../../core", import.meta.url));

Deno.test("codeFolders() names the core and each module's own folder, once, and nothing around them", () => {
  assert.deepEqual(codeFolders(), [core]);
  assert.deepEqual(
    codeFolders("file:///opt/mine/mod.ts", "file:///opt/mine/other.ts", "file:///opt/a%20b/mod.ts"),
    [
      core,
      "/opt/mine",
      "/opt/a b",
    ],
  );
});

/** What a worker that loads code from /code and /plugin gives up again. */
const cases: [string, string[] | boolean, string[]][] = [
  ["nothing granted", false, ["/code", "/plugin"]],
  ["everything granted", true, []],
  ["another folder granted", ["/data"], ["/code", "/plugin"]],
  ["a folder of a like name granted", ["/plug", "/plugin2"], ["/code", "/plugin"]],
  ["one of them granted", ["/plugin"], ["/code"]],
  ["one of them granted, with a slash", ["/plugin/"], ["/code"]],
  ["the folder around all granted", ["/"], []],
  ["a file within one granted", ["/plugin/data.json"], ["/code", "/plugin"]],
];

for (const [what, granted, sealed] of cases) {
  Deno.test(`foldersToSeal() with ${what}: ${sealed.join(", ") || "none"}`, () => {
    assert.deepEqual(foldersToSeal(["/code", "/plugin"], granted), sealed);
  });
}
