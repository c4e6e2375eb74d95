import assert from "node:assert/strict";
import { applyMask, freshMaskingKey, rotatedKey } from "../../../../plugins/ws-agent/websocket/masking.ts";
import { numbered } from "./frames.ts";

const KEY = 0x3d21fa37 | 0, KEY_BYTES = [0x37, 0xfa, 0x21, 0x3d];

Deno.test("applyMask() masks RFC 6455's example", () => {
  const bytes = new TextEncoder().encode("Hello");
  applyMask(bytes, 0, bytes.length, KEY);
  assert.equal(bytes.toHex(), "7f9f4d5158");
});

Deno.test("applyMask() does the same at every alignment and length, and touches nothing beside", () => {
  for (let offset = 0; offset < 9; offset++) {
    for (let length = 0; length < 200; length++) {
      const whole = numbered(offset + 5 + length + 9);
      const expected = whole.map((byte, i) => {
        const at = i - offset - 5;
        return at >= 0 && at < length ? byte ^ (KEY_BYTES[at % 4] ?? 0) : byte;
      });
      applyMask(whole.subarray(offset), 5, 5 + length, KEY);
      assert.deepEqual(whole, expected, `offset ${offset}, length ${length}`);
    }
  }
});

Deno.test("rotatedKey() goes on with a payload at any cut", () => {
  const whole = numbered(300), inTwo = whole.slice();
  applyMask(whole, 0, 300, KEY);
  for (let cut = 0; cut <= 300; cut++) {
    const bytes = inTwo.slice();
    applyMask(bytes, 0, cut, KEY);
    applyMask(bytes, cut, 300, rotatedKey(KEY, cut));
    assert.deepEqual(bytes, whole, `cut ${cut}`);
  }
});

Deno.test("freshMaskingKey() gives another key each time", () => {
  const keys = new Set(Array.from({ length: 5000 }, freshMaskingKey));
  assert.ok(keys.size > 4990, `${keys.size} of 5000`); // two of 2³² meet by chance once in 300 runs
});
