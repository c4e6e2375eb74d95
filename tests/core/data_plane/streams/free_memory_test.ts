import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { StreamDuplex } from "../../../../core/data_plane/streams/duplex.ts";
import { DuplexStream } from "../../../../core/data_plane/streams/duplex_stream.ts";
import { freeMemory, isAlone } from "../../../../core/data_plane/streams/free_memory.ts";
import { readToEnd } from "../../../support/echo.ts";
import { pipe } from "../../../support/pipe.ts";

const BULK = 50_000;

function filled(length: number, value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(value);
}

/** A Duplex that takes what is pushed, and does nothing. */
function source(): Duplex {
  return new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
}

Deno.test("isAlone() tells bytes with a memory of their own from those that share one", () => {
  assert.ok(isAlone(new Uint8Array(10)));
  assert.ok(!isAlone(new Uint8Array(10).subarray(1)));
  assert.ok(!isAlone(new Uint8Array(10).subarray(0, 9)));
  assert.ok(!isAlone(new Uint8Array(new SharedArrayBuffer(10))));
});

Deno.test("freeMemory() empties bulk, and leaves little ones alone", () => {
  const [large, small] = [new Uint8Array(BULK), new Uint8Array(100)];
  freeMemory(large);
  freeMemory(small);
  assert.deepEqual([large.length, small.length], [0, 100]);
});

for (const freeing of [false, true]) {
  for (const how of ["one by one", "several at once"] as const) {
    Deno.test(`a StreamDuplex frees what was sent ${how}, if it is to (freeing: ${freeing})`, async () => {
      const [near, far] = pipe({ capacity: 1000 });
      const duplex = new StreamDuplex(near, { freeing });
      const receiving = readToEnd(far);
      const [first, alone, shared] = [filled(10, 1), filled(BULK, 2), filled(2 * BULK, 3)];
      for (const chunk of [first, alone, shared.subarray(0, BULK)]) {
        const sent = new Promise((resolve) => duplex.write(chunk, resolve));
        if (chunk === alone) assert.equal(alone.length, BULK);
        if (how === "one by one") await sent;
      }
      await new Promise<void>((resolve) => duplex.end(resolve));
      assert.ok(Buffer.concat([first, filled(BULK, 2), filled(BULK, 3)]).equals(await receiving));
      assert.equal(alone.length, freeing ? 0 : BULK);
      assert.equal(shared.length, 2 * BULK);
      duplex.destroy();
    });
  }

  Deno.test(`a DuplexStream frees what was read, once all of it was, if it is to (freeing: ${freeing})`, async () => {
    const duplex = source();
    const stream = new DuplexStream(duplex, { freeing });
    const [first, second] = [filled(BULK, 1), filled(BULK, 2)];
    const into = new Uint8Array(BULK + 1000);
    const reading = stream.read(into.subarray(0, 1000));
    duplex.push(first);
    duplex.push(second);
    assert.equal(await reading, 1000);
    assert.equal(first.length, BULK);
    assert.equal(await stream.read(into), BULK + 1000);
    assert.deepEqual(into.subarray(0, BULK - 1000), filled(BULK - 1000, 1));
    assert.deepEqual(into.subarray(BULK - 1000), filled(2000, 2));
    assert.deepEqual([first.length, second.length], [freeing ? 0 : BULK, BULK]);
    assert.equal(await stream.read(into), BULK - 2000);
    assert.equal(second.length, freeing ? 0 : BULK);
    stream.close();
  });
}

Deno.test("a DuplexStream frees nothing any more once a piece has come that shares its memory", async () => {
  const duplex = source();
  const stream = new DuplexStream(duplex, { freeing: true });
  const memory = filled(2 * BULK, 1);
  const last = filled(BULK, 2);
  const into = new Uint8Array(BULK);
  for (const piece of [memory.subarray(0, BULK), memory.subarray(BULK), last]) {
    duplex.push(piece);
    for (let left = BULK; left > 0;) left -= await stream.read(into) ?? 0;
  }
  assert.deepEqual([memory.length, last.length], [2 * BULK, BULK]);
  stream.close();
});
