import assert from "node:assert/strict";
import fc from "fast-check";
import { ReceivedBytes } from "../../../../plugins/ws-agent/yamux/received_bytes.ts";
import { LentBuffers } from "../../../core/data_plane/lent_buffers.ts";
import { pattern } from "./raw_peer.ts";

Deno.test("ReceivedBytes gives what was put in, in order, in pieces of any size", () => {
  const size = fc.oneof(fc.nat(20), fc.nat(3000), fc.nat(150_000));
  fc.assert(fc.property(fc.array(fc.record({ put: size, take: size }), { maxLength: 20 }), (steps) => {
    using lent = new LentBuffers();
    const all = pattern(steps.reduce((sum, { put }) => sum + put, 0));
    const bytes = new ReceivedBytes();
    let [into, out] = [0, 0];
    for (const { put, take } of steps) {
      bytes.put(all, into, into + put);
      into += put;
      const taken = new Uint8Array(take);
      const length = bytes.take(taken);
      assert.equal(length, Math.min(take, into - out));
      assert.deepEqual(taken.subarray(0, length), all.subarray(out, out + length));
      out += length;
      assert.equal(bytes.length, into - out);
    }
    assert.equal(bytes.clear(), into - out);
    assert.equal(bytes.length, 0);
    assert.equal(lent.count(), 0);
  }));
});

Deno.test("ReceivedBytes holds about what was put in, however small the pieces", () => {
  using lent = new LentBuffers();
  const bytes = new ReceivedBytes();
  for (let i = 0; i < 256 * 1024; i++) bytes.put(Uint8Array.of(1), 0, 1);
  const large = lent.count(64 * 1024);
  assert.ok(large === 3 || large === 4, `${large} large segments`);
  bytes.clear();
});
