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
  Deno.test(`a StreamDuplex frees what was sent, once all of it was, if it is to (freeing: ${freeing})`, async () => {
    const [near, far] = pipe({ capacity: 1000 });
    const duplex = new StreamDuplex(near, { freeing });
    const [alone, shared] = [filled(BULK, 1), filled(2 * BULK, 2)];
    const written = new Promise<void>((resolve, reject) => {
      duplex.write(alone, (error) => error ? reject(error) : assert.equal(alone.length, freeing ? 0 : BULK));
      duplex.write(shared.subarray(0, BULK)); // the two go out as one, because the first still waits
      duplex.end(filled(10, 3), resolve);
    });
    assert.equal(alone.length, BULK);
    const received = await readToEnd(far);
    await written;
    const expected = Buffer.concat([filled(BULK, 1), filled(BULK, 2), filled(10, 3)]);
    assert.ok(expected.equals(received));
    assert.equal(shared.length, 2 * BULK);
    duplex.destroy();
  });

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
