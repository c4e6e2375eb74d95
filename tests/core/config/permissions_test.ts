import assert from "node:assert/strict";
import fc from "fast-check";
import {
  NO_PERMISSIONS,
  PERMISSION_KINDS,
  type PermissionKind,
  resolvePermissions,
} from "../../../core/config/permissions.ts";

const CONFIG = {
  command: "cloudflared",
  database: { host: "10.0.0.7", port: 5432, name: "10.0.0.7:5432", v6: "::1", v6port: "[::1]:5432" },
  hosts: ["a.example.com", "b.example.com", "a.example.com"],
  ports: [1, 2],
  none: [],
  routes: [{ to: "10.0.0.1:80" }, { to: ["10.0.0.2:80", "10.0.0.3:80"] }],
  files: { ca: "certs/ca.pem", data: "var/data" },
  variable: "PGPASSWORD",
};

const filled: readonly (readonly [PermissionKind, readonly string[], string[] | boolean])[] = [
  ["run", ["{command}"], ["cloudflared"]],
  ["net", ["{database.host}:{database.port}"], ["10.0.0.7:5432"]],
  ["net", ["{database.name}"], ["10.0.0.7:5432"]],
  ["net", ["{database.v6}:{database.port}"], ["[::1]:5432"]],
  ["net", ["{database.v6}"], ["[::1]"]],
  ["net", ["{database.v6port}"], ["[::1]:5432"]],
  ["net", ["127.0.0.1", "{hosts}:443"], ["127.0.0.1", "a.example.com:443", "b.example.com:443"]],
  ["net", ["{database.host}:{ports}"], ["10.0.0.7:1", "10.0.0.7:2"]],
  ["net", ["{routes.to}"], ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]],
  ["net", ["*.{hosts}"], ["*.a.example.com", "*.b.example.com"]],
  ["net", ["{none}"], false],
  ["net", [], false],
  ["read", ["{files.ca}", "{files.data}/x"], ["certs/ca.pem", "var/data/x"]],
  ["env", ["{variable}", "PG*"], ["PGPASSWORD", "PG*"]],
];
for (const [kind, entries, want] of filled) {
  Deno.test(`resolvePermissions() fills ${kind} ${JSON.stringify(entries)}`, () => {
    const { permissions, problems } = resolvePermissions({ [kind]: entries }, CONFIG);
    assert.deepEqual(problems, []);
    assert.deepEqual(permissions, { ...NO_PERMISSIONS, [kind]: want });
  });
}

Deno.test("Every kind is named: a worker inherits what is not", () => {
  const { permissions } = resolvePermissions({}, {});
  assert.deepEqual(Object.keys(permissions).toSorted(), [...PERMISSION_KINDS].toSorted());
  assert.ok(Object.values(permissions).every((granted) => granted === false));
});

Deno.test("All of a kind only where the declaration itself says so", () => {
  const { permissions } = resolvePermissions({ net: true, read: false }, CONFIG);
  assert.deepEqual(permissions, { ...NO_PERMISSIONS, net: true });
});

const TRICK = "A permission can't come from a value with spaces, commas, braces or wildcards, got ";
const attacks: readonly (readonly [
  PermissionKind,
  entry: string,
  config: unknown,
  path: string,
  message: RegExp | string,
])[] = [
  ["net", "{x}", {}, "x", "Required, got nothing"],
  ["net", "{x}", { x: null }, "x", "Required, got nothing"],
  ["net", "{x}", { x: "" }, "x", 'Required, got ""'],
  ["net", "{x}", { x: [""] }, "x.0", 'Required, got ""'],
  ["net", "{x}", { x: true }, "x", "Expected text or a number, got true"],
  ["net", "{x}", { x: {} }, "x", "Expected text or a number, got a mapping"],
  ["net", "{x}", { x: NaN }, "x", "Expected text or a number, got NaN"],
  ["net", "{x}", { x: 1.5 }, "x", "Expected text or a number, got 1.5"],
  ["net", "{x}", { x: "a.example,0.0.0.0" }, "x", `${TRICK}"a.example,0.0.0.0"`],
  ["net", "{x}", { x: "a.example b.example" }, "x", `${TRICK}"a.example b.example"`],
  ["net", "{x}", { x: "a.example\n" }, "x", `${TRICK}"a.example\\n"`],
  ["net", "{x}", { x: "a\u0000b" }, "x", `${TRICK}"a\\u0000b"`],
  ["net", "{x}", { x: "a\u00a0b" }, "x", `${TRICK}"a\u00a0b"`],
  ["net", "{x}", { x: "*" }, "x", `${TRICK}"*"`],
  ["net", "{x}", { x: "*.com" }, "x", `${TRICK}"*.com"`],
  ["net", "{x}", { x: "{y}", y: "z" }, "x", `${TRICK}"{y}"`],
  ["net", "{x}", { x: "0.0.0.0/0" }, "x", /is no "host:port"/],
  ["net", "{x}", { x: "https://a.example" }, "x", /is no "host:port"/],
  ["net", "{x}:443", { x: "evil.example:1" }, "x", /is no "host:port"/],
  ["net", "{x}:443", { x: "evil.example:443@good" }, "x", /is no "host:port"/],
  ["net", "{x}:{y}", { x: "a.example", y: "443-65535" }, "x", /The port is a number/],
  ["net", "{x}:{y}", { x: "a.example", y: 65_536 }, "x", /The port is a number/],
  ["net", "{x}:{y}", { x: "a.example" }, "y", "Required, got nothing"],
  [
    "net",
    "{x}:{y}",
    { x: ["a", "b"], y: [1, 2] },
    "",
    "Only one template of an entry may stand for a list",
  ],
  ["net", "{x}:{y}", { x: [], y: [] }, "", "Only one template of an entry may stand for a list"],
  ["net", "{r.to}", { r: [{ to: "a:1" }, {}] }, "r.1.to", "Required, got nothing"],
  ["net", "{constructor.name}", {}, "constructor.name", "Required, got nothing"],
  ["net", "{__proto__}", {}, "__proto__", "Required, got nothing"],
  ["net", "{toString}", {}, "toString", "Required, got nothing"],
  ["net", "{x.length}", { x: "abc" }, "x.length", "Required, got nothing"],
  ["net", "{x", { x: "a" }, "", 'Malformed template; write "{key}" or "{path.to.key}"'],
  ["net", "{}", { x: "a" }, "", 'Malformed template; write "{key}" or "{path.to.key}"'],
  ["net", "{{x}}", { x: "a" }, "", 'Malformed template; write "{key}" or "{path.to.key}"'],
  ["net", "", {}, "", "An empty permission is not allowed"],
  ["net", "a,b", {}, "", "One permission an entry, without commas or spaces around it"],
  ["import", "{x}", { x: "*" }, "x", `${TRICK}"*"`],
  ["read", "{x}", { x: "/" }, "x", "The root folder can't come from the config"],
  ["read", "{x}", { x: "//." }, "x", "The root folder can't come from the config"],
  ["write", "{x}", { x: `/${"../".repeat(50)}` }, "x", "The root folder can't come from the config"],
  ["read", "{x}", { x: "../".repeat(100) }, "x", "The root folder can't come from the config"],
  ["read", "data/{x}", { x: "../../etc" }, "x", '".." is not allowed here, got "../../etc"'],
  ["write", "data/{x}/y", { x: ".." }, "x", '".." is not allowed here, got ".."'],
  ["env", "{x}", { x: "PG*" }, "x", `${TRICK}"PG*"`],
  ["env", "{x}", { x: "A-B" }, "x", 'Expected the name of a variable, got "A-B"'],
  ["sys", "{x}", { x: "a;b" }, "x", 'Expected the name of a system call, got "a;b"'],
  ["run", "{x}", { x: "sh -c" }, "x", `${TRICK}"sh -c"`],
  ["env", "{token}", { token: "s3cr3t!" }, "token", "Expected the name of a variable, got text"],
];
for (const [kind, entry, config, path, message] of attacks) {
  Deno.test(`A template never widens: ${kind} ${JSON.stringify(entry)} of ${JSON.stringify(config).slice(0, 60)}`, () => {
    const { permissions, problems } = resolvePermissions({ [kind]: [entry], ffi: true }, config);
    assert.deepEqual(permissions, NO_PERMISSIONS, "not even what else was declared");
    assert.equal(problems.length, 1);
    const [problem] = problems;
    assert.equal(problem?.path.join("."), path);
    const said = problem?.message ?? "";
    assert.ok(said.endsWith(` (for permission ${kind} ${JSON.stringify(entry)})`), said);
    if (typeof message === "string") assert.equal(said.split(" (for permission")[0], message);
    else assert.match(said, message);
  });
}

Deno.test("Whatever the config holds, a template grants concrete entries or nothing", () => {
  const kinds = fc.constantFrom(...PERMISSION_KINDS);
  const value = fc.oneof(
    fc.anything(),
    fc.string(),
    fc.array(fc.string()),
    fc.constantFrom("", "*", ",", "/", " "),
  );
  fc.assert(fc.property(kinds, value, fc.constantFrom("{x}", "{x}:1", "a/{x}"), (kind, x, entry) => {
    const { permissions, problems } = resolvePermissions({ [kind]: [entry] }, { x });
    const granted = permissions[kind];
    if (problems.length > 0) assert.deepEqual(permissions, NO_PERMISSIONS);
    if (granted === false) return;
    assert.ok(Array.isArray(granted) && granted.length > 0);
    for (const one of granted) assert.match(one, /^[^\s,*{}]+$/);
  }));
});
