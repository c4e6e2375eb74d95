import assert from "node:assert/strict";
import { isDecision } from "../../../core/data_plane/decision.ts";

const FORWARD = { kind: "forward", to: "127.0.0.1:80" };
const TLV = { type: 0xe0, value: new Uint8Array(4) };
const CA = "-----BEGIN CERTIFICATE-----";

const GOOD: readonly unknown[] = [
  FORWARD,
  { kind: "forward", to: ["127.0.0.1:80", "[::1]:80"] },
  ...["off", "v1", "v2", "pass", undefined].map((proxyProtocol) => ({ ...FORWARD, proxyProtocol })),
  { ...FORWARD, proxyProtocol: "v2", tlvs: [] },
  { ...FORWARD, proxyProtocol: "v2", tlvs: [TLV, { type: 0xef, value: new Uint8Array() }] },
  { ...FORWARD, tls: {} },
  { ...FORWARD, tls: { serverName: "db.example.com", ca: CA } },
  { ...FORWARD, retryMs: 0 },
  { ...FORWARD, retryMs: 1500.5, keepOffAdmin: true },
  { ...FORWARD, keepOffAdmin: false },
  { kind: "terminate", then: { ...FORWARD, tls: {} } },
  { kind: "handle" },
  { kind: "reject", reason: "unknown_name" },
  { kind: "reject", reason: "forbidden", detail: "not in the team" },
  { kind: "terminate" },
  { kind: "terminate", then: FORWARD },
  { kind: "terminate", then: { kind: "handle" }, alpn: ["h2", "http/1.1"], minVersion: "TLSv1.3" },
  { kind: "terminate", clientCertificate: { mode: "require", ca: CA } },
  { kind: "terminate", clientCertificate: { mode: "request", ca: CA } },
];

const BAD: readonly unknown[] = [
  null,
  true,
  0,
  "forward",
  [],
  {},
  { kind: "Forward", to: "127.0.0.1:80" },
  { kind: "forward" },
  { kind: "forward", to: 80 },
  { kind: "forward", to: null },
  { kind: "forward", to: [] },
  { kind: "forward", to: ["127.0.0.1:80", 81] },
  { ...FORWARD, proxyProtocol: "v3" },
  { ...FORWARD, proxyProtocol: true },
  { ...FORWARD, proxyProtocol: null },
  { ...FORWARD, tlvs: "none" },
  { ...FORWARD, tlvs: [null] },
  { ...FORWARD, tlvs: [{ ...TLV, type: 0x02 }] },
  { ...FORWARD, tlvs: [{ ...TLV, type: 0xf0 }] },
  { ...FORWARD, tlvs: [{ ...TLV, type: 0x1e0 }] },
  { ...FORWARD, tlvs: [{ ...TLV, type: 0xe0 + 0.5 }] },
  { ...FORWARD, tlvs: [{ ...TLV, type: "224" }] },
  { ...FORWARD, tlvs: [{ ...TLV, value: [1, 2] }] },
  { ...FORWARD, tlvs: [{ type: 0xe0, value: new Uint8Array(65_500) }] },
  ...[null, true, "on", { serverName: 1 }, { serverName: "" }, { ca: "" }, { ca: [CA] }, { ca: null }]
    .map((tls) => ({ ...FORWARD, tls })),
  ...[-1, NaN, Infinity, "100", null].map((retryMs) => ({ ...FORWARD, retryMs })),
  ...["yes", 1, null].map((keepOffAdmin) => ({ ...FORWARD, keepOffAdmin })),
  { kind: "reject" },
  { kind: "reject", reason: "no_route" },
  { kind: "reject", reason: "toString" },
  { kind: "reject", reason: "forbidden", detail: { not: "text" } },
  { kind: "terminate", then: null },
  { kind: "terminate", then: "forward" },
  { kind: "terminate", then: { kind: "forward" } },
  { kind: "terminate", then: { kind: "terminate" } },
  { kind: "terminate", alpn: "h2" },
  { kind: "terminate", alpn: [2] },
  { kind: "terminate", alpn: null },
  { kind: "terminate", minVersion: "TLSv1" },
  { kind: "terminate", minVersion: 3 },
  { kind: "terminate", clientCertificate: null },
  { kind: "terminate", clientCertificate: true },
  { kind: "terminate", clientCertificate: {} },
  { kind: "terminate", clientCertificate: { mode: "require" } },
  { kind: "terminate", clientCertificate: { mode: "require", ca: "" } },
  { kind: "terminate", clientCertificate: { mode: "off", ca: CA } },
  { kind: "terminate", clientCertificate: { mode: undefined, ca: CA } },
];

for (const [expected, values] of [[true, GOOD], [false, BAD]] as const) {
  for (const value of values) {
    Deno.test(`${Deno.inspect(value, { compact: true, iterableLimit: 4, breakLength: Infinity })} is ${expected ? "a" : "no"} decision`, () => {
      assert.equal(isDecision(value), expected);
    });
  }
}
