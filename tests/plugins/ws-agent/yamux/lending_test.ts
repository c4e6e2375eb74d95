import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { DATA, SYN, WINDOW_UPDATE } from "../../../../plugins/ws-agent/yamux/frame.ts";
import { LentBuffers } from "../../../core/data_plane/lent_buffers.ts";
import { frame, pair, pattern, settled, withPeer } from "./raw_peer.ts";

const BULK = 64 * 1024;

Deno.test("borrow() gives all bytes in order, then null at FIN, and holds nothing meanwhile", async () => {
  using lent = new LentBuffers();
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const data = pattern(1_000_000);
  const sent = writeAll(near, data).then(() => near.closeWrite());
  let at = 0;
  for (let bytes; (bytes = await far.borrow()) !== null;) {
    assert.deepEqual(bytes, data.subarray(at, at + bytes.length));
    at += bytes.length;
    far.giveBack(bytes.length);
  }
  assert.equal(at, data.length);
  await sent;
  assert.equal(lent.count(BULK), 0);
});

Deno.test("what is given back half used comes again, before what came behind it", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  await writeAll(near, pattern(100));
  assert.deepEqual(await far.borrow(), pattern(100));
  far.giveBack(40);
  await writeAll(near, Uint8Array.of(1, 2, 3));
  await settled();
  const rest = new Uint8Array(100);
  assert.equal(await far.read(rest), 63);
  assert.deepEqual(rest.subarray(0, 63), Uint8Array.of(...pattern(100).subarray(40), 1, 2, 3));
});

Deno.test("borrowed bytes stay as they are when the stream is closed and others use memory", async () => {
  using lent = new LentBuffers();
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const [otherNear, otherFar] = await sessions.connect();
  const data = pattern(BULK);
  await writeAll(near, data);
  const bytes = await far.borrow();
  assert.equal(bytes?.length, BULK);
  assert.equal(lent.count(BULK), 1);
  far.close();
  await writeAll(otherNear, new Uint8Array(BULK));
  await settled();
  assert.deepEqual(bytes, data);
  far.giveBack(10);
  assert.equal(lent.count(BULK), 1); // the other's
  const into = new Uint8Array(BULK);
  for (let at = 0; at < into.length;) at += await otherFar.read(into.subarray(at)) ?? 0;
  assert.equal(lent.count(BULK), 0);
});

Deno.test("borrow() is a read: not beside another one, not while bytes are lent, and not after close()", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const pending = far.borrow();
  await assert.rejects(far.borrow(), TypeError);
  await assert.rejects(far.read(new Uint8Array(1)), TypeError);
  await writeAll(near, pattern(3));
  assert.equal((await pending)?.length, 3);
  await assert.rejects(far.borrow(), TypeError);
  far.giveBack(3);
  const interrupted = assert.rejects(far.borrow(), Deno.errors.Interrupted);
  far.close();
  await interrupted;
  await assert.rejects(far.borrow(), Deno.errors.BadResource);
});

Deno.test("borrow() gives what came before a reset, and then rejects", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  await writeAll(near, pattern(5));
  await settled();
  near.reset();
  await settled();
  assert.deepEqual(await far.borrow(), pattern(5));
  far.giveBack(5);
  await assert.rejects(far.borrow(), Deno.errors.ConnectionReset);
});

Deno.test("bytes that are lent hold the sender back, until they are given back", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const sent = writeAll(near, new Uint8Array(400_000));
  const first = await far.borrow();
  await settled();
  const { bytesRead } = sessions.server;
  await settled();
  assert.equal(sessions.server.bytesRead, bytesRead);
  far.giveBack(first?.length ?? 0);
  for (let left = 400_000 - (first?.length ?? 0); left > 0;) {
    const bytes = await far.borrow();
    left -= bytes?.length ?? 0;
    far.giveBack(bytes?.length ?? 0);
  }
  await sent;
});

Deno.test("what lies ready in several reads of the transport is handed out as one", async () => {
  using test = withPeer({}, { carry: () => 1000 });
  await test.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0));
  await settled();
  const [stream] = test.taken;
  const borrowing = stream?.borrow();
  await test.peer.send(frame(DATA, 0, 1, 0, pattern(10_000)));
  assert.deepEqual(await borrowing, pattern(10_000));
});

Deno.test("what lies ready is not waited for beyond 64 KiB", async () => {
  using test = withPeer({}, { carry: () => 1000 });
  await test.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0));
  await settled();
  const [stream] = test.taken;
  const reading = stream?.read(new Uint8Array(1024 * 1024));
  await test.peer.send(frame(DATA, 0, 1, 0, pattern(200_000)));
  const length = await reading ?? 0;
  assert.ok(length >= BULK && length < BULK + 2000, `${length} bytes`);
});
