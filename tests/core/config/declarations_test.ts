import assert from "node:assert/strict";
import { readDeclarations } from "../../../core/config/declarations.ts";

const BASE = new URL("file:///srv/gateway/deno.json");

Deno.test("readDeclarations() resolves modules and fills in the confined defaults", () => {
  const declarations = readDeclarations({
    tasks: {},
    plugins: {
      static: { module: "./plugins/static/mod.ts", isolation: "inline", permissions: {} },
      mine: { module: "mine.ts" },
      other: {
        module: "file:///opt/x.ts",
        isolation: "worker",
        permissions: { net: ["{a.b}:{c}"], run: false },
      },
    },
  }, BASE);
  assert.deepEqual(declarations, {
    static: { module: "file:///srv/gateway/plugins/static/mod.ts", isolation: "inline", permissions: {} },
    mine: { module: "file:///srv/gateway/mine.ts", isolation: "worker", permissions: {} },
    other: {
      module: "file:///opt/x.ts",
      isolation: "worker",
      permissions: { net: ["{a.b}:{c}"], run: false },
    },
  });
  assert.deepEqual(readDeclarations({}, BASE), {});
});

const MODULE = 'Expected a local file such as "./plugins/mine/mod.ts", got ';
const cases: readonly (readonly [unknown, string])[] = [
  [[], "Expected a mapping, got a list"],
  [{ plugins: [] }, "plugins: Expected a mapping, got a list"],
  [{ plugins: { a: {} } }, "plugins.a.module: Required: text"],
  [{ plugins: { a: { module: "" } } }, `plugins.a.module: ${MODULE}""`],
  [{ plugins: { a: { module: "npm:x" } } }, `plugins.a.module: ${MODULE}"npm:x"`],
  [{ plugins: { a: { module: "//host/x.ts" } } }, `plugins.a.module: ${MODULE}"//host/x.ts"`],
  [
    { plugins: { a: { module: "data:text/javascript,1" } } },
    `plugins.a.module: ${MODULE}"data:text/javascript,1"`,
  ],
  [
    { plugins: { a: { module: "./a.ts", isolaton: "inline", permissions: { nett: [] } } } },
    'plugins.a.permissions.nett: Unknown key; did you mean "net"?; ' +
    'plugins.a.isolaton: Unknown key; did you mean "isolation"?',
  ],
  [
    { plugins: { a: { module: "./a.ts", permissions: { net: ["{x"], read: [5], run: "sh" } } } },
    'plugins.a.permissions.net[0]: Malformed template; write "{key}" or "{path.to.key}"; ' +
    "plugins.a.permissions.read[0]: Expected text, got 5; " +
    'plugins.a.permissions.run: Expected true or false or a list, got "sh"',
  ],
];
for (const [denoJson, message] of cases) {
  Deno.test(`readDeclarations() refuses ${JSON.stringify(denoJson)}`, () => {
    assert.throws(() => readDeclarations(denoJson, BASE), {
      name: "GatewayError",
      code: "config-invalid",
      message: `deno.json: ${message}`,
    });
  });
}
