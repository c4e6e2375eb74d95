import assert from "node:assert/strict";
import { encodeErrorResponse, parsePostgresOpening } from "../../../../core/data_plane/preface/postgres.ts";
import * as samples from "./samples.ts";
import { bytes, startup } from "./samples.ts";

const hex = Uint8Array.fromHex;

const CASES: readonly [name: string, packet: Uint8Array, expected: string][] = [
  ["SSLRequest", samples.SSL_REQUEST, "ssl-request"],
  ["GSSENCRequest", samples.GSSENC_REQUEST, "gssenc-request"],
  ["CancelRequest", samples.CANCEL_REQUEST, "cancel-request"],
  ["CancelRequest with the longest key of protocol 3.2", samples.LONG_CANCEL_REQUEST, "cancel-request"],
  ["StartupMessage 3.0", samples.STARTUP, "startup"],
  ["StartupMessage 3.2", startup("user\0a\0", [0, 3, 0, 2]), "startup"],
  ["StartupMessage with an empty value", startup("user\0a\0options\0\0"), "startup"],
  ["StartupMessage without parameters", startup(""), "startup"],
  ["SSLRequest of 9 bytes", hex("0000000904d2162f00"), "malformed"],
  ["SSLRequest of 7 bytes", hex("0000000704d2162f"), "malformed"],
  ["GSSENCRequest of 12 bytes", hex("0000000c04d2163000000000"), "malformed"],
  ["CancelRequest of 12 bytes", hex("0000000c04d2162e00000000"), "malformed"],
  ["CancelRequest of 269 bytes", bytes(hex("0000010d04d2162e"), new Uint8Array(261)), "malformed"],
  ["StartupMessage of 8 bytes", hex("0000000800030000"), "malformed"],
  ["StartupMessage of length 0", hex("0000000000030000"), "malformed"],
  ["StartupMessage over 10,000 bytes", hex("0000271100030000"), "malformed"],
  ["StartupMessage with a name without value", startup("user\0"), "malformed"],
  ["StartupMessage without its last NUL", hex("0000000d000300007573657200"), "malformed"],
  ["StartupMessage with bytes behind its end", startup("user\0a\0\0x"), "malformed"],
  ["StartupMessage 2.0", hex("0000000900020000ff"), "no"],
  ["another code", hex("0000000804d21631"), "no"],
  ["a length over 65,535", hex("0001000804d2162f"), "no"],
  ["a first byte that is not 0", hex("16030100"), "no"],
  ["a yamux header", hex("000000010000000100000000"), "no"],
];

for (const [name, packet, expected] of CASES) {
  Deno.test(`parsePostgresOpening() of ${name} is ${expected}`, () => {
    const parsed = parsePostgresOpening(packet);
    assert.equal(parsed.kind === "yes" ? parsed.value : parsed.kind, expected);
    if (parsed.kind === "yes") assert.equal(parsed.length, packet.length);
  });
}

Deno.test("parsePostgresOpening() asks for more at every cut, and ignores what follows the packet", () => {
  for (const [name, packet, expected] of CASES) {
    if (expected === "malformed" || expected === "no") continue;
    for (let cut = 0; cut < packet.length; cut++) {
      const parsed = parsePostgresOpening(packet.subarray(0, cut));
      assert.equal(parsed.kind, "more", `${name} cut at ${cut}`);
      assert.ok(parsed.kind === "more" && parsed.total > cut && parsed.total <= packet.length);
    }
    const followed = parsePostgresOpening(bytes(packet, "more"));
    assert.ok(followed.kind === "yes" && followed.length === packet.length, name);
  }
});

Deno.test("encodeErrorResponse() writes a FATAL error that names state and message", () => {
  const packet = encodeErrorResponse("28000", "No TLS");
  assert.equal(String.fromCharCode(...packet.subarray(5)), "SFATAL\0VFATAL\0C28000\0MNo TLS\0\0");
  assert.equal(packet[0], 0x45);
  assert.equal(new DataView(packet.buffer).getUint32(1), packet.length - 1);
});

Deno.test("encodeErrorResponse() refuses what would be read back as another packet", () => {
  assert.throws(() => encodeErrorResponse("2800", "x"), RangeError);
  assert.throws(() => encodeErrorResponse("2800\0", "x"), RangeError);
  assert.throws(() => encodeErrorResponse("28000", "x\0Cfoo"), RangeError);
});
