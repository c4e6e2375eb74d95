import assert from "node:assert/strict";
import {
  formatPrivateService,
  isShared,
  ownerOf,
  parsePrivateService,
  privateKey,
} from "../../../plugins/ws-agent/private_name.ts";

const OWNERS: readonly (readonly [principal: string, owner: string])[] = [
  ["token:alice", "alice"],
  ["token:jwt", "jwt"],
  ["jwt:https%3A%2F%2Fid.example:a%2Fb", "jwt:https%3A%2F%2Fid.example:a%2Fb"],
  ["jwt::", "jwt::"],
  ["controller:shop/1 \u{1f600}*", "controller:shop%2F1%20%F0%9F%98%80*"],
  ["controller:token:alice", "controller:token%3Aalice"],
];

for (const [principal, owner] of OWNERS) {
  Deno.test(`${principal} owns what begins with ${owner}/`, () => {
    assert.equal(ownerOf(principal), owner);
    assert.deepEqual(parsePrivateService(`${owner}/db`, "self"), { owner, name: "db" });
    assert.equal(privateKey({ owner, name: "db" }), `private:${owner}/db`);
  });
}

Deno.test("no two parties have one owner", () => {
  assert.equal(new Set(OWNERS.map(([principal]) => ownerOf(principal))).size, OWNERS.length);
});

Deno.test("a name alone is one of one's own", () => {
  assert.deepEqual(parsePrivateService("db", "alice"), { owner: "alice", name: "db" });
  assert.equal(formatPrivateService({ owner: "alice", name: "db" }), "alice/db");
});

for (
  const text of [
    "",
    "/",
    "/db",
    "alice/",
    "a/b/c",
    "alice/d b",
    "a b/db",
    "a\n/db",
    "\u{1f600}/db",
    "a".repeat(254) + "/b",
  ]
) {
  Deno.test(`${JSON.stringify(text.slice(0, 20))} is no private service`, () => {
    assert.equal(parsePrivateService(text, "alice"), undefined);
  });
}

Deno.test("JWTs without a subject are not one party", () => {
  assert.deepEqual(["jwt::", "jwt:issuer:", "jwt::bob", "jwt:a:b", "token:a"].map(isShared), [
    true,
    true,
    false,
    false,
    false,
  ]);
});
