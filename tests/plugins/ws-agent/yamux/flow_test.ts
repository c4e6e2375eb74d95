import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import {
  ACK,
  DATA,
  INITIAL_WINDOW_BYTES,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
} from "../../../../plugins/ws-agent/yamux/frame.ts";
import type { YamuxStream } from "../../../../plugins/ws-agent/yamux/mod.ts";
import { LentBuffers } from "../../../core/data_plane/lent_buffers.ts";
import { until } from "../../../support/until.ts";
import { frame, pair, pattern, settled, withPeer } from "./raw_peer.ts";

/** Writes until it fails. */
async function flood(to: YamuxStream): Promise<void> {
  const data = new Uint8Array(256 * 1024);
  try {
    for (;;) await writeAll(to, data);
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
}

/** Reads and drops until it fails or ends. */
async function drain(from: YamuxStream): Promise<void> {
  const into = new Uint8Array(256 * 1024);
  try {
    while (await from.read(into) !== null);
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
}

Deno.test("a reader that reads nothing holds its writer back, and no other stream", async () => {
  const sessions = pair();
  const [slow] = await sessions.connect();
  const flooding = flood(slow);
  await until(() => sessions.server.bytesRead === INITIAL_WINDOW_BYTES, { what: "a full window" });
  const [near, far] = await sessions.connect();
  await writeAll(near, pattern(1000));
  assert.equal(await far.read(new Uint8Array(2000)), 1000);
  assert.equal(sessions.server.bytesRead, INITIAL_WINDOW_BYTES + 1000);
  sessions[Symbol.dispose]();
  await flooding;
});

Deno.test("no memory is held for bulk once it has been read", async () => {
  using lent = new LentBuffers();
  const sessions = pair();
  const [near, far] = await sessions.connect();
  const data = pattern(700_000);
  const sent = writeAll(near, data);
  await settled();
  const got = new Uint8Array(data.length);
  for (let at = 0; at < got.length;) at += await far.read(got.subarray(at)) ?? 0;
  await sent;
  assert.deepEqual(got, data);
  await writeAll(near, Uint8Array.of(1)); // a read that is not full gives the large buffer back
  assert.equal(await far.read(got), 1);
  assert.equal(lent.count(256 * 1024), 0);
  assert.equal(lent.count(64 * 1024), 0);
  assert.equal(lent.count(), 2); // what the two sessions wait with
  sessions[Symbol.dispose]();
});

Deno.test("with too much unread nothing more is taken from the transport, until some is read", async () => {
  const limit = 512 * 1024;
  using test = withPeer({ maxBufferedBytes: limit });
  const full = new Uint8Array(INITIAL_WINDOW_BYTES);
  const sending = (async () => {
    for (let id = 1; id < 20; id += 2) {
      await test.peer.send(frame(WINDOW_UPDATE, SYN, id, 0), frame(DATA, 0, id, 0, full));
    }
  })();
  await until(() => test.session.bytesRead >= limit, { what: "the limit" });
  await sending;
  await settled();
  assert.ok(test.session.bytesRead <= limit + INITIAL_WINDOW_BYTES, `${test.session.bytesRead} bytes taken`);
  const reading = Promise.all(Array.from({ length: 10 }, async (_, i) => {
    const stream = await until(() => test.taken[i], { what: "a stream" });
    const into = new Uint8Array(65536);
    for (let left = full.length; left > 0;) left -= await stream.read(into) ?? left;
  }));
  await reading;
  assert.equal(test.session.bytesRead, 10 * full.length);
});

Deno.test("with too much unread, streams that nobody has read for long are reset, those with most first", async () => {
  using test = withPeer({ maxBufferedBytes: 300_000 });
  const filled = (id: number, bytes: number) => [
    frame(WINDOW_UPDATE, SYN, id, 0),
    frame(DATA, 0, id, 0, new Uint8Array(bytes)),
  ];
  const nextReset = async () => {
    for (let one; (one = await test.peer.next()) !== undefined;) if (one.flags === RST) return one.streamId;
    return undefined;
  };
  const small = Array.from({ length: 8 }, (_, i) => 2 * i + 1);
  for (const id of small) await test.peer.send(...filled(id, 30_000));
  await test.peer.send(...filled(17, 100_000));
  assert.equal(await nextReset(), 17);
  // Once is enough: the others have not been read for as long, and go as soon as there is too much again.
  const before = performance.now();
  const sending = (async () => {
    for (let id = 19; id < 19 + 2 * 7; id += 2) await test.peer.send(...filled(id, 40_000));
  })();
  const reset: unknown[] = [];
  while (reset.length < 7) reset.push(await nextReset());
  assert.deepEqual(reset, small.slice(0, 7));
  assert.ok(performance.now() - before < 700, `it took ${performance.now() - before} ms`);
  assert.equal(await test.taken[7]?.read(new Uint8Array(40_000)), 30_000);
  await sending;
});

Deno.test("streams that send bulk take turns", async () => {
  const sessions = pair();
  const streams = await Promise.all([0, 1, 2, 3].map(() => sessions.connect()));
  const counts = [0, 0, 0, 0];
  const flooding = streams.map(([near]) => flood(near));
  await Promise.all(streams.map(async ([, far], i) => {
    const into = new Uint8Array(65536);
    for (let n; (n = await far.read(into).catch(() => null)) !== null;) {
      counts[i] = (counts[i] ?? 0) + n;
      if (sessions.server.bytesRead > 20_000_000) sessions[Symbol.dispose]();
    }
  }));
  await Promise.all(flooding);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  assert.ok(most < 1.5 * least, `${least} to ${most} bytes`);
});

Deno.test("a turn is at most 16 KiB while another stream waits", async () => {
  const test = withPeer();
  const streams = [test.session.open(), test.session.open()];
  const flooding = streams.map(flood);
  const seen: number[] = [];
  for (let bytes = 0; bytes < 192 * 1024;) {
    const one = await test.peer.next();
    if (one?.type !== DATA) continue;
    assert.ok(one.length <= 16 * 1024, `${one.length} bytes`);
    seen.push(one.streamId);
    bytes += one.length;
  }
  assert.ok(seen.every((id, i) => id !== seen[i - 1]), seen.join());
  test[Symbol.dispose]();
  await Promise.all(flooding);
});

Deno.test("what a stream sends that sends little does not wait behind bulk", async () => {
  const test = withPeer();
  const [bulk, small] = [test.session.open(), test.session.open()];
  const flooding = flood(bulk);
  await test.peer.send(frame(WINDOW_UPDATE, ACK, bulk.id, 2 ** 30), frame(WINDOW_UPDATE, ACK, small.id, 0));
  let bytes = 0;
  const marks: number[] = [];
  const next = async () => {
    const one = await test.peer.next();
    bytes += one?.payload.length ?? 0;
    if (one?.type === PING) marks.push(one.length);
    return one;
  };
  // Nothing is answered: the sender fills its allowance and waits.
  await until(() => test.session.bytesWritten >= 256 * 1024, { what: "the allowance" });
  await settled();
  const written = test.session.bytesWritten;
  assert.ok(written <= 256 * 1024 + 16 * 1024, `${written} bytes under way`);
  await small.write(pattern(100));
  for (let one; (one = await next())?.streamId !== small.id || one?.type !== DATA;) assert.ok(one);
  assert.ok(bytes <= written + 100);
  // The answers set it free again.
  await test.peer.send(...marks.map((id) => frame(PING, ACK, 0, id)));
  await until(() => test.session.bytesWritten > written + 100, { what: "more" });
  test[Symbol.dispose]();
  await flooding;
});

Deno.test("a peer that answers no pings is sent to all the same, slowly", async () => {
  const test = withPeer();
  const bulk = test.session.open();
  const flooding = flood(bulk);
  await test.peer.send(frame(WINDOW_UPDATE, ACK, bulk.id, 2 ** 30));
  await until(() => test.session.bytesWritten >= 256 * 1024, { what: "the allowance" });
  await settled();
  const written = test.session.bytesWritten;
  await until(() => test.session.bytesWritten > written, { what: "more" });
  test[Symbol.dispose]();
  await flooding;
});

Deno.test("a window grows with what is read in a round trip, and within the session's memory", async () => {
  for (const maxBufferedBytes of [32 * 1024 * 1024, 2 * 1024 * 1024]) {
    const test = withPeer({ maxBufferedBytes });
    await test.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0));
    const draining = drain(await until(() => test.taken[0], { what: "the stream" }));
    let credit = INITIAL_WINDOW_BYTES;
    let largest = 0;
    const chunk = frame(DATA, 0, 1, 0, new Uint8Array(64 * 1024));
    // A path of 20 ms: answers to pings, and data for what was granted, come as late as that.
    const late = () => new Promise((resolve) => setTimeout(resolve, 20));
    for (let rounds = 0; rounds < 12; rounds++) {
      while (credit >= 64 * 1024) {
        await test.peer.send(chunk);
        credit -= 64 * 1024;
      }
      await test.peer.send(frame(PING, SYN, 0, 0xffff0000 + rounds));
      const pings: number[] = [];
      for (let one; (one = await test.peer.next()) !== undefined;) {
        if (one.type === WINDOW_UPDATE) credit += one.length;
        else if (one.flags === SYN) pings.push(one.length);
        else break;
      }
      largest = Math.max(largest, credit);
      await late();
      await test.peer.send(...pings.map((id) => frame(PING, ACK, 0, id)));
    }
    const most = Math.min(16 * 1024 * 1024, maxBufferedBytes / 2 + INITIAL_WINDOW_BYTES);
    assert.ok(largest > 3 * INITIAL_WINDOW_BYTES, `${largest} bytes granted`);
    assert.ok(largest <= most, `${largest} bytes granted, at most ${most} wanted`);
    test[Symbol.dispose]();
    await draining;
  }
});
