import assert from "node:assert/strict";
import { IdentityFault, type IdentityFaultCode } from "../../../plugins/mtls-postgres/identity.ts";
import { isTrustDomain, parseSpiffeId } from "../../../plugins/mtls-postgres/spiffe.ts";
import { latin1 } from "../../support/der.ts";

const LONG_DOMAIN = "d".repeat(255);
const PATH_OF_2048 = `spiffe://a/${"p".repeat(2048 - 11)}`;

const good: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "spiffe://tinyscale.com/orgs/org-1/users/alice",
    "tinyscale.com",
    ["orgs", "org-1", "users", "alice"],
  ],
  ["spiffe://a/b", "a", ["b"]],
  ["spiffe://tinyscale.com", "tinyscale.com", []],
  ["spiffe://a_b-c.d.0/Org_1.x-Y/..a/...", "a_b-c.d.0", ["Org_1.x-Y", "..a", "..."]],
  ["spiffe://10.0.0.1/x", "10.0.0.1", ["x"]],
  [`spiffe://${LONG_DOMAIN}/x`, LONG_DOMAIN, ["x"]],
  [PATH_OF_2048, "a", [PATH_OF_2048.slice(11)]],
];

for (const [text, trustDomain, path] of good) {
  Deno.test(`parseSpiffeId() reads ${text.slice(0, 60)}`, () => {
    assert.deepEqual(parseSpiffeId(latin1(text)), { text, trustDomain, path });
  });
}

const bad: readonly (readonly [string, IdentityFaultCode])[] = [
  ["", "no_spiffe_id"],
  ["spiffe", "no_spiffe_id"],
  ["https://tinyscale.com/orgs/a/users/b", "no_spiffe_id"],
  [" spiffe://tinyscale.com/a", "no_spiffe_id"],
  ["urn:spiffe://tinyscale.com/a", "no_spiffe_id"],
  ["spiffe:", "malformed_spiffe_id"],
  ["spiffe:/a/b", "malformed_spiffe_id"],
  ["spiffe:a", "malformed_spiffe_id"],
  ["SPIFFE://tinyscale.com/a", "malformed_spiffe_id"],
  ["Spiffe://tinyscale.com/a", "malformed_spiffe_id"],
  ["spiffe://", "malformed_spiffe_id"],
  ["spiffe:///orgs/a", "malformed_spiffe_id"],
  ["spiffe://Tinyscale.com/a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com:443/a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com:/a", "malformed_spiffe_id"],
  ["spiffe://user@tinyscale.com/a", "malformed_spiffe_id"],
  ["spiffe://@tinyscale.com/a", "malformed_spiffe_id"],
  ["spiffe://tinyscale%2ecom/a", "malformed_spiffe_id"],
  ["spiffe://[::1]/a", "malformed_spiffe_id"],
  [`spiffe://${LONG_DOMAIN}d/x`, "malformed_spiffe_id"],
  [`${PATH_OF_2048}p`, "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a/", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com//a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a//b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a/./b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a/../b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/..", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a%2fb", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a%61", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a?b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a?", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a#b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com?a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com#a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com\\a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a\\b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a\0", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com\0.evil.example/a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a\n", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com\n/a", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a b", "malformed_spiffe_id"],
  ['spiffe://tinyscale.com/a"', "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a'", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a,URI:spiffe://tinyscale.com/b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a+b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a~b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a:b", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/a\x7f", "malformed_spiffe_id"],
  ["spiffe://tinyscale.com/\xc3\xa9", "malformed_spiffe_id"],
  ["spiffe://t\xefnyscale.com/a", "malformed_spiffe_id"],
];

for (const [text, code] of bad) {
  Deno.test(`parseSpiffeId() refuses ${JSON.stringify(text.slice(0, 60))}: ${code}`, () => {
    assert.throws(
      () => parseSpiffeId(latin1(text)),
      (error) => error instanceof IdentityFault && error.code === code,
    );
  });
}

Deno.test("parseSpiffeId() tells nothing of what the client wrote", () => {
  const planted = "spiffe://tinyscale.com/secret\n[FAKE LOG LINE]";
  assert.throws(() => parseSpiffeId(latin1(planted)), (error: Error) => !/secret|FAKE/.test(error.message));
});

Deno.test("isTrustDomain() takes what can stand in a SPIFFE ID, and nothing else", () => {
  for (const name of ["tinyscale.com", "a", "10.0.0.1", "a_b"]) assert.equal(isTrustDomain(name), true, name);
  for (const name of ["", "Tinyscale.com", "a/b", "a:1", "a\n", "spiffe://a", "é", "d".repeat(256)]) {
    assert.equal(isTrustDomain(name), false, JSON.stringify(name));
  }
});
