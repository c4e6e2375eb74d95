import assert from "node:assert/strict";
import { BufferPool } from "../../../core/data_plane/buffers.ts";

Deno.test("no more buffers are out at a time than the pool may lend, however many come and go", () => {
  const pool = new BufferPool(8, 3, 1);
  for (let round = 0; round < 10; round++) {
    const taken = [pool.take(), pool.take(), pool.take()];
    assert.ok(taken.every((buffer) => buffer?.length === 8));
    assert.equal(new Set(taken).size, 3, "nobody shares a buffer");
    assert.equal(pool.available, false);
    assert.equal(pool.take(), undefined);
    for (const buffer of taken) pool.give(buffer ?? assert.fail());
    assert.equal(pool.available, true);
  }
});

Deno.test("a buffer that comes back is lent again; past maxSpare it is left to the garbage collector", () => {
  const pool = new BufferPool(8, 10, 2);
  const first = [0, 1, 2, 3].map(() => pool.take() ?? assert.fail());
  first.forEach((buffer) => pool.give(buffer));
  const second = [0, 1, 2, 3].map(() => pool.take() ?? assert.fail());
  assert.equal(second.filter((buffer) => first.includes(buffer)).length, 2);
});

Deno.test("a pool without a bound lends for ever", () => {
  const pool = new BufferPool(1, Infinity, 4);
  for (let i = 0; i < 10_000; i++) assert.ok(pool.take());
  assert.ok(pool.available);
});
