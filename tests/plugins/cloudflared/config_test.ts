import assert from "node:assert/strict";
import { checkValue } from "../../../core/config/issues.ts";
import { cloudflaredConfig } from "../../../plugins/cloudflared/config.ts";
import { parse } from "./harness.ts";

Deno.test("a section with names alone has the defaults of the documentation", () => {
  assert.deepEqual(parse({ names: ["*.ratio1.link"] }), {
    command: "cloudflared",
    names: ["*.ratio1.link"],
    hostname: "cft-{sni}",
    idleTimeoutMs: 300_000,
    startupTimeoutMs: 15_000,
    ports: { first: 45_000, last: 46_000 },
    restart: { backoffMs: 2000, max: 3 },
  });
});

Deno.test("every key is read", () => {
  const section = {
    command: "/opt/cloudflared",
    names: ["*", "DB.example.com."],
    hostname: "{sni:raw}",
    idleTimeout: 0,
    startupTimeout: "1m",
    ports: 7000,
    restart: { backoff: "1s", max: 0 },
    serviceToken: { id: "1.access", secret: "abc" },
  };
  assert.deepEqual(parse(section), {
    command: "/opt/cloudflared",
    names: ["*", "db.example.com"],
    hostname: "{sni:raw}",
    idleTimeoutMs: 0,
    startupTimeoutMs: 60_000,
    ports: { first: 7000, last: 7000 },
    restart: { backoffMs: 1000, max: 0 },
    serviceToken: { id: "1.access", secret: "abc" },
  });
});

const wrong: readonly [key: string, value: unknown, message: RegExp][] = [
  ["command", "", /Expected a program/],
  ["command", "./cloudflared", /full path/],
  ["names", [], /at least one name/],
  ["names", ["a.example.com", "A.example.com."], /given twice/],
  ["names", ["*.*.com"], /no name to match/],
  ["hostname", "cft-{host}", /makes no host name/],
  ["ports", "46000-45000", /Expected ports/],
  ["ports", "0-10", /Expected ports/],
  ["ports", "45000-70000", /Expected ports/],
  ["ports", "45000:46000", /Expected ports/],
  ["startupTimeout", "10ms", /at least/],
  ["restart", { max: -1 }, /./],
  ["restart", { tries: 3 }, /./],
  ["serviceToken", { id: "1.access" }, /./],
  ["serviceToken", { id: "1.access", secret: "" }, /printable/],
  ["serviceToken", { id: "1.access", secret: "two\nlines" }, /printable/],
];

for (const [key, value, message] of wrong) {
  Deno.test(`refused: ${key}: ${JSON.stringify(value)}`, () => {
    const checked = checkValue(cloudflaredConfig, { names: ["*"], [key]: value });
    assert.ok(!checked.ok);
    assert.match(checked.issues.map((issue) => issue.message).join("; "), message);
    assert.ok(checked.issues.every(({ path }) => path[0] === key), JSON.stringify(checked.issues));
  });
}

Deno.test("a section without names is refused: it would take nothing", () => {
  assert.equal(checkValue(cloudflaredConfig, {}).ok, false);
});
