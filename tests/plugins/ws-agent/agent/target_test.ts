import assert from "node:assert/strict";
import { formatGateway, parseGateway } from "../../../../plugins/ws-agent/agent/gateway_address.ts";
import { formatTarget, isSensitive, parseTarget } from "../../../../plugins/ws-agent/agent/target.ts";

const GATEWAYS: readonly (readonly [text: string, formatted: string])[] = [
  ["wss://tunnel.example.com", "wss://tunnel.example.com/tunnel/v1"],
  ["wss://Tunnel.Example.com:8443/other", "wss://tunnel.example.com:8443/other"],
  ["ws://127.0.0.1:8080/tunnel/v1", "ws://127.0.0.1:8080/tunnel/v1"],
  ["ws://localhost", "ws://localhost/tunnel/v1"],
  ["https://tunnel.example.com/", "wss://tunnel.example.com/tunnel/v1"],
  ["tunnel.example.com", "wss://tunnel.example.com/tunnel/v1"],
  ["tunnel.example.com:9443", "wss://tunnel.example.com:9443/tunnel/v1"],
  ["[::1]:8443", "wss://[::1]:8443/tunnel/v1"],
];

for (const [text, formatted] of GATEWAYS) {
  Deno.test(`the gateway ${text} is ${formatted}`, () => {
    assert.equal(formatGateway(parseGateway(text)), formatted);
    assert.deepEqual(parseGateway(formatted), parseGateway(text));
  });
}

for (
  const text of [
    "",
    "ftp://x",
    "wss://",
    "wss://a:0",
    "wss://a:b",
    "wss://u:p@a",
    "wss://a?x",
    "a b",
    "wss://a/b c",
  ]
) {
  Deno.test(`${JSON.stringify(text)} is no gateway`, () => {
    assert.throws(() => parseGateway(text), { code: "config-invalid" });
  });
}

const TARGETS: readonly (readonly [text: string | number, formatted: string])[] = [
  [3000, "127.0.0.1:3000"],
  ["3000", "127.0.0.1:3000"],
  ["localhost:3000", "127.0.0.1:3000"],
  ["10.0.0.5:80", "10.0.0.5:80"],
  ["[FD00::1]:80", "[fd00::1]:80"],
  ["db.internal:5432", "db.internal:5432"],
  ["http://127.0.0.1:3000/", "127.0.0.1:3000"],
  ["http://app.internal", "app.internal:80"],
  ["https://app.internal", "https://app.internal:443"],
];

for (const [text, formatted] of TARGETS) {
  Deno.test(`the target ${text} is ${formatted}`, () => {
    assert.equal(formatTarget(parseTarget(text, { urls: true })), formatted);
  });
}

for (const text of ["", "0", "70000", "host", "http://a:80/x", "http://u@a", "ftp://a:21", "a:b", "::1:80"]) {
  Deno.test(`${JSON.stringify(text)} is no target`, () => {
    assert.throws(() => parseTarget(text, { urls: true }), { code: "config-invalid" });
  });
}

for (
  const [address, expected] of [
    ["169.254.169.254", true],
    ["169.254.0.1", true],
    ["::ffff:169.254.169.254", true],
    ["fe80::1", true],
    ["febf::1", true],
    ["fe80::1%eth0", true],
    ["fd00:ec2::254", true],
    ["168.63.129.16", true],
    ["100.100.100.200", true],
    ["192.0.0.192", true],
    ["127.0.0.1", false],
    ["10.0.0.1", false],
    ["fd00:ec2::253", false],
    ["fec0::1", false],
    ["::1", false],
  ] as const
) {
  Deno.test(`a name must ${expected ? "not " : ""}lead to ${address}`, () => {
    assert.equal(isSensitive(address), expected);
  });
}
