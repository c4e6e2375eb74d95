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
    hostname: "{sni:raw}.tunnels.example.com",
    idleTimeout: 0,
    startupTimeout: "1m",
    ports: 7000,
    restart: { backoff: "1s", max: 0 },
    serviceToken: { id: "1.access", secret: "abc" },
  };
  assert.deepEqual(parse(section), {
    command: "/opt/cloudflared",
    names: ["*", "db.example.com"],
    hostname: "{sni:raw}.tunnels.example.com",
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
    const checked = checkValue(cloudflaredConfig, { names: ["*.example.com"], [key]: value });
    assert.ok(!checked.ok);
    assert.match(checked.issues.map((issue) => issue.message).join("; "), message);
    assert.ok(checked.issues.every(({ path }) => path[0] === key), JSON.stringify(checked.issues));
  });
}

const token = { id: "planted-id", secret: "planted-secret" };
const shown: readonly [names: string[], hostname: string, refused: boolean][] = [
  [["*"], "cft-{sni}", true],
  [["*.example.com", "*"], "{sni:raw}", true],
  [["*.com"], "cft-{sni}", true],
  [["*"], "{sni:raw}.com", true],
  [["*"], "https://{sni}:8443", true],
  [["*"], "{sni:raw}.tunnels.{sni}", true],
  [["*"], "{sni:raw}.tunnels.example.com", false],
  [["*"], "https://cft-{sni}.example.com:8443", false],
  [["*"], "tunnel.example.com", false],
  [["*"], "https://127.0.0.1:8443", false],
  [["*.ratio1.link", "db.example.com"], "cft-{sni}", false],
];

for (const [names, hostname, refused] of shown) {
  Deno.test(`names ${names} and hostname ${hostname} ${refused ? "would" : "don't"} give the token away`, () => {
    const section = { names, hostname };
    const checked = checkValue(cloudflaredConfig, { ...section, serviceToken: token });
    assert.equal(checked.ok, !refused);
    if (!checked.ok) {
      assert.deepEqual(checked.issues.map(({ path }) => path), [["names", names.length - 1]]);
      assert.doesNotMatch(JSON.stringify(checked.issues), /planted/);
    }
    assert.ok(checkValue(cloudflaredConfig, section).ok, "without a token there is nothing to give away");
  });
}

Deno.test("a section without names is refused: it would take nothing", () => {
  assert.equal(checkValue(cloudflaredConfig, {}).ok, false);
});
