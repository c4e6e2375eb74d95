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

Deno.test("ReceivedBytes lends what is first, and keeps it until it is given back", () => {
  using lent = new LentBuffers();
  const bytes = new ReceivedBytes();
  const all = pattern(100_000);
  bytes.put(all, 0, 60_000);
  const first = bytes.lend();
  bytes.put(all, 60_000, all.length);
  assert.deepEqual(first, all.subarray(0, first.length));
  assert.equal(bytes.giveBack(10), 10);
  assert.equal(bytes.length, all.length - 10);
  const again = bytes.lend();
  assert.equal(again[0], all[10]);
  assert.equal(bytes.clear(), all.length - 10);
  assert.equal(lent.count(64 * 1024), 1);
  assert.equal(again[0], all[10]);
  assert.equal(bytes.giveBack(5), 0);
  assert.equal(lent.count(), 0);
});

Deno.test("ReceivedBytes makes room at once for what is to follow", () => {
  const bytes = new ReceivedBytes();
  const all = pattern(30_000);
  for (let at = 0; at < all.length; at += 1000) bytes.put(all, at, at + 1000, all.length - at - 1000);
  assert.deepEqual(bytes.lend(), all);
  bytes.giveBack(0);
  bytes.clear();
});

Deno.test("ReceivedBytes holds about what was put in, however small the pieces", () => {
  using lent = new LentBuffers();
  const bytes = new ReceivedBytes();
  for (let i = 0; i < 256 * 1024; i++) bytes.put(Uint8Array.of(1), 0, 1);
  const large = lent.count(64 * 1024);
  assert.ok(large === 3 || large === 4, `${large} large segments`);
  bytes.clear();
});
