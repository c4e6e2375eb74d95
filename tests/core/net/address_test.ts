import assert from "node:assert/strict";
import fc from "fast-check";
import { GatewayError } from "../../../core/errors.ts";
import {
  addressBytes,
  addressFromBytes,
  canonicalAddress,
  formatHostPort,
  isAddress,
  isLoopback,
  parseAddress,
  parseCidrs,
  parseHostPort,
} from "../../../core/net/address.ts";

for (
  const [text, host, port, formatted] of [
    ["10.0.0.5:5432", "10.0.0.5", 5432, "10.0.0.5:5432"],
    ["0.0.0.0:443", "0.0.0.0", 443, "0.0.0.0:443"],
    ["127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"],
    ["[::1]:443", "::1", 443, "[::1]:443"],
    ["[::]:65535", "::", 65_535, "[::]:65535"],
    ["[2001:DB8:0:0:0:0:0:1]:1", "2001:db8::1", 1, "[2001:db8::1]:1"],
    ["[::ffff:10.0.0.5]:80", "10.0.0.5", 80, "10.0.0.5:80"],
    ["db.internal:5432", "db.internal", 5432, "db.internal:5432"],
    ["DB.Internal.:5432", "db.internal", 5432, "db.internal:5432"],
    ["bücher.example:80", "xn--bcher-kva.example", 80, "xn--bcher-kva.example:80"],
  ] as const
) {
  Deno.test(`parseHostPort() reads "${text}"`, () => {
    const parsed = parseHostPort(text);
    assert.deepEqual(parsed, { host, port });
    assert.equal(formatHostPort(parsed), formatted);
    assert.deepEqual(parseHostPort(formatted), parsed);
  });
}

Deno.test("parseHostPort() fills in the default port, for every form of host", () => {
  for (
    const [text, host] of [["10.0.0.5", "10.0.0.5"], ["[::1]", "::1"], [
      "db.internal",
      "db.internal",
    ]] as const
  ) {
    assert.deepEqual(parseHostPort(text, { defaultPort: 22 }), { host, port: 22 });
    assert.throws(() => parseHostPort(text), /port is missing/);
  }
});

for (
  const text of [
    "",
    ":443",
    "10.0.0.5:",
    "10.0.0.5:65536",
    "10.0.0.5:-1",
    "10.0.0.5:4 3",
    "10.0.0.5:0x50",
    "10.0.0.5:1e3",
    "10.0.0.256:80",
    "010.0.0.1:80",
    "10.1:80",
    "::1:443",
    "2001:db8::1",
    "[::1",
    "[::1]x:443",
    "[::1]443",
    "[10.0.0.5]:80",
    "[]:80",
    "[db.internal]:80",
    "a b:80",
    "http://a:80",
    "a_b-:80",
  ]
) {
  Deno.test(`parseHostPort() refuses ${JSON.stringify(text)} and quotes it`, () => {
    assert.throws(
      () => parseHostPort(text),
      (error) =>
        error instanceof GatewayError && error.code === "config-invalid" &&
        error.message.includes(JSON.stringify(text)),
    );
  });
}

Deno.test("parseHostPort() refuses port 0 where a port must be real", () => {
  assert.throws(() => parseHostPort("10.0.0.5:0", { minPort: 1 }), /from 1 to 65535/);
});

const ADDRESSES: readonly [text: string, canonical: string | undefined][] = [
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::FFFF:C000:0201", "192.0.2.1"],
  ["0:0:0:0:0:ffff:c000:201", "192.0.2.1"],
  ["::", "::"],
  ["::1", "::1"],
  ["::192.0.2.1", "::c000:201"], // IPv4-compatible, not mapped
  ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ["::ffff:0:192.0.2.1", "::ffff:0:c000:201"],
  ["FE80::1%eth0", "fe80::1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["", undefined],
  ["1.2.3", undefined],
  ["1.2.3.4.5", undefined],
  ["1.2.3.4 ", undefined],
  ["1.2.3.04", undefined],
  ["1.2.3.256", undefined],
  ["1..3.4", undefined],
  ["1.2.3.", undefined],
  ["0x1.2.3.4", undefined],
  ["::ffff:010.0.0.1", undefined],
  ["::ffff:1.2.3", undefined],
  ["1::2::3", undefined],
  ["1:2:3:4:5:6:7:8:9", undefined],
  ["12345::", undefined],
  ["[::1]", undefined],
  [":", undefined],
  ["example.com", undefined],
];

for (const [text, canonical] of ADDRESSES) {
  Deno.test(`the canonical address of "${text}" is ${canonical ?? "none"}`, () => {
    assert.equal(parseAddress(text), canonical);
    assert.equal(isAddress(text), canonical !== undefined);
    if (canonical === undefined) {
      assert.throws(() => canonicalAddress(text), RangeError);
      assert.throws(() => addressBytes(text), RangeError);
    } else {
      assert.equal(canonicalAddress(text), canonical);
      assert.equal(addressFromBytes(addressBytes(text)), canonical);
    }
  });
}

Deno.test("addressBytes() is in network order, 4 bytes for mapped IPv4", () => {
  assert.deepEqual(addressBytes("192.0.2.1"), Uint8Array.of(192, 0, 2, 1));
  assert.deepEqual(addressBytes("::ffff:192.0.2.1"), Uint8Array.of(192, 0, 2, 1));
  assert.deepEqual(addressBytes("2001:db8::1"), Uint8Array.fromHex("20010db8000000000000000000000001"));
});

Deno.test("every 4 or 16 bytes are an address whose text leads back to them", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
    assert.deepEqual(addressBytes(addressFromBytes(bytes)), Uint8Array.from(bytes));
  }));
  fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
    assert.deepEqual(addressBytes(addressFromBytes(bytes)), Uint8Array.from(bytes));
  }));
  assert.throws(() => addressFromBytes(new Uint8Array(5)), RangeError);
});

for (
  const [list, inside, outside] of [
    [["10.0.0.0/8"], ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], [
      "9.255.255.255",
      "11.0.0.0",
      "::a00:1",
    ]],
    [["192.0.2.7"], ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]],
    [["192.0.2.128/25"], ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]],
    [["0.0.0.0/0"], ["0.0.0.0", "255.255.255.255"], ["::1", "::"]],
    [["::/0"], ["::1", "ffff::"], ["127.0.0.1", "::ffff:127.0.0.1"]],
    [["2001:db8::/33"], ["2001:db8:7fff:ffff::1"], ["2001:db8:8000::", "2001:db9::"]],
    [["::1"], ["::1", "::1%lo"], ["::2", "::"]],
    [["::ffff:10.0.0.0/104"], ["10.9.9.9"], ["11.0.0.0"]],
    [["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"], ["10.1.1.1", "127.0.0.1", "2001:db8::9"], [
      "127.0.0.2",
      "nothing",
      "",
    ]],
    [[], [], ["10.0.0.1", "::1"]],
  ] as const
) {
  Deno.test(`the ranges [${list}] hold [${inside}] and not [${outside}]`, () => {
    const set = parseCidrs(list);
    assert.equal(set.isEmpty, list.length === 0);
    for (const address of inside) assert.equal(set.has(address), true, address);
    for (const address of outside) assert.equal(set.has(address), false, address);
  });
}

for (
  const entry of [
    "",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "::/129",
    "::ffff:10.0.0.0/95",
    "fe80::%eth0/64",
    "example.com",
    "10.0.0.1/8",
    "2001:db8::1/32",
  ]
) {
  Deno.test(`parseCidrs() refuses ${JSON.stringify(entry)} and names it among others`, () => {
    assert.throws(
      () => parseCidrs(["127.0.0.1", entry]),
      (error) =>
        error instanceof GatewayError && error.code === "config-invalid" &&
        error.message.includes(JSON.stringify(entry)),
    );
  });
}

Deno.test("parseCidrs() tells what a range with stray bits should have been", () => {
  assert.throws(() => parseCidrs(["10.0.0.1/8"]), /write "10\.0\.0\.0\/8"/);
});

const LOOPBACK: readonly (readonly [string, boolean])[] = [
  ["127.0.0.1", true],
  ["127.8.9.10", true],
  ["::1", true],
  ["localhost", true],
  ["0.0.0.0", false],
  ["::", false],
  ["10.0.0.1", false],
  ["127.0.0.1.example.com", false],
  ["localhost.example.com", false],
  ["", false],
];
for (const [hostname, loopback] of LOOPBACK) {
  Deno.test(`isLoopback(${JSON.stringify(hostname)}) is ${loopback}`, () => {
    assert.equal(isLoopback(hostname), loopback);
  });
}
