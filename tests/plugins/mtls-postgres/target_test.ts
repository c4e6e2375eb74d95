import assert from "node:assert/strict";
import { isDecision } from "../../../core/data_plane/decision.ts";
import { forwarder, parseTarget, SPIFFE_ID_TLV } from "../../../plugins/mtls-postgres/target.ts";

const cases: readonly (readonly [address: string, target: string | undefined])[] = [
  ["10.0.0.5", "10.0.0.5:22"],
  ["10.0.0.5:5432", "10.0.0.5:5432"],
  ["::1", "[::1]:22"],
  ["[::1]", "[::1]:22"],
  ["[::1]:5432", "[::1]:5432"],
  ["2001:DB8:0:0::5", "[2001:db8::5]:22"],
  ["::ffff:10.0.0.5", "10.0.0.5:22"],
  ["db.internal", "db.internal:22"],
  ["DB.Internal.:5432", "db.internal:5432"],
  ["", undefined],
  [" ", undefined],
  ["10.0.0.5 ", undefined],
  ["10.0.0.5/32", undefined],
  ["10.0.0.5:", undefined],
  ["10.0.0.5:0", undefined],
  ["10.0.0.5:65536", undefined],
  ["10.0.0.5:22:22", undefined],
  ["10.0.0.256", undefined],
  ["010.0.0.5", undefined],
  ["[10.0.0.5]:22", undefined],
  ["fe80::1%eth0", undefined],
  ["[fe80::1%eth0]:22", undefined],
  ["[::1", undefined],
  ["::1]:22", undefined],
  ["a b", undefined],
  ["user@10.0.0.5", undefined],
  ["http://10.0.0.5", undefined],
  ["10.0.0.5\0", undefined],
  ["10.0.0.5,10.0.0.6", undefined],
];

for (const [address, target] of cases) {
  Deno.test(`internal_ip_addr ${JSON.stringify(address)} leads to ${target ?? "nowhere"}`, () => {
    assert.equal(parseTarget(address, 22), target);
  });
}

const identity = { spiffeId: "spiffe://example.com/orgs/o/users/u", org: "o", user: "u" };

Deno.test("every decision keeps off the gateway's own admin side", () => {
  for (const proxyProtocol of ["off", "v1", "v2"] as const) {
    const decision = forwarder({ proxyProtocol })("10.0.0.5:22", identity);
    assert.ok(isDecision(decision));
    assert.equal(decision.keepOffAdmin, true);
    assert.equal(decision.tls, undefined);
  }
});

Deno.test("the identity is in a TLV of a v2 header, and in nothing else", () => {
  const [tlv, ...others] = forwarder({ proxyProtocol: "v2" })("10.0.0.5:22", identity).tlvs ?? [];
  assert.equal(others.length, 0);
  assert.equal(tlv?.type, SPIFFE_ID_TLV);
  assert.equal(new TextDecoder().decode(tlv?.value), identity.spiffeId);
  assert.equal(forwarder({ proxyProtocol: "v1" })("10.0.0.5:22", identity).tlvs, undefined);
});

Deno.test("TLS to the target has the CA's text, not its path", () => {
  const targetTls = { ca: "ca.pem", serverName: "db.internal" };
  const { tls } = forwarder({ proxyProtocol: "off", targetTls }, "PEM")("10.0.0.5:22", identity);
  assert.deepEqual(tls, { ca: "PEM", serverName: "db.internal" });
  assert.deepEqual(forwarder({ proxyProtocol: "off", targetTls: {} })("10.0.0.5:22", identity).tls, {});
});
