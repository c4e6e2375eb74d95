import assert from "node:assert/strict";
import { IdentityFault } from "../../plugins/mtls-postgres/identity.ts";
import { isTrustDomain, parseSpiffeId } from "../../plugins/mtls-postgres/spiffe.ts";
import { fuzz } from "./fuzz.ts";

const encoder = new TextEncoder();
const SEEDS = [
  "spiffe://tinyscale.com/orgs/org-1/users/alice",
  "spiffe://a_b.c-d.0/Org.1/..x",
  "spiffe://tinyscale.com",
  "SPIFFE://tinyscale.com:443/orgs/%61/?x#y",
  `spiffe://${"d".repeat(255)}/${"p".repeat(400)}`,
].map((text) => encoder.encode(text));

fuzz("SPIFFE IDs", () => SEEDS, (input) => {
  try {
    const { text, trustDomain, path } = parseSpiffeId(input);
    assert.equal(text, ["spiffe:/", trustDomain, ...path].join("/"), "the parts are the whole");
    assert.deepEqual(encoder.encode(text), new Uint8Array(input), "nothing is converted");
    assert.equal(isTrustDomain(trustDomain), true);
    assert.ok(path.every((segment) => /^[\w.-]+$/.test(segment) && segment !== "." && segment !== ".."));
    assert.equal(new URL(text).href, text, "what others read is the same");
  } catch (error) {
    if (!(error instanceof IdentityFault)) throw error;
  }
});
