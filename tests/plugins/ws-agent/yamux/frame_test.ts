import assert from "node:assert/strict";
import {
  emptyHeader,
  HEADER_BYTES,
  type HeaderFault,
  parseHeader,
  writeHeader,
} from "../../../../plugins/ws-agent/yamux/frame.ts";

const GOOD: readonly { name: string; hex: string; is: [number, number, number, number] }[] = [
  { name: "data", hex: "000000000000000100000400", is: [0, 0, 1, 1024] },
  { name: "data with FIN", hex: "000000040000000200000000", is: [0, 4, 2, 0] },
  { name: "a stream that is opened and ended", hex: "000000050000000100000003", is: [0, 5, 1, 3] },
  { name: "the largest numbers", hex: "00000000ffffffffffffffff", is: [0, 0, 2 ** 32 - 1, 2 ** 32 - 1] },
  { name: "a window update with SYN", hex: "000100010000000700000000", is: [1, 1, 7, 0] },
  { name: "a window update with ACK", hex: "000100020000000700040000", is: [1, 2, 7, 262144] },
  { name: "a reset", hex: "000100080000000700000000", is: [1, 8, 7, 0] },
  { name: "a ping", hex: "00020001000000000000abcd", is: [2, 1, 0, 0xabcd] },
  { name: "a ping's answer", hex: "00020002000000000000abcd", is: [2, 2, 0, 0xabcd] },
  { name: "go-away", hex: "000300000000000000000002", is: [3, 0, 0, 2] },
];

const BAD: readonly { name: string; hex: string; fault: HeaderFault }[] = [
  { name: "version 1", hex: "010000000000000100000000", fault: "version" },
  { name: "type 4", hex: "000400000000000100000000", fault: "type" },
  { name: "an unknown flag", hex: "000000100000000100000000", fault: "flags" },
  { name: "an unknown flag in the high byte", hex: "000001000000000100000000", fault: "flags" },
  { name: "SYN with ACK", hex: "000100030000000100000000", fault: "flags" },
  { name: "SYN with RST", hex: "000100090000000100000000", fault: "flags" },
  { name: "data for the session", hex: "000000000000000000000001", fault: "stream id" },
  { name: "a window update for the session", hex: "000100000000000000000001", fault: "stream id" },
  { name: "a ping without flags", hex: "000200000000000000000001", fault: "flags" },
  { name: "a ping that is its own answer", hex: "000200030000000000000001", fault: "flags" },
  { name: "a ping for a stream", hex: "000200010000000100000001", fault: "stream id" },
  { name: "go-away with a flag", hex: "000300010000000000000000", fault: "flags" },
  { name: "go-away for a stream", hex: "000300000000000100000000", fault: "stream id" },
  { name: "go-away with an unknown code", hex: "000300000000000000000003", fault: "go-away code" },
];

for (const { name, hex, is: [type, flags, streamId, length] } of GOOD) {
  Deno.test(`parseHeader() reads ${name}, wherever it begins`, () => {
    const bytes = Uint8Array.fromHex(`ffff${hex}ffff`);
    const header = emptyHeader();
    assert.equal(parseHeader(bytes, 2, bytes.length, header), "yes");
    assert.deepEqual(header, { type, flags, streamId, length });
  });

  Deno.test(`parseHeader() wants more of ${name} at every cut`, () => {
    const bytes = Uint8Array.fromHex(hex);
    for (let end = 0; end < HEADER_BYTES; end++) {
      assert.equal(parseHeader(bytes, 0, end, emptyHeader()), "more");
    }
  });

  Deno.test(`writeHeader() writes ${name}`, () => {
    const bytes = new Uint8Array(HEADER_BYTES + 3);
    assert.equal(writeHeader(bytes, 3, type, flags, streamId, length), bytes.length);
    assert.equal(bytes.toHex(), `000000${hex}`);
  });
}

for (const { name, hex, fault } of BAD) {
  Deno.test(`parseHeader() refuses ${name}`, () => {
    assert.equal(parseHeader(Uint8Array.fromHex(hex), 0, HEADER_BYTES, emptyHeader()), fault);
  });
}
