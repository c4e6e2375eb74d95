import assert from "node:assert/strict";
import fc from "fast-check";
import { addressFromBytes } from "../../../../core/net/address.ts";
import { crc32c } from "../../../../core/data_plane/preface/crc32c.ts";
import {
  encodeProxyV1,
  encodeProxyV2,
  parseProxyHeader,
  parseProxySignature,
  TLV,
  type Tlv,
} from "../../../../core/data_plane/preface/proxy_protocol.ts";
import { bytes, PROXY_V1, proxyV2, tlv, V2_IPV4_BLOCK } from "./samples.ts";

const SOURCE = { address: "203.0.113.9", port: 56_324 };
const DESTINATION = { address: "192.0.2.1", port: 443 };
const IPV6_BLOCK = Uint8Array.fromHex(
  "20010db8000000000000000000000009" + "20010db8000000000000000000000001" + "dc0401bb",
);
const MAPPED_BLOCK = Uint8Array.fromHex(
  "00000000000000000000ffffcb007109" + "20010db8000000000000000000000001" + "dc0401bb",
);
const SSL_TLV = tlv(TLV.ssl, bytes(1, [0, 0, 0, 0], tlv(0x21, bytes("TLSv1.3"))));

/** The header with the CRC32C at `at`, counted from its start, filled in. */
function withChecksum(header: Uint8Array, at: number): Uint8Array {
  const filled = header.slice().fill(0, at, at + 4);
  new DataView(filled.buffer).setUint32(at, crc32c(filled));
  return filled;
}

const CHECKED = withChecksum(
  proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(3, new Uint8Array(4)), tlv(0xe0, bytes("x")))),
  31,
);
const CHECKED_LOCAL = withChecksum(proxyV2(0x20, 0x00, tlv(3, new Uint8Array(4))), 19);

interface Good {
  readonly name: string;
  readonly header: Uint8Array;
  readonly source?: string;
  readonly tlvs?: readonly number[];
}

const V4 = "203.0.113.9 56324 192.0.2.1 443";

const GOOD: readonly Good[] = [
  { name: "v1 TCP4", header: PROXY_V1, source: V4 },
  {
    name: "v1 TCP6",
    header: bytes("PROXY TCP6 2001:DB8::9 2001:db8::1 56324 443\r\n"),
    source: "2001:db8::9 56324 2001:db8::1 443",
  },
  {
    name: "v1 TCP6 with a mapped address",
    header: bytes("PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 0 65535\r\n"),
    source: "203.0.113.9 0 2001:db8::1 65535",
  },
  {
    name: "v1 UNKNOWN of the greatest length",
    header: bytes(`PROXY UNKNOWN ${"f".repeat(107 - 16)}\r\n`),
  },
  { name: "v1 UNKNOWN", header: bytes("PROXY UNKNOWN\r\n") },
  { name: "v1 UNKNOWN with addresses", header: bytes("PROXY UNKNOWN ::1 ::1 1 2\r\n") },
  { name: "v2 TCP4", header: proxyV2(0x21, 0x11, V2_IPV4_BLOCK), source: V4 },
  {
    name: "v2 TCP6",
    header: proxyV2(0x21, 0x21, IPV6_BLOCK),
    source: "2001:db8::9 56324 2001:db8::1 443",
  },
  {
    name: "v2 TCP6 with a mapped address",
    header: proxyV2(0x21, 0x21, MAPPED_BLOCK),
    source: "203.0.113.9 56324 2001:db8::1 443",
  },
  { name: "v2 UDP4", header: proxyV2(0x21, 0x12, V2_IPV4_BLOCK) },
  { name: "v2 UNIX", header: proxyV2(0x21, 0x31, new Uint8Array(216)) },
  { name: "v2 UNSPEC", header: proxyV2(0x21, 0x00, new Uint8Array(0)) },
  { name: "v2 UNSPEC with a TLV", header: proxyV2(0x21, 0x00, tlv(0xe0, bytes("x"))), tlvs: [0xe0] },
  { name: "v2 LOCAL", header: proxyV2(0x20, 0x00, new Uint8Array(0)) },
  { name: "v2 LOCAL with addresses", header: proxyV2(0x20, 0x11, V2_IPV4_BLOCK) },
  { name: "v2 LOCAL with anything", header: proxyV2(0x20, 0xff, bytes("anything")) },
  { name: "v2 LOCAL with a right CRC32C", header: CHECKED_LOCAL, tlvs: [3] },
  { name: "v2 with a right CRC32C", header: CHECKED, source: V4, tlvs: [3, 0xe0] },
  {
    name: "v2 with every TLV",
    header: proxyV2(
      0x21,
      0x11,
      bytes(
        V2_IPV4_BLOCK,
        tlv(1, bytes("h2")),
        tlv(2, bytes("a.example")),
        tlv(4, bytes("")),
        tlv(5, new Uint8Array(128)),
        SSL_TLV,
        tlv(0x99, bytes("?")),
      ),
    ),
    source: V4,
    tlvs: [1, 2, 4, 5, 0x20, 0x99],
  },
  {
    name: "v2 of the greatest length",
    header: proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(0xe0, new Uint8Array(65_535 - 15)))),
    source: V4,
    tlvs: [0xe0],
  },
];

for (const { name, header, source, tlvs = [] } of GOOD) {
  Deno.test(`parseProxyHeader() reads ${name}, and nothing behind it`, () => {
    const seen = bytes(header, "SSH-2.0");
    const parsed = parseProxyHeader(seen);
    assert.ok(parsed.kind === "yes", JSON.stringify(parsed));
    const { value, length } = parsed;
    assert.equal(length, header.length);
    assert.equal(describe(value.source, value.destination), source);
    assert.deepEqual(value.tlvs.map((one) => one.type), tlvs);
    seen.fill(0); // what is returned must not lie in the caller's buffer
    assert.deepEqual(value.raw, header);
    for (const one of value.tlvs) assert.equal(one.value.buffer, value.raw.buffer);
  });
  Deno.test(`parseProxyHeader() asks for more at every cut of ${name}`, () => {
    for (let cut = 0; cut < header.length; cut += cut < 300 ? 1 : 997) {
      const parsed = parseProxyHeader(header.subarray(0, cut));
      assert.ok(parsed.kind === "more" && parsed.total > cut && parsed.total <= header.length, `at ${cut}`);
    }
  });
}

function describe(
  source?: { address: string; port: number },
  destination?: { address: string; port: number },
) {
  if (source === undefined || destination === undefined) return undefined;
  return `${source.address} ${source.port} ${destination.address} ${destination.port}`;
}

const MALFORMED: readonly [name: string, header: Uint8Array][] = [
  ["v1 over 107 bytes", bytes(`PROXY UNKNOWN ${"f".repeat(107 - 15)}\r\n`)],
  ["v1 without end", bytes("PROXY TCP4 ", "1".repeat(200))],
  ["v1 with a bare LF", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\n")],
  ["v1 with a bare CR", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\rx")],
  ["v1 UNKNOWN with a bare LF", bytes("PROXY UNKNOWN a\nb\r\n")],
  ["v1 with two spaces", bytes("PROXY TCP4  203.0.113.9 192.0.2.1 56324 443\r\n")],
  ["v1 with a space at the end", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 56324 443 \r\n")],
  ["v1 without ports", bytes("PROXY TCP4 203.0.113.9 192.0.2.1\r\n")],
  ["v1 with a port too many", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 1 2 3\r\n")],
  ["v1 with port 65536", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n")],
  ["v1 with port 007", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 007 443\r\n")],
  ["v1 with port -1", bytes("PROXY TCP4 203.0.113.9 192.0.2.1 -1 443\r\n")],
  ["v1 with an octal address", bytes("PROXY TCP4 203.0.113.09 192.0.2.1 1 443\r\n")],
  ["v1 TCP4 with IPv6", bytes("PROXY TCP4 ::1 ::1 1 443\r\n")],
  ["v1 TCP6 with IPv4", bytes("PROXY TCP6 203.0.113.9 192.0.2.1 1 443\r\n")],
  ["v1 with a zone", bytes("PROXY TCP6 fe80::1%a ::1 1 443\r\n")],
  ["v1 with a name", bytes("PROXY TCP4 localhost 192.0.2.1 1 443\r\n")],
  ["v1 in lower case", bytes("PROXY tcp4 203.0.113.9 192.0.2.1 1 443\r\n")],
  ["v1 UDP4", bytes("PROXY UDP4 203.0.113.9 192.0.2.1 1 443\r\n")],
  ["v1 UNKNOWNX", bytes("PROXY UNKNOWNX\r\n")],
  ["v1 with nothing", bytes("PROXY \r\n")],
  ["v1 with a NUL", bytes("PROXY TCP4 203.0.113.9\0 192.0.2.1 1 443\r\n")],
  ["v2 of version 1", proxyV2(0x11, 0x11, V2_IPV4_BLOCK)],
  ["v2 of version 3", proxyV2(0x31, 0x11, V2_IPV4_BLOCK)],
  ["v2 with command 2", proxyV2(0x22, 0x11, V2_IPV4_BLOCK)],
  ["v2 with family 4", proxyV2(0x21, 0x41, V2_IPV4_BLOCK)],
  ["v2 with transport 3", proxyV2(0x21, 0x13, V2_IPV4_BLOCK)],
  ["v2 TCP4 without transport", proxyV2(0x21, 0x10, V2_IPV4_BLOCK)],
  ["v2 TCP4 with 11 bytes", proxyV2(0x21, 0x11, V2_IPV4_BLOCK.subarray(1))],
  ["v2 TCP6 with 35 bytes", proxyV2(0x21, 0x21, IPV6_BLOCK.subarray(1))],
  ["v2 UNIX with 215 bytes", proxyV2(0x21, 0x31, new Uint8Array(215))],
  ["v2 with half a TLV header", proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, 1, 0))],
  ["v2 with a TLV that overruns", proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, 1, 0, 3, "h2"))],
  [
    "v2 with a unique id of 129 bytes",
    proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(5, new Uint8Array(129)))),
  ],
  ["v2 with an SSL TLV of 4 bytes", proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(0x20, new Uint8Array(4))))],
  [
    "v2 with an SSL TLV that overruns",
    proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(0x20, bytes(1, [0, 0, 0, 0], 0x21, 0, 9)))),
  ],
  ["v2 with a wrong CRC32C", CHECKED.with(33, CHECKED[33]! ^ 1)],
  ["v2 with a changed address under its CRC32C", CHECKED.with(16, 9)],
  ["v2 with a CRC32C of 3 bytes", proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, tlv(3, new Uint8Array(3))))],
  ["v2 LOCAL with a wrong CRC32C", CHECKED_LOCAL.with(19, CHECKED_LOCAL[19]! ^ 1)],
];

for (const [name, header] of MALFORMED) {
  Deno.test(`parseProxyHeader() refuses ${name}, at no cut accepts it`, () => {
    assert.equal(parseProxyHeader(header).kind, "malformed");
    for (let cut = 0; cut < header.length; cut++) {
      assert.match(parseProxyHeader(header.subarray(0, cut)).kind, /^(more|malformed)$/, `at ${cut}`);
    }
  });
}

Deno.test("parseProxyHeader() leaves everything else to others", () => {
  for (
    const text of ["PROXYX", "PROX ", "proxy ", "GET /", "\r\nGET /", "\r\n\r\nGET", "\x16\x03", "PUT /"]
  ) {
    assert.equal(parseProxyHeader(bytes(text)).kind, "no", JSON.stringify(text));
    assert.equal(parseProxySignature(bytes(text)).kind, "no", JSON.stringify(text));
  }
});

Deno.test("a header too short for its addresses is refused from its first 16 bytes", () => {
  for (const family of [0x11, 0x12, 0x21, 0x22, 0x31, 0x32]) {
    const header = proxyV2(0x21, family, new Uint8Array(11));
    assert.equal(parseProxyHeader(header.subarray(0, 15)).kind, "more");
    assert.equal(parseProxyHeader(header.subarray(0, 16)).kind, "malformed");
  }
});

Deno.test("two checksums are refused, even when each is right", () => {
  const header = proxyV2(
    0x21,
    0x11,
    bytes(V2_IPV4_BLOCK, tlv(3, new Uint8Array(4)), tlv(3, new Uint8Array(4))),
  );
  assert.equal(parseProxyHeader(withChecksum(header, 31)).kind, "malformed");
});

const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((ipv4) => bytes(new Uint8Array(10), 0xff, 0xff, ipv4)),
).map(addressFromBytes);
const endpoint = fc.record({ address, port: fc.integer({ min: 0, max: 65_535 }) });
const tlvs = fc.array(fc.record({
  type: fc.integer({ min: 0, max: 255 }).filter((type) => type !== TLV.ssl && type !== TLV.crc32c),
  value: fc.uint8Array({ maxLength: 100 }),
}));

Deno.test("what encodeProxyV1() writes is read back", () => {
  fc.assert(fc.property(endpoint, endpoint, (source, destination) => {
    const header = encodeProxyV1(source, destination);
    assert.ok(header.length <= 107);
    const parsed = parseProxyHeader(header);
    assert.ok(parsed.kind === "yes");
    assert.deepEqual({ ...parsed.value.source }, { ...source });
    assert.deepEqual({ ...parsed.value.destination }, { ...destination });
  }));
});

Deno.test("what encodeProxyV2() writes is read back, with and without a checksum", () => {
  fc.assert(fc.property(endpoint, endpoint, tlvs, fc.boolean(), (source, destination, list, isChecked) => {
    const all: Tlv[] = isChecked ? [{ type: TLV.crc32c, value: new Uint8Array(0) }, ...list] : list;
    const header = encodeProxyV2(source, destination, all);
    const parsed = parseProxyHeader(header);
    assert.ok(parsed.kind === "yes" && parsed.length === header.length);
    assert.deepEqual({ ...parsed.value.source }, { ...source });
    assert.deepEqual({ ...parsed.value.destination }, { ...destination });
    const read = parsed.value.tlvs.slice(isChecked ? 1 : 0).map(({ type, value }) => [type, [...value]]);
    assert.deepEqual(read, list.map(({ type, value }) => [type, [...value]]));
  }));
});

Deno.test("a checksum finds every flipped bit, but for those that make it another TLV", () => {
  const header = encodeProxyV2(SOURCE, DESTINATION, [{ type: TLV.crc32c, value: new Uint8Array(0) }]);
  for (let bit = 16 * 8; bit < header.length * 8; bit++) {
    if (bit >> 3 === 28) continue;
    const flipped = header.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.notEqual(parseProxyHeader(flipped).kind, "yes", `bit ${bit}`);
  }
});

Deno.test("the encoders write exactly what the specification shows", () => {
  assert.deepEqual(encodeProxyV1(SOURCE, DESTINATION), PROXY_V1);
  assert.deepEqual(encodeProxyV2(SOURCE, DESTINATION), proxyV2(0x21, 0x11, V2_IPV4_BLOCK));
  assert.deepEqual(
    encodeProxyV2(SOURCE, DESTINATION, [], "proxy", "udp"),
    proxyV2(0x21, 0x12, V2_IPV4_BLOCK),
  );
  assert.deepEqual(encodeProxyV2(undefined, undefined), proxyV2(0x21, 0x00, new Uint8Array(0)));
  assert.deepEqual(encodeProxyV2(SOURCE, DESTINATION, [], "local"), proxyV2(0x20, 0x00, new Uint8Array(0)));
  assert.deepEqual(encodeProxyV1(undefined, DESTINATION), bytes("PROXY UNKNOWN\r\n"));
  const mixed = { address: "2001:db8::1", port: 443 };
  assert.deepEqual(encodeProxyV2(SOURCE, mixed), proxyV2(0x21, 0x21, MAPPED_BLOCK));
  assert.deepEqual(
    encodeProxyV1(SOURCE, mixed),
    bytes("PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 56324 443\r\n"),
  );
});

Deno.test("the encoders refuse what is no address, port or TLV", () => {
  for (
    const wrong of [{ address: "x", port: 1 }, { address: "1.2.3.4\r\n", port: 1 }, {
      address: "1.2.3.4",
      port: 65_536,
    }]
  ) {
    assert.throws(() => encodeProxyV1(SOURCE, wrong), RangeError);
    assert.throws(() => encodeProxyV2(wrong, DESTINATION), RangeError);
  }
  const value = new Uint8Array(65_521);
  assert.throws(() => encodeProxyV2(SOURCE, DESTINATION, [{ type: 0xe0, value }]), RangeError);
  assert.throws(
    () => encodeProxyV2(SOURCE, DESTINATION, [{ type: 256, value: new Uint8Array(0) }]),
    RangeError,
  );
});

for (
  const [family, block, source] of [[0x12, V2_IPV4_BLOCK, "203.0.113.9"], [
    0x22,
    IPV6_BLOCK,
    "2001:db8::9",
  ]] as const
) {
  Deno.test(`the addresses of a header for UDP are not those of a TCP connection, family ${family}`, () => {
    const parsed = parseProxyHeader(proxyV2(0x21, family, block));
    assert.ok(parsed.kind === "yes");
    assert.equal(parsed.value.source, undefined);
    assert.equal(parsed.value.destination, undefined);
    assert.deepEqual(parsed.value.datagrams?.source, { address: source, port: 56_324 });
    assert.equal(parsed.value.datagrams?.destination.port, 443);
  });
}
