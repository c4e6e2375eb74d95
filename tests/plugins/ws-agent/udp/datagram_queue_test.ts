import assert from "node:assert/strict";
import { DatagramFrames } from "../../../../plugins/ws-agent/udp/datagram_frames.ts";
import { DatagramQueue, QueueMemory } from "../../../../plugins/ws-agent/udp/datagram_queue.ts";
import { Random } from "../../../fuzz/fuzz.ts";

function unframed(bytes: Uint8Array): Uint8Array[] {
  const frames = new DatagramFrames();
  const all = [];
  frames.feed(bytes);
  for (let one; (one = frames.next()) !== undefined;) all.push(one.slice());
  assert.ok(frames.isBetween);
  return all;
}

Deno.test("a queue keeps the newest, in order, whatever comes and goes", () => {
  const random = new Random(7);
  const memory = new QueueMemory(1024 * 1024);
  const queue = new DatagramQueue(memory);
  let expected: Uint8Array[] = [];
  for (let step = 0; step < 3000; step++) {
    if (random.below(40) === 0) {
      assert.deepEqual(unframed(queue.take()), expected);
      expected = [];
      if (random.below(2) === 0) queue.trim();
    } else {
      const length = random.pick([0, 1, 100, 1472, 20_000, 65_507]);
      const datagram = new Uint8Array(length).fill(step);
      expected.push(datagram);
      const dropped = queue.put(datagram);
      expected = expected.slice(dropped);
    }
    assert.equal(queue.length, expected.length);
    assert.ok(expected.reduce((sum, { length }) => sum + length + 2, 0) <= 128 * 1024);
    assert.ok(expected.length > 0 || queue.isEmpty);
  }
  queue.close();
  assert.ok(memory.claim(1024 * 1024));
});

Deno.test("two of the largest datagrams wait together only as far as there is room; one always does", () => {
  const queue = new DatagramQueue(new QueueMemory(1024 * 1024));
  assert.equal(queue.put(new Uint8Array(65_507)), 0);
  assert.equal(queue.put(new Uint8Array(65_507)), 0);
  assert.equal(queue.put(new Uint8Array(100)), 1);
});

Deno.test("an ordinary datagram has room, whatever others hold", () => {
  const memory = new QueueMemory(0);
  const queue = new DatagramQueue(memory);
  for (let i = 0; i < 100; i++) {
    assert.equal(queue.put(new Uint8Array(1472)), 0);
    assert.equal(queue.take().length, 1474);
    queue.trim();
  }
  queue.close();
  assert.ok(!memory.claim(1));
});

Deno.test("without memory a datagram is dropped by itself", () => {
  const queue = new DatagramQueue(new QueueMemory(2048));
  assert.equal(queue.put(new Uint8Array(5000)), 1);
  assert.ok(queue.isEmpty);
  assert.equal(queue.put(new Uint8Array(500)), 0);
});
