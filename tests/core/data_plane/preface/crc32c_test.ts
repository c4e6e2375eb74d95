import assert from "node:assert/strict";
import { crc32c } from "../../../../core/data_plane/preface/crc32c.ts";

// The values of RFC 3720 appendix B.4, and the usual check value of the algorithm.
for (
  const [what, data, sum] of [
    ["nothing", new Uint8Array(0), 0],
    ["123456789", new TextEncoder().encode("123456789"), 0xe3069283],
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["0 to 31", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ] as const
) {
  Deno.test(`crc32c() of ${what} is ${sum.toString(16)}`, () => assert.equal(crc32c(data), sum));
}
