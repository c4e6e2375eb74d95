import assert from "node:assert/strict";
import { GivenMemory, LentMemory } from "../../../../core/data_plane/streams/read_memory.ts";

const SMALL = 4096;
const SMALL_LENT = 2048;
const LARGE = 65536;
const BIG = 256 * 1024;

for (
  const [name, Memory, small, most] of [
    ["given", GivenMemory, SMALL, LARGE],
    ["lent", LentMemory, SMALL_LENT, BIG],
  ] as const
) {
  Deno.test(`Memory that is ${name} grows when a read has filled it, and shrinks when little came`, () => {
    const memory = new Memory();
    const sizes = [small, 5000, 40_000, most, 17, 17].map((length) => {
      memory.hand(length);
      memory.handed(length, false, false);
      return memory.bytes.length;
    });
    assert.deepEqual(sizes, [most, most, most, most, small, small]);
    memory.release();
  });
}

for (const length of [10, SMALL, 40_000, LARGE]) {
  Deno.test(`A reader that was given ${length} bytes may keep them`, () => {
    const memory = new GivenMemory();
    if (length > SMALL) memory.handed(SMALL);
    memory.bytes.fill(1);
    const given = memory.hand(length);
    memory.handed(length);
    memory.bytes.fill(2);
    assert.equal(given.length, length);
    assert.ok(given.every((byte) => byte === 1));
  });
}

for (const length of [10, SMALL_LENT, 40_000, BIG]) {
  Deno.test(`A reader that lays aside the ${length} bytes it was lent keeps them`, () => {
    const memory = new LentMemory();
    if (length > SMALL_LENT) memory.handed(SMALL_LENT, false, false);
    memory.bytes.fill(1);
    const lent = memory.hand(length);
    memory.handed(length, true, false);
    memory.bytes.fill(2);
    assert.ok(lent.every((byte) => byte === 1));
    memory.release();
  });
}

Deno.test("Lent memory is the same again", () => {
  const memory = new LentMemory();
  const first = memory.hand(100);
  memory.handed(100, false, false);
  assert.equal(memory.hand(100).buffer, first.buffer);
});

Deno.test("Few streams have a big buffer at a time: the others make do with a smaller one", () => {
  const memories = Array.from({ length: 65 }, () => new LentMemory());
  for (const memory of memories) memory.handed(SMALL_LENT, false, false);
  assert.deepEqual([memories[0]?.bytes.length, memories[64]?.bytes.length], [BIG, LARGE]);

  memories[0]?.release();
  memories[0]?.release();
  memories[64]?.release();
  memories[64]?.handed(SMALL_LENT, false, false);
  memories[0]?.handed(SMALL_LENT, false, false);
  assert.deepEqual([memories[64]?.bytes.length, memories[0]?.bytes.length], [BIG, LARGE]);
  for (const memory of memories) memory.release();
});

Deno.test("Who is behind keeps its big buffer, whatever came last", () => {
  const memory = new LentMemory();
  memory.handed(SMALL_LENT, false, false);
  memory.handed(10, false, true);
  assert.equal(memory.bytes.length, BIG);
  memory.handed(10, false, false);
  assert.equal(memory.bytes.length, SMALL_LENT);
});
