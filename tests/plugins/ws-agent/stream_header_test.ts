import assert from "node:assert/strict";
import { encodeProxyV2, type Tlv } from "../../../core/data_plane/preface/proxy_protocol.ts";
import {
  encodeStreamHeader,
  MAX_STREAM_HEADER_BYTES,
  parseStreamHeader,
  readStreamHeader,
  type StreamHeader,
  StreamHeaderFault,
} from "../../../plugins/ws-agent/stream_header.ts";
import { ScriptedStream, segmentsOf } from "../../core/data_plane/preface/scripted_stream.ts";

const SERVICE = "00010203-0405-0607-0809-0a0b0c0d0e0f";
const V4: StreamHeader = {
  source: { address: "203.0.113.9", port: 56_324 },
  destination: { address: "192.0.2.1", port: 443 },
  name: "app.example.com",
  connectionId: "c-7f3a",
  serviceId: SERVICE,
};
const V6: StreamHeader = {
  source: { address: "2001:db8::9", port: 1 },
  destination: { address: "2001:db8::1", port: 30_001 },
  connectionId: "x".repeat(128),
  serviceId: SERVICE,
};
const DATAGRAMS: StreamHeader = { ...V6, datagrams: true };
const LONGEST: StreamHeader = { ...V6, name: `${"a".repeat(60)}.`.repeat(4) + "example.x" };

const text = (value: string) => new TextEncoder().encode(value);
const SERVICE_TLV: Tlv = { type: 0xe0, value: Uint8Array.fromHex(SERVICE.replaceAll("-", "")) };
const ID_TLV: Tlv = { type: 5, value: text("c-1") };

Deno.test("encodeStreamHeader() writes a PROXY v2 header, byte for byte", () => {
  assert.equal(
    encodeStreamHeader(V4).toHex(),
    "0d0a0d0a000d0a515549540a" + "21" + "11" + "003a" + // PROXY, TCP over IPv4, 58 bytes
      "cb007109" + "c0000201" + "dc04" + "01bb" +
      "02000f" + text("app.example.com").toHex() +
      "050006" + text("c-7f3a").toHex() +
      "e00010" + "000102030405060708090a0b0c0d0e0f",
  );
});

for (
  const [what, header] of [["IPv4 and a name", V4], ["IPv6 and no name", V6], ["datagrams", DATAGRAMS], [
    "the longest values",
    LONGEST,
  ]] as const
) {
  Deno.test(`a stream header with ${what} is read at every cut, and nothing behind it`, async () => {
    const bytes = encodeStreamHeader(header);
    assert.ok(bytes.length <= 464, `${bytes.length}`);
    const seen = Uint8Array.of(...bytes, ...text("GET /"));
    for (let cut = 0; cut < bytes.length; cut++) {
      assert.equal(parseStreamHeader(bytes.subarray(0, cut)), undefined);
    }
    for (let cut = 1; cut <= seen.length; cut++) {
      const { header: read, rest } = await readStreamHeader(new ScriptedStream(segmentsOf(seen, [cut])));
      assert.deepEqual(read, header);
      assert.ok(cut < bytes.length || rest.length === cut - bytes.length, `${rest.length} behind ${cut}`);
      assert.deepEqual(rest, seen.subarray(bytes.length, bytes.length + rest.length));
    }
  });
}

Deno.test("readStreamHeader() gives what it has read behind the header", async () => {
  const header = encodeStreamHeader(V4), body = new Uint8Array(9000).fill(7);
  const seen = Uint8Array.of(...header, ...body);
  const { rest } = await readStreamHeader(new ScriptedStream([seen]), new Uint8Array(16_384));
  assert.deepEqual(rest, body);
  const inOne = await readStreamHeader(new ScriptedStream([seen]));
  assert.equal(inOne.rest.length, MAX_STREAM_HEADER_BYTES - header.length);
  await assert.rejects(readStreamHeader(new ScriptedStream([seen]), new Uint8Array(1000)), RangeError);
});

Deno.test("TLVs that are not known are passed over", () => {
  const bytes = encodeProxyV2(V4.source, V4.destination, [
    ID_TLV,
    { type: 0xe1, value: text("later") },
    SERVICE_TLV,
  ]);
  const { name: _, ...rest } = V4;
  assert.deepEqual(parseStreamHeader(bytes)?.header, { ...rest, connectionId: "c-1" });
});

const made = (...tlvs: Tlv[]) => encodeProxyV2(V4.source, V4.destination, tlvs);
const named = (name: Uint8Array) => made({ type: 2, value: name }, ID_TLV, SERVICE_TLV);

const BAD: readonly [what: string, bytes: Uint8Array, message: RegExp][] = [
  ["no header", text("GET / HTTP/1.1\r\n"), /without a PROXY v2/],
  ["a version 1 header", text("PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n"), /without a PROXY v2/],
  ["a version 1 header, cut", text("PRO"), /without a PROXY v2/],
  ["a signature that turns out wrong", Uint8Array.fromHex("0d0a0d0a000d0a515549540b"), /without a PROXY v2/],
  [
    "a LOCAL header",
    encodeProxyV2(undefined, undefined, [ID_TLV, SERVICE_TLV], "local"),
    /without addresses/,
  ],
  ["no addresses", encodeProxyV2(undefined, undefined, [ID_TLV, SERVICE_TLV]), /without addresses/],
  ["no connection id", made(SERVICE_TLV), /connection id/],
  ["an empty connection id", made({ type: 5, value: text("") }, SERVICE_TLV), /connection id/],
  ["a connection id with a line break", made({ type: 5, value: text("a\nb") }, SERVICE_TLV), /connection id/],
  ["a connection id that is not ASCII", made({ type: 5, value: text("é") }, SERVICE_TLV), /connection id/],
  ["two connection ids", made(ID_TLV, ID_TLV, SERVICE_TLV), /TLV 5 twice/],
  ["no service id", made(ID_TLV), /service id/],
  ["a service id of 15 bytes", made(ID_TLV, { type: 0xe0, value: new Uint8Array(15) }), /service id/],
  ["two service ids", made(ID_TLV, SERVICE_TLV, SERVICE_TLV), /TLV 224 twice/],
  ["a name in upper case", named(text("App.example.com")), /name/],
  ["a name with a NUL", named(text("a\0b")), /name/],
  ["a name with a final dot", named(text("app.example.com.")), /name/],
  ["an address for a name", named(text("10.0.0.1")), /name/],
  ["an empty name", named(text("")), /name/],
  [
    "two names",
    made({ type: 2, value: text("a") }, { type: 2, value: text("a") }, ID_TLV, SERVICE_TLV),
    /TLV 2 twice/,
  ],
  ["TLVs that overrun", encodeProxyV2(V4.source, V4.destination, [ID_TLV]).with(29, 9), /overrun/],
  [
    "more than 1,024 bytes",
    made(ID_TLV, SERVICE_TLV, { type: 0xe1, value: new Uint8Array(1000) }),
    /over 1024/,
  ],
];

for (const [what, bytes, message] of BAD) {
  Deno.test(`a stream is refused with ${what}`, async () => {
    await assert.rejects(readStreamHeader(new ScriptedStream([bytes])), (error) => {
      assert.ok(error instanceof StreamHeaderFault, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("a header that is too long is refused before it has come", () => {
  const bytes = made(ID_TLV, SERVICE_TLV, { type: 0xe1, value: new Uint8Array(60_000) });
  assert.throws(() => parseStreamHeader(bytes.subarray(0, 16)), StreamHeaderFault);
});

Deno.test("a stream that ends in its header is a fault, and one that is reset rejects as it does", async () => {
  const start = encodeStreamHeader(V4).subarray(0, 20);
  await assert.rejects(readStreamHeader(new ScriptedStream([start])), StreamHeaderFault);
  await assert.rejects(
    readStreamHeader(new ScriptedStream([start], new Deno.errors.ConnectionReset("reset"))),
    Deno.errors.ConnectionReset,
  );
});

for (
  const [what, change] of [
    ["an id with a space", { connectionId: "a b" }],
    ["an id over 128", { connectionId: "x".repeat(129) }],
    ["no id", { connectionId: "" }],
    ["a service id that is no UUID", { serviceId: "1" }],
    ["a name that is not canonical", { name: "App.example.com" }],
    ["an address that is none", { source: { address: "x", port: 1 } }],
  ] as const
) {
  Deno.test(`encodeStreamHeader() refuses ${what}`, () => {
    assert.throws(() => encodeStreamHeader({ ...V4, ...change }), RangeError);
  });
}
