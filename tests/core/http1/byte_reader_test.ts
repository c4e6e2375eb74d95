import assert from "node:assert/strict";
import { ByteReader } from "../../../core/http1/mod.ts";
import { Random } from "../../fuzz/fuzz.ts";
import { pipe } from "../../support/pipe.ts";
import { inPiecesOf, streamOf } from "./read_all.ts";

/** `length` bytes that tell where they belong. */
function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8) & 0xff);
}

/** `deepEqual` takes seconds for these. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

Deno.test("ByteReader keeps every byte in order, however they are read and consumed", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = new Random(seed);
  for (let round = 0; round < 30; round++) {
    const sent = pattern(random.below(round % 3 === 0 ? 600_000 : 20_000));
    const first = random.below(3) === 0 ? random.below(Math.min(sent.length, 30_000) + 1) : 0;
    const size = 1 + random.below(round % 2 === 0 ? 300_000 : 900);
    const reader = new ByteReader(streamOf(inPiecesOf(size, sent.subarray(first))), sent.subarray(0, first));
    let at = 0;
    do {
      const taken = reader.available > 20_000 ? reader.available : random.below(reader.available + 1);
      assert.deepEqual(
        reader.bytes.subarray(0, taken),
        sent.subarray(at, at + taken),
        `seed ${seed}, round ${round}`,
      );
      reader.consume(taken);
      at += taken;
    } while (await reader.fill());
    assert(same(reader.bytes, sent.subarray(at)), `seed ${seed}, round ${round}`);
    assert.equal(await reader.fill(), false, "FIN stays");
    reader.release();
  }
});

Deno.test("ByteReader holds a head of 32 KiB together, and refuses to read on without end", async () => {
  const reader = new ByteReader(streamOf(inPiecesOf(1000, pattern(100_000))));
  await assert.rejects(async () => {
    while (await reader.fill());
  }, RangeError);
  assert(reader.available >= 32 * 1024);
  assert.deepEqual(reader.bytes, pattern(100_000).subarray(0, reader.available));
  reader.consume(reader.available);
  assert.equal(await reader.fill(), true);
  reader.release();
});

Deno.test("ByteReader waits with a small buffer, reads bulk with large ones, and is small again", async () => {
  const sizes: number[] = [];
  const lengths = [2048, 1e9, 1e9, 100, 100];
  const reader = new ByteReader({
    ...streamOf([]),
    read(into) {
      sizes.push(into.length);
      return Promise.resolve(Math.min(into.length, lengths[sizes.length - 1] ?? 0));
    },
  });
  for (const _ of lengths) {
    await reader.fill();
    reader.consume(reader.available);
  }
  const [first = 0, second = 0, third = 0, fourth = 0, fifth = 0] = sizes;
  assert(first < 2048 && fifth === first, `${sizes}`);
  assert(second > 200_000 && third === second && fourth === second, `${sizes}`);
  reader.release();
});

Deno.test("ByteReader asks for nothing more behind FIN", async () => {
  let reads = 0;
  const reader = new ByteReader({
    ...streamOf([]),
    read: () => Promise.resolve(reads++ === 0 ? null : 1),
  });
  assert.equal(await reader.fill(), false);
  assert.equal(await reader.fill(), false);
  assert.equal(reads, 1);
  reader.release();
});

Deno.test("ByteReader gives its buffer back once, and takes another when it reads on", async () => {
  const [near, far] = pipe();
  const reader = new ByteReader(near, pattern(10));
  reader.release();
  reader.release();
  assert.equal(reader.available, 0);
  assert.deepEqual(reader.bytes, new Uint8Array());
  await far.write(pattern(5));
  assert.equal(await reader.fill(), true);
  assert.deepEqual(reader.bytes, pattern(5));
  assert.throws(() => reader.consume(6), RangeError);
  reader.release();
  near.close();
  far.close();
});

Deno.test("ByteReader passes on what the stream throws", async () => {
  const [near, far] = pipe();
  const reader = new ByteReader(near);
  far.abort();
  await assert.rejects(reader.fill(), Deno.errors.ConnectionReset);
  reader.release();
  near.close();
  far.close();
});
