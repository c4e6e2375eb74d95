import assert from "node:assert/strict";
import fc from "fast-check";
import { ClientHelloParser, parseSslV2Hello } from "../../../../core/data_plane/preface/client_hello.ts";
import type { Parsed } from "../../../../core/data_plane/preface/parsed.ts";
import type { ClientHelloInfo } from "../../../../core/plugin/contract.ts";
import {
  alpn,
  bytes,
  extension,
  HELLO,
  helloMessage,
  inRecords,
  LARGE_HELLO,
  serverName,
  sized,
  supportedVersions,
} from "./samples.ts";

function parse(seen: Uint8Array): Parsed<ClientHelloInfo> {
  return new ClientHelloParser().push(seen);
}

/** Hands `input` over in pieces that end at `cuts`, until the parser has decided. */
function parseInPieces(input: Uint8Array, cuts: readonly number[]): Parsed<ClientHelloInfo> {
  const parser = new ClientHelloParser();
  for (const cut of cuts) {
    const parsed = parser.push(input.slice(0, cut));
    if (parsed.kind !== "more") return parsed;
    assert.ok(parsed.total > cut, `more at ${cut} wants ${parsed.total}`);
  }
  return parser.push(input);
}

const EXPECTED: ClientHelloInfo = {
  serverName: "db.example.com",
  alpn: ["postgresql"],
  versions: [0x0304, 0x0303],
};

const one = (...extensions: Uint8Array[]) => inRecords(helloMessage({ extensions }));

for (
  const [name, hello, expected] of [
    ["a hello with name, versions and ALPN", HELLO, EXPECTED],
    ["a hello over 16 KiB", LARGE_HELLO, { serverName: "large.example.com", alpn: [], versions: [0x0303] }],
    ["a hello without an extensions field", inRecords(helloMessage()), { alpn: [], versions: [0x0303] }],
    ["a hello with no extensions", one(), { alpn: [], versions: [0x0303] }],
    ["a TLS 1.0 hello", inRecords(helloMessage({ legacyVersion: 0x0301 })), { alpn: [], versions: [0x0301] }],
    ["a name in mixed case with a final dot", one(serverName("DB.Example.com.")), {
      serverName: "db.example.com",
      alpn: [],
      versions: [0x0303],
    }],
    ["ALPN bytes that are not ASCII", one(alpn("h2", "\u00e9")), {
      alpn: ["h2", "\u00c3\u00a9"],
      versions: [0x0303],
    }],
    ["unknown extensions", one(extension(0x1a1a, bytes("?")), extension(0xff01, bytes(0))), {
      alpn: [],
      versions: [0x0303],
    }],
    ["only GREASE versions", one(supportedVersions(0x0a0a, 0xfafa)), { alpn: [], versions: [] }],
    ["a version that merely resembles GREASE", one(supportedVersions(0x1a2a)), {
      alpn: [],
      versions: [0x1a2a],
    }],
  ] as const
) {
  Deno.test(`the parser reads ${name}, at every cut and in records of every size`, () => {
    const wanted = { kind: "yes", value: expected, length: hello.length };
    assert.deepEqual(parse(hello), wanted);
    assert.deepEqual(parse(bytes(hello, Uint8Array.fromHex("170303000501"))), wanted, "early data behind it");
    const step = hello.length > 2000 ? 997 : 1;
    for (let cut = 0; cut < hello.length; cut += step) {
      assert.deepEqual(parseInPieces(hello, [cut]), wanted, `${cut}`);
    }
    assert.deepEqual(parseInPieces(hello, hello.keys().toArray()), wanted, "a byte a segment");
  });
}

const MESSAGE = HELLO.subarray(5);

Deno.test("the parser reads a hello split over two records at every point, whole and a byte a segment", () => {
  for (let first = 1; first < MESSAGE.length; first++) {
    const split = inRecords(MESSAGE, first, 16_384);
    const wanted = { kind: "yes", value: EXPECTED, length: split.length };
    assert.deepEqual(parse(split), wanted, `split at ${first}`);
    assert.deepEqual(parseInPieces(split, split.keys().toArray()), wanted, `split at ${first}, byte by byte`);
  }
});

Deno.test("the parser reads a hello however records and segments are cut", () => {
  const cuts = fc.array(fc.integer({ min: 0, max: 3 * HELLO.length }), { maxLength: 20 });
  const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 });
  fc.assert(fc.property(sizes, cuts, (recordSizes, segments) => {
    const input = inRecords(MESSAGE, ...recordSizes);
    const sorted = segments.filter((cut) => cut < input.length).sort((a, b) => a - b);
    assert.deepEqual(parseInPieces(input, [...new Set(sorted)]), {
      kind: "yes",
      value: EXPECTED,
      length: input.length,
    });
  }));
});

/** The least that is announced must hold: an honest client never sends less. */
Deno.test("more never asks for bytes that an honest client does not send", () => {
  for (const size of [1, 2, 3, 4, 5, 50, 16_384]) {
    const input = inRecords(MESSAGE, size);
    const parser = new ClientHelloParser();
    for (let cut = 0; cut < input.length; cut++) {
      const parsed = parser.push(input.subarray(0, cut));
      assert.ok(
        parsed.kind === "more" && parsed.total > cut && parsed.total <= input.length,
        `${size}, ${cut}`,
      );
    }
  }
});

const MALFORMED: readonly [name: string, input: Uint8Array, detail: RegExp][] = [
  ["a record that is an alert", Uint8Array.fromHex("15030300020228"), /no handshake/],
  ["a second record that is an alert", bytes(inRecords(MESSAGE, 10).subarray(0, 15), 21), /no handshake/],
  ["a record of version 2", Uint8Array.fromHex("1602000005"), /version/],
  ["an empty record", Uint8Array.fromHex("1603010000"), /of 0 bytes/],
  ["an empty record between", bytes(inRecords(MESSAGE, 10).subarray(0, 15), [22, 3, 1, 0, 0]), /of 0 bytes/],
  ["a record of 16,385 bytes", Uint8Array.fromHex("1603014001"), /of 16385 bytes/],
  ["a ServerHello", Uint8Array.fromHex("16030100050200000100"), /does not begin with a ClientHello/],
  ["an empty message", Uint8Array.fromHex("160301000401000000"), /overruns/],
  ["bytes behind the message in its record", inRecords(bytes(MESSAGE, 0)), /behind the ClientHello/],
  [
    "bytes behind the message, announced early",
    Uint8Array.fromHex("160301002001000001"),
    /behind the ClientHello/,
  ],
  [
    "a version outside of SSL 3 and TLS",
    inRecords(helloMessage({ legacyVersion: 0x0203 })),
    /unknown version/,
  ],
  ["a session id of 33 bytes", inRecords(helloMessage({ sessionId: new Uint8Array(33) })), /session id/],
  ["no cipher suites", inRecords(helloMessage({ cipherSuites: new Uint8Array(0) })), /cipher/],
  ["half a cipher suite", inRecords(helloMessage({ cipherSuites: new Uint8Array(3) })), /cipher/],
  ["no compression methods", inRecords(helloMessage({ compressions: new Uint8Array(0) })), /compression/],
  ["a message cut short", inRecords(bytes(1, sized(3, MESSAGE.subarray(4, 40)))), /overruns/],
  [
    "bytes behind the extensions",
    inRecords(bytes(1, sized(3, bytes(MESSAGE.subarray(4), 0)))),
    /wrong length/,
  ],
  [
    "one byte of an extensions field",
    inRecords(bytes(1, sized(3, bytes(helloMessage().subarray(4), 0)))),
    /wrong length/,
  ],
  ["half an extension header", one(bytes(0, 43, 0)), /overruns/],
  ["an extension that overruns", one(bytes(0, 43, 0, 5, 1)), /overruns/],
  ["the name twice", one(serverName("a.example"), serverName("b.example")), /extension 0 twice/],
  ["an unknown extension twice", one(extension(99, bytes()), extension(99, bytes())), /extension 99 twice/],
  ["an empty name extension", one(extension(0, bytes())), /Server name list/],
  ["an empty name list", one(extension(0, bytes(0, 0))), /Server name list/],
  ["a name list of a wrong length", one(extension(0, bytes(0, 9, 0, 0, 1, "a"))), /wrong length/],
  ["a name that overruns its list", one(extension(0, sized(2, bytes(0, 0, 9, "a")))), /without a whole name/],
  ["an empty name", one(serverName("")), /without a whole name/],
  ["two names", one(extension(0, sized(2, bytes(0, 0, 1, "a", 0, 0, 1, "b")))), /exactly one/],
  ["a name of another type", one(extension(0, sized(2, bytes(1, 0, 1, "a")))), /exactly one/],
  ["bytes behind the name list", one(extension(0, bytes(0, 4, 0, 0, 1, "a", 0))), /wrong length/],
  ["an IP literal for a name", one(serverName("192.0.2.1")), /"192\.0\.2\.1" is no DNS name/],
  [
    "a name with a NUL",
    one(serverName("db.example.com\0.evil.com")),
    /"db\.example\.com\?\.evil\.com" is no DNS name/,
  ],
  ["a name in UTF-8", one(serverName("bücher.example")), /is no DNS name/],
  ["a name of 64 KiB", one(serverName(new Uint8Array(20_000).fill(0x61))), /"a{64}" is no DNS name/],
  ["an empty ALPN extension", one(extension(16, bytes())), /ALPN/],
  ["an empty ALPN list", one(extension(16, bytes(0, 0))), /ALPN/],
  ["an empty ALPN name", one(alpn("h2", "")), /ALPN/],
  ["an ALPN name that overruns", one(extension(16, sized(2, bytes(3, "h2")))), /ALPN/],
  ["bytes behind the ALPN list", one(extension(16, bytes(sized(2, bytes(2, "h2")), 0))), /ALPN/],
  ["65 ALPN names", one(alpn(...Array.from({ length: 65 }, () => "x"))), /more than 64/],
  ["no versions", one(supportedVersions()), /versions/],
  ["half a version", one(extension(43, bytes(3, 3, 4, 3))), /versions/],
  ["versions of a wrong length", one(extension(43, bytes(4, 3, 4))), /versions/],
];

for (const [name, input, detail] of MALFORMED) {
  Deno.test(`the parser refuses ${name}, however it is cut`, () => {
    const parsed = parse(input);
    assert.ok(parsed.kind === "malformed", JSON.stringify(parsed));
    assert.match(parsed.detail, detail);
    assert.equal(
      parseInPieces(input, input.length < 1000 ? input.keys().toArray() : [9, 999]).kind,
      "malformed",
    );
  });
}

Deno.test("whatever begins with 0x16 is a hello, unfinished or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (rest) => {
    assert.notEqual(parse(bytes(0x16, rest)).kind, "no");
  }));
});

Deno.test("a length that no limit allows is known from the first nine bytes", () => {
  const parsed = parse(Uint8Array.fromHex("160301400001ffffff"));
  assert.ok(parsed.kind === "more" && parsed.total > 0xffffff);
});

/** `seen` as an array that counts how often one of its bytes is looked at. */
function counting(seen: Uint8Array, count: { reads: number }): Uint8Array {
  return new Proxy(seen, {
    get(target, key) {
      if (typeof key === "string" && /^\d+$/.test(key)) count.reads++;
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

Deno.test("64 KiB of one-byte records, a byte a segment, cost a fixed number of looks a byte", () => {
  const message = helloMessage({
    extensions: [serverName("db.example.com"), extension(51, new Uint8Array(10_700))],
  });
  const input = inRecords(message, 1);
  assert.ok(input.length > 64_000);
  const count = { reads: 0 };
  const parser = new ClientHelloParser();
  for (let seen = 1; seen < input.length; seen++) {
    assert.equal(parser.push(counting(input.subarray(0, seen), count)).kind, "more");
  }
  assert.equal(parser.push(counting(input, count)).kind, "yes");
  assert.ok(count.reads < 6 * input.length, `${count.reads} looks at ${input.length} bytes`);
});

for (
  const [hex, expected] of [
    ["802e0100020015000000", "malformed"], // SSL 2
    ["80620103010039000000", "malformed"], // TLS 1.0 in the dress of SSL 2
    ["80620103", "more"],
    ["80", "more"],
    ["8062", "more"],
    ["806202", "no"],
    ["8062010304", "malformed"],
    ["8062010305", "no"],
    ["80620104", "no"],
    ["8062010003", "no"],
    ["7f62010301", "no"],
    ["c3a974c3a9", "no"],
  ] as const
) {
  Deno.test(`parseSslV2Hello() of ${hex} is ${expected}`, () => {
    assert.equal(parseSslV2Hello(Uint8Array.fromHex(hex)).kind, expected);
  });
}
