import assert from "node:assert/strict";
import fc from "fast-check";
import {
  canonicalName,
  canonicalNameFromBytes,
  canonicalNameFromConfig,
  NameTable,
  parseNamePattern,
} from "../../core/names.ts";
import { GatewayError } from "../../core/errors.ts";

const LONG_LABEL = "a".repeat(63);
const NAME_OF_253 = `${`${LONG_LABEL}.`.repeat(3)}${"b".repeat(61)}`;

const NAMES: readonly [raw: string, canonical: string | undefined][] = [
  ["db.example.com", "db.example.com"],
  ["DB.Example.COM", "db.example.com"],
  ["db.example.com.", "db.example.com"],
  ["localhost", "localhost"],
  ["_acme-challenge.example.com", "_acme-challenge.example.com"],
  ["xn--bcher-kva.example", "xn--bcher-kva.example"],
  ["r3---sn-4g5e6.example.com", "r3---sn-4g5e6.example.com"],
  ["1.2.3.example", "1.2.3.example"],
  ["1a", "1a"],
  ["0xg.example.0xg", "0xg.example.0xg"],
  [`${LONG_LABEL}.com`, `${LONG_LABEL}.com`],
  [NAME_OF_253, NAME_OF_253],
  [`${NAME_OF_253}.`, NAME_OF_253],
  ["", undefined],
  [".", undefined],
  ["..", undefined],
  [".example.com", undefined],
  ["example..com", undefined],
  ["example.com..", undefined],
  ["example.com\0", undefined],
  ["example.com\0.evil.com", undefined],
  ["exa mple.com", undefined],
  [" example.com", undefined],
  ["example.com\n", undefined],
  ["example.com:443", undefined],
  ["example.com/x", undefined],
  ["*.example.com", undefined],
  ["*", undefined],
  ["user@example.com", undefined],
  ["ex%61mple.com", undefined],
  ["bücher.example", undefined],
  ["\u212aube.example", undefined], // KELVIN SIGN folds to k
  ["example\u3002com", undefined], // ideographic full stop
  ["-a.example.com", undefined],
  ["a-.example.com", undefined],
  ["a.example.-com", undefined],
  ["a.example.com-", undefined],
  [`a${LONG_LABEL}.com`, undefined],
  [`${NAME_OF_253}b`, undefined],
  [`${NAME_OF_253}b.`, undefined],
  ["1.2.3.4", undefined],
  ["1.2.3.4.", undefined],
  ["127.1", undefined],
  ["2130706433", undefined],
  ["0x7f.1", undefined],
  ["a.0x7F", undefined],
  ["a.0x", undefined],
  ["example.1", undefined],
  ["::1", undefined],
  ["[::1]", undefined],
];

for (const [raw, canonical] of NAMES) {
  Deno.test(`canonicalName() of ${JSON.stringify(raw)} is ${canonical ?? "none"}`, () => {
    assert.equal(canonicalName(raw), canonical);
  });
}

Deno.test("canonicalNameFromBytes() agrees with canonicalName() where every byte is a character", () => {
  for (const [raw, canonical] of NAMES) {
    if (/[^\0-\xff]/.test(raw)) continue;
    assert.equal(canonicalNameFromBytes(Uint8Array.from(raw, (c) => c.charCodeAt(0))), canonical, raw);
  }
});

Deno.test("canonicalNameFromBytes() refuses UTF-8, even of a name that a config may hold", () => {
  const utf8 = new TextEncoder().encode("bücher.example");
  assert.equal(canonicalNameFromBytes(utf8), undefined);
});

Deno.test("canonicalNameFromBytes() refuses a megabyte without trying to make a string of it", () => {
  assert.equal(canonicalNameFromBytes(new Uint8Array(1 << 20).fill(0x61)), undefined);
});

Deno.test("canonicalName() is idempotent, and blind to case and one final dot", () => {
  const label = fc.stringMatching(/^[a-z_]([a-z0-9_-]{0,20}[a-z0-9_])?$/);
  fc.assert(fc.property(fc.array(label, { minLength: 1, maxLength: 5 }), (labels) => {
    const name = labels.join(".");
    assert.equal(canonicalName(name), name);
    assert.equal(canonicalName(name.toUpperCase()), name);
    assert.equal(canonicalName(`${name}.`), name);
  }));
});

for (
  const [raw, canonical] of [
    ["bücher.example", "xn--bcher-kva.example"],
    ["BÜCHER.example.", "xn--bcher-kva.example"],
    ["faß.de", "xn--fa-hia.de"],
    ["db.example.com", "db.example.com"],
    ["ü..com", undefined],
    ["ex%2eample.ü", undefined],
    ["ü/com", undefined],
    ["ü com", undefined],
    ["ü.1", undefined],
    ["xn--iñvalid.com", undefined],
  ] as const
) {
  Deno.test(`canonicalNameFromConfig() of "${raw}" is ${canonical ?? "none"}`, () => {
    assert.equal(canonicalNameFromConfig(raw), canonical);
  });
}

for (
  const [pattern, name, expected] of [
    ["db.example.com", "db.example.com", true],
    ["DB.example.com.", "db.example.com", true],
    ["db.example.com", "xdb.example.com", false],
    ["*.example.com", "db.example.com", true],
    ["*.Example.com", "db.example.com", true],
    ["*.example.com", "example.com", false],
    ["*.example.com", "a.b.example.com", false],
    ["*.example.com", "dbexample.com", false],
    ["*.localhost", "demo.localhost", true],
    ["*", "db.example.com", true],
    ["*", "localhost", true],
    ["*.bücher.example", "a.xn--bcher-kva.example", true],
  ] as const
) {
  Deno.test(`the pattern ${pattern} ${expected ? "matches" : "does not match"} ${name}`, () => {
    const parsed = parseNamePattern(pattern);
    assert.equal(parsed.matches(name), expected);
    const table = new NameTable<string>();
    table.add(parsed, "found");
    assert.equal(table.lookup(name), expected ? "found" : undefined);
  });
}

for (
  const raw of [
    "",
    "*.",
    "**",
    "*.*.example.com",
    "a.*.example.com",
    "*example.com",
    "a*.example.com",
    "10.0.0.1",
    "*.1",
  ]
) {
  Deno.test(`parseNamePattern() refuses ${JSON.stringify(raw)} and says so`, () => {
    assert.throws(
      () => parseNamePattern(raw),
      (error) =>
        error instanceof GatewayError && error.code === "config-invalid" &&
        error.message.includes(JSON.stringify(raw)),
    );
  });
}

Deno.test("a table prefers the exact name, then the wildcard of its parent, then the star", () => {
  const table = new NameTable<string>();
  for (const text of ["*", "*.example.com", "db.example.com"]) table.add(parseNamePattern(text), text);
  assert.equal(table.lookup("db.example.com"), "db.example.com");
  assert.equal(table.lookup("web.example.com"), "*.example.com");
  assert.equal(table.lookup("a.web.example.com"), "*");
  assert.equal(table.lookup("example.com"), "*");
  assert.equal(table.size, 3);
  assert.equal(table.delete(parseNamePattern("DB.example.com")), true);
  assert.equal(table.lookup("db.example.com"), "*.example.com");
});

Deno.test("a table refuses the same pattern written in another way", () => {
  const table = new NameTable<number>();
  table.add(parseNamePattern("db.example.com"), 1);
  table.add(parseNamePattern("*.bücher.example"), 2);
  for (const raw of ["DB.Example.com.", "*.xn--BCHER-kva.example"]) {
    assert.throws(() => table.add(parseNamePattern(raw), 3), {
      name: "GatewayError",
      code: "config-invalid",
    });
  }
  assert.equal(table.lookup("db.example.com"), 1);
});
