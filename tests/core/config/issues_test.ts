import assert from "node:assert/strict";
import { z } from "zod";
import { cidr, duration, hostPort, size } from "../../../core/config/fields.ts";
import { checkValue, issuesOf } from "../../../core/config/issues.ts";

const target = z.union([hostPort(), z.array(hostPort()).min(1)]);
const schema = z.strictObject({
  interval: duration({ min: 10, max: 60_000 }).prefault("5s"),
  buffer: size({ max: 2 ** 20 }).prefault("64KiB"),
  from: z.array(cidr()).max(2).optional(),
  to: target.optional(),
  balance: z.enum(["round-robin", "least-connections"]).default("round-robin"),
  port: z.int().min(1).max(65_535).optional(),
  weight: z.number().gt(0).optional(),
  flag: z.boolean().optional(),
  name: z.string().min(1).max(5).optional(),
  url: z.url().optional(),
  token: z.string().min(3).optional(),
  even: z.number().multipleOf(2).optional(),
  database: z.union([z.literal("embedded"), z.strictObject({ host: z.string(), password: z.string() })])
    .optional(),
  route: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("forward"), target: z.string() }),
    z.strictObject({ kind: z.literal("reject"), reason: z.string() }),
  ]).optional(),
  nested: z.record(z.string(), z.strictObject({ deep: z.string() })).optional(),
  checked: z.string().refine((text) => text !== "bad", { error: "Expected anything but that" }).optional(),
});

const cases: readonly (readonly [value: unknown, ...lines: string[]])[] = [
  [{ interval: "abc" }, 'interval: Expected a duration such as "500ms", "10s", "5m" or "1h", got "abc"'],
  [{ interval: 0 }, "interval: Expected at least 10ms, got 0"],
  [{ interval: "2m" }, 'interval: Expected at most 1m, got "2m"'],
  [
    { interval: { a: 1 } },
    'interval: Expected a duration such as "500ms", "10s", "5m" or "1h", got a mapping',
  ],
  [{ buffer: "2MiB" }, 'buffer: Expected at most 1MiB, got "2MiB"'],
  [{ from: "10.0.0.0/8" }, 'from: Expected a list, got "10.0.0.0/8"'],
  [{ from: [1] }, 'from.0: Expected an address range such as "10.0.0.0/8", got 1'],
  [{ from: ["1.1.1.1", "1.1.1.2", "::1"] }, "from: Expected at most 2 entries, got a list"],
  [{ to: 5 }, 'to: Expected an address such as "10.0.0.5:443" or a list, got 5'],
  [{ to: ["1.1.1.1:80", true] }, 'to.1: Expected an address such as "10.0.0.5:443", got true'],
  [
    { to: "10.0.0.5" },
    'to: "10.0.0.5" is no "host:port": The port is missing, as in "10.0.0.5:5432", "[::1]:443" or "db.internal:5432"',
  ],
  [{ to: [] }, "to: Expected at least 1 entry, got a list"],
  [{ balance: "random" }, 'balance: Expected "round-robin" or "least-connections", got "random"'],
  [{ balance: null }, 'balance: Expected "round-robin" or "least-connections", got nothing'],
  [{ port: 1.5 }, "port: Expected a whole number, got 1.5"],
  [{ port: "80" }, 'port: Expected a number, got "80"'],
  [{ port: 0 }, "port: Expected at least 1, got 0"],
  [{ port: 70_000 }, "port: Expected at most 65535, got 70000"],
  [{ weight: 0 }, "weight: Expected more than 0, got 0"],
  [{ flag: "yes" }, 'flag: Expected true or false, got "yes"'],
  [{ name: "" }, 'name: Expected text that is not empty, got ""'],
  [{ name: "abcdef" }, 'name: Expected at most 5 characters, got "abcdef"'],
  [{ url: "ftp//u:s3cret@x" }, 'url: Expected a URL, got "ftp//u:***@x"'],
  [{ url: "://u:s3cret@x" }, 'url: Expected a URL, got "://u:***@x"'],
  [{ name: "https://u:s3cret@x" }, 'name: Expected at most 5 characters, got "https://u:***@x"'],
  [{ token: 12345 }, "token: Expected text, got a number"],
  [{ token: "ab" }, "token: Expected at least 3 characters, got text"],
  [{ even: 3 }, "even: Expected a multiple of 2, got 3"],
  [{ database: "embeded" }, 'database: Expected "embedded", got "embeded"'],
  [{ database: 5 }, 'database: Expected "embedded" or a mapping, got 5'],
  [{ database: { host: "x", password: 5 } }, "database.password: Expected text, got a number"],
  [
    { database: { hots: "x", password: "s3cret" } },
    "database.host: Required: text",
    'database.hots: Unknown key; did you mean "host"?',
  ],
  [{ route: { kind: "forwrd" } }, 'route.kind: Expected "forward" or "reject", got "forwrd"'],
  [
    { route: { kind: "reject", reason: "x", raeson: "y" } },
    'route.raeson: Unknown key; did you mean "reason"?',
  ],
  [
    { route: { kind: "reject", reason: "x", target: "y" } },
    "route.target: Unknown key; known here: kind, reason",
  ],
  [
    { nested: { a: { deep: "x" }, b: { dep: "x" } } },
    "nested.b.deep: Required: text",
    'nested.b.dep: Unknown key; did you mean "deep"?',
  ],
  [{ checked: "bad" }, "checked: Expected anything but that"],
  [{ constructor: 1 }, "constructor: Unknown key; known here: "],
  ["text", ': Expected a mapping, got "text"'],
];
for (const [value, ...lines] of cases) {
  Deno.test(`checkValue() says what is wrong with ${JSON.stringify(value)}`, () => {
    const checked = checkValue(schema, value);
    assert.equal(checked.ok, false);
    const said = checked.ok ? [] : checked.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    if (lines[0]?.endsWith("known here: ")) assert.ok(said[0]?.startsWith(lines[0]), said[0]);
    else assert.deepEqual(said, lines);
  });
}

Deno.test("checkValue() gives the checked value with defaults", () => {
  const checked = checkValue(schema, { to: ["[::0]:80", "A.example.com:1"], interval: "1s" });
  assert.deepEqual(checked, {
    ok: true,
    value: { interval: 1000, buffer: 65_536, balance: "round-robin", to: ["[::]:80", "a.example.com:1"] },
  });
});

Deno.test("Issues are plain data that a worker can post", () => {
  const checked = checkValue(schema, { nme: 1, database: { host: 1 }, route: {} });
  assert.equal(checked.ok, false);
  if (!checked.ok) assert.deepEqual(structuredClone(checked.issues), checked.issues);
});

Deno.test("issuesOf() needs neither schema nor value", () => {
  const result = schema.safeParse({ port: "x", nme: 1 });
  assert.deepEqual(result.error && issuesOf(result.error), [
    { path: ["port"], message: "Expected a number" },
    { path: ["nme"], message: "Unknown key", unknownKey: true },
  ]);
});

Deno.test("A field of ours tells a missing value from a wrong one, and knows its range of ports", () => {
  const says = (field: z.ZodType, value: unknown) => {
    const checked = checkValue(z.strictObject({ field }), value);
    return checked.ok ? "fine" : checked.issues[0]?.message;
  };
  assert.equal(says(duration(), {}), 'Required: a duration such as "500ms", "10s", "5m" or "1h"');
  assert.match(says(hostPort(), { field: "x:0" }) ?? "", /from 1 to 65535/);
  assert.equal(says(hostPort({ minPort: 0 }), { field: "127.0.0.1:0" }), "fine");
  assert.equal(says(duration(), { field: "597h" }), `Expected at most 2147483647ms, got "597h"`);
});
