import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { FAILURE_WINDOW_MS, MAX_FAILURES, MAX_SOURCES, TokenGate } from "../../../core/admin/token_gate.ts";

const TOKEN = "correct-horse-battery-staple";
const RIGHT = `Bearer ${TOKEN}`;

const CASES: readonly { authorization: string | undefined; verdict: string }[] = [
  { authorization: RIGHT, verdict: "ok" },
  { authorization: `bearer ${TOKEN}`, verdict: "ok" }, // the scheme is case-insensitive: RFC 9110 §11.1
  { authorization: `Bearer  ${TOKEN} `, verdict: "ok" },
  { authorization: undefined, verdict: "missing" },
  { authorization: "", verdict: "missing" },
  { authorization: "Bearer", verdict: "missing" },
  { authorization: "Bearer ", verdict: "missing" },
  { authorization: TOKEN, verdict: "missing" },
  { authorization: `Basic ${btoa(`admin:${TOKEN}`)}`, verdict: "missing" },
  { authorization: `Bearer ${TOKEN} ${TOKEN}`, verdict: "missing" },
  { authorization: `Bearer ${TOKEN},Bearer`, verdict: "wrong" },
  { authorization: `Bearer ${TOKEN.toUpperCase()}`, verdict: "wrong" },
  { authorization: `Bearer ${TOKEN.slice(0, -1)}`, verdict: "wrong" },
  { authorization: `Bearer ${TOKEN}x`, verdict: "wrong" },
  { authorization: `Bearer ${TOKEN}\0`, verdict: "wrong" },
  { authorization: `Bearer ${createHash("sha256").update(TOKEN).digest("hex")}`, verdict: "wrong" },
];
for (const { authorization, verdict } of CASES) {
  Deno.test(`a token gate answers ${verdict} to ${JSON.stringify(authorization)}`, () => {
    assert.equal(new TokenGate(TOKEN).check(authorization, "192.0.2.1"), verdict);
  });
}

Deno.test("a token gate without a token lets everybody pass", () => {
  assert.equal(new TokenGate().check(undefined, "192.0.2.1"), "ok");
});

Deno.test("a token gate compares digests of one length, in constant time, whatever is sent", () => {
  const compared: number[][] = [];
  const gate = new TokenGate(TOKEN, {
    equal(a, b) {
      compared.push([a.length, b.length]);
      return false;
    },
  });
  const sent = ["x", TOKEN.slice(0, 5), TOKEN, "y".repeat(10_000)];
  for (const token of sent) assert.equal(gate.check(`Bearer ${token}`, "192.0.2.1"), "wrong");
  assert.deepEqual(compared, sent.map(() => [32, 32]));
});

Deno.test("an address that sends wrong tokens is refused for a while, with the right one too", () => {
  let now = 0;
  const gate = new TokenGate(TOKEN, { now: () => now });
  for (let i = 0; i < MAX_FAILURES; i++) assert.equal(gate.check("Bearer guess", "192.0.2.1"), "wrong");
  assert.equal(gate.check(RIGHT, "192.0.2.1"), "blocked");
  assert.equal(gate.check(RIGHT, "192.0.2.2"), "ok");
  now = FAILURE_WINDOW_MS - 1;
  assert.equal(gate.check(RIGHT, "192.0.2.1"), "blocked");
  now = FAILURE_WINDOW_MS;
  assert.equal(gate.check(RIGHT, "192.0.2.1"), "ok");
});

const SOURCES: readonly { failing: string; asking: string; verdict: string }[] = [
  { failing: "2001:db8:1:2::1", asking: "2001:db8:1:2:ffff::9", verdict: "blocked" },
  { failing: "2001:db8:1:2::1", asking: "2001:db8:1:3::1", verdict: "ok" },
  { failing: "fe80::1%eth0", asking: "fe80::2%eth1", verdict: "blocked" },
  { failing: "::ffff:192.0.2.1", asking: "192.0.2.1", verdict: "blocked" },
  { failing: "::ffff:192.0.2.1", asking: "::ffff:192.0.2.2", verdict: "ok" },
];
for (const { failing, asking, verdict } of SOURCES) {
  Deno.test(`after too many wrong tokens from ${failing}, one from ${asking} is ${verdict}`, () => {
    const gate = new TokenGate(TOKEN);
    for (let i = 0; i < MAX_FAILURES; i++) gate.check("Bearer guess", failing);
    assert.equal(gate.check(RIGHT, asking), verdict);
  });
}

Deno.test("asking without a token blocks nobody: a browser does that", () => {
  const gate = new TokenGate(TOKEN);
  for (let i = 0; i < 100; i++) assert.equal(gate.check(undefined, "192.0.2.1"), "missing");
  assert.equal(gate.check(RIGHT, "192.0.2.1"), "ok");
});

Deno.test("a token gate remembers a bounded number of addresses, the latest", () => {
  const gate = new TokenGate(TOKEN);
  const fail = (source: string) => gate.check("Bearer guess", source);
  for (let i = 0; i < 5 * MAX_SOURCES; i++) fail(`2001:db8:0:${i.toString(16)}::1`);
  assert.equal(gate.remembered, MAX_SOURCES);
  for (let i = 0; i < MAX_FAILURES; i++) fail("192.0.2.1");
  assert.equal(gate.check(RIGHT, "192.0.2.1"), "blocked");
});

Deno.test("a token gate counts what it refuses, by reason", () => {
  const gate = new TokenGate(TOKEN);
  gate.check(undefined, "192.0.2.1");
  for (let i = 0; i < MAX_FAILURES + 2; i++) gate.check("Bearer guess", "192.0.2.1");
  const counted = gate.samples().map(({ labels, value }) => [labels.reason, value]);
  assert.deepEqual(counted, [["missing_token", 1], ["wrong_token", MAX_FAILURES], ["blocked_token", 2]]);
});
