import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { GatewayError } from "../../../../core/errors.ts";
import {
  ACK,
  DATA,
  FIN,
  GO_AWAY,
  INITIAL_WINDOW_BYTES,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
} from "../../../../plugins/ws-agent/yamux/frame.ts";
import { openYamux, type YamuxStream } from "../../../../plugins/ws-agent/yamux/mod.ts";
import { LentBuffers } from "../../../core/data_plane/lent_buffers.ts";
import { Random } from "../../../fuzz/fuzz.ts";
import { readToEnd, serveTcp } from "../../../support/echo.ts";
import { pipe } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";
import { frame, pair, pattern, settled, withPeer } from "./raw_peer.ts";

const { BadResource, BrokenPipe, ConnectionReset, Interrupted } = Deno.errors;
const HELLO = new TextEncoder().encode("hello");

/** Sends everything, then FIN. */
async function sendAll(to: YamuxStream, data: Uint8Array): Promise<void> {
  await writeAll(to, data);
  await to.closeWrite();
}

Deno.test("yamux carries data both ways, and half-close", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  await sendAll(near, HELLO);
  assert.deepEqual(await readToEnd(far), HELLO);
  assert.equal(await far.read(new Uint8Array(1)), null);
  await sendAll(far, pattern(1000));
  assert.deepEqual(await readToEnd(near), pattern(1000));
  near.close();
  far.close();
  await settled();
  assert.equal(sessions.client.streams, 0);
  assert.equal(sessions.server.streams, 0);
  assert.equal(sessions.client.bytesWritten, HELLO.length);
  assert.equal(sessions.client.bytesRead, 1000);
});

Deno.test("yamux carries many streams over a transport that takes and gives few bytes at a time", async () => {
  const random = new Random(7);
  using sessions = pair({ carry: () => 1 + random.below(40), capacity: 100 });
  const carried = Array.from({ length: 12 }, async (_, i) => {
    const near = sessions.client.open();
    const sent = sendAll(near, pattern(500 + i * 300, i));
    const answer = await readToEnd(near);
    await sent;
    near.close();
    assert.deepEqual(answer, pattern(500 + i * 300, i).toReversed());
  });
  for (let left = carried.length; left > 0; left--) {
    const far = await sessions.accepted();
    carried.push(readToEnd(far).then((data) => sendAll(far, data.toReversed())).then(() => far.close()));
  }
  await Promise.all(carried);
});

Deno.test("yamux reads a session alike wherever its bytes are cut", async () => {
  const bytes = Uint8Array.of(
    ...frame(WINDOW_UPDATE, SYN, 1, 0),
    ...frame(DATA, 0, 1, 0, HELLO),
    ...frame(PING, SYN, 0, 77),
    ...frame(DATA, FIN, 1, 0, HELLO),
  );
  for (let cut = 0; cut <= bytes.length; cut++) {
    using test = withPeer();
    await test.peer.send(bytes.subarray(0, cut));
    await settled();
    await test.peer.send(bytes.subarray(cut));
    const stream = await until(() => test.taken[0], { what: "the stream" });
    assert.equal(new TextDecoder().decode(await readToEnd(stream)), "hellohello");
    const answers = [await test.peer.next(), await test.peer.next()];
    assert.ok(answers.some((one) => one?.type === PING && one.flags === ACK && one.length === 77));
    assert.ok(answers.some((one) => one?.type === WINDOW_UPDATE && one.flags === ACK && one.streamId === 1));
  }
});

Deno.test("a session announces a stream before its data, and sends what is written in one turn at once", async () => {
  const [ours, theirs] = pipe();
  const writes: number[] = [];
  const session = openYamux({
    read: (into) => ours.read(into),
    write: (data) => (writes.push(data.length), ours.write(data)),
    closeWrite: () => ours.closeWrite(),
    close: () => ours.close(),
  }, { role: "client", pingIntervalMs: 0 });
  const streams = [session.open(), session.open(), session.open()];
  await Promise.all(streams.map((stream) => stream.write(HELLO)));
  assert.deepEqual(writes, [3 * 12 + 3 * (12 + HELLO.length)]);
  const bytes = new Uint8Array(100);
  await theirs.read(bytes);
  assert.deepEqual(bytes.subarray(0, 12), frame(WINDOW_UPDATE, SYN, 1, 0));
  assert.deepEqual(bytes.subarray(12, 24), frame(WINDOW_UPDATE, SYN, 3, 0));
  session.close();
  await session.ended;
  closeQuietly(theirs);
});

Deno.test("a peer's reset fails what is pending, as that of a TCP connection does", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const reading = near.read(new Uint8Array(1));
  far.reset();
  await assert.rejects(reading, ConnectionReset);
  assert.equal(await near.read(new Uint8Array(1)), null);
  await assert.rejects(near.write(HELLO), BrokenPipe);
  await near.closeWrite();
  near.close();
});

Deno.test("a peer's reset fails the first operation after it", async () => {
  using sessions = pair();
  for (const first of ["read", "write"] as const) {
    const [near, far] = await sessions.connect();
    far.reset();
    await settled();
    await assert.rejects(near[first](HELLO.slice()), ConnectionReset);
    await assert.rejects(near.write(HELLO), BrokenPipe);
    assert.equal(await near.read(new Uint8Array(1)), null);
    near.close();
  }
});

Deno.test("what came before a reset can still be read", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  await writeAll(far, HELLO);
  far.reset();
  await settled();
  const into = new Uint8Array(100);
  assert.equal(await near.read(into), HELLO.length);
  await assert.rejects(near.read(into), ConnectionReset);
  near.close();
});

Deno.test("close() interrupts what is pending, and nothing works after it", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const reading = near.read(new Uint8Array(1));
  const writing = writeAll(near, new Uint8Array(600_000));
  await settled();
  near.close();
  await assert.rejects(reading, Interrupted);
  await assert.rejects(writing, Interrupted);
  assert.throws(() => near.close(), BadResource);
  await assert.rejects(near.read(new Uint8Array(1)), BadResource);
  await assert.rejects(near.write(HELLO), BadResource);
  await assert.rejects(near.closeWrite(), BadResource);
  near.reset();
  await assert.rejects(async () => {
    while (await far.read(new Uint8Array(65536)) !== null);
  }, ConnectionReset);
  far.close();
});

Deno.test("close() ends with FIN when all was read, and with a reset otherwise", async () => {
  for (const { ended, flags } of [{ ended: true, flags: FIN }, { ended: false, flags: RST }]) {
    using test = withPeer();
    await test.peer.send(frame(WINDOW_UPDATE, SYN | (ended ? FIN : 0), 1, 0));
    const stream = await until(() => test.taken[0], { what: "the stream" });
    assert.equal((await test.peer.next())?.flags, ACK);
    stream.close();
    const last = await test.peer.next();
    assert.deepEqual([last?.type, last?.flags, last?.streamId], [WINDOW_UPDATE, flags, 1]);
    assert.equal(test.session.streams, 0);
  }
});

Deno.test("close() resets a stream with bytes that nobody has read, though the peer has ended it", async () => {
  using test = withPeer();
  await test.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0), frame(DATA, FIN, 1, 0, HELLO));
  const stream = await until(() => test.taken[0], { what: "the stream" });
  await test.peer.next();
  stream.close();
  assert.equal((await test.peer.next())?.flags, RST);
});

Deno.test("writing after closeWrite() fails, a second closeWrite() does nothing", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  await near.closeWrite();
  await near.closeWrite();
  await assert.rejects(near.write(HELLO), BrokenPipe);
  await writeAll(far, HELLO);
  assert.equal(await near.read(new Uint8Array(10)), HELLO.length);
  near.close();
  far.close();
});

Deno.test("closeWrite() sends FIN behind a write that is pending", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const writing = near.write(pattern(700_000));
  await near.closeWrite();
  assert.deepEqual(await readToEnd(far), pattern(700_000));
  assert.equal(await writing, 700_000);
  near.close();
  far.close();
});

Deno.test("an empty read or write is done at once", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  assert.equal(await near.read(new Uint8Array()), 0);
  assert.equal(await near.write(new Uint8Array()), 0);
  near.close();
  far.close();
});

Deno.test("a second read or write while one is pending is refused", async () => {
  using sessions = pair();
  const [near] = await sessions.connect();
  const reading = near.read(new Uint8Array(1));
  const writing = near.write(new Uint8Array(300_000));
  await assert.rejects(near.read(new Uint8Array(1)), TypeError);
  await assert.rejects(near.write(HELLO), TypeError);
  near.close();
  await assert.rejects(reading, Interrupted);
  await assert.rejects(writing, Interrupted);
});

Deno.test("a stream is accepted with the first word of the peer", async () => {
  using test = withPeer();
  const [first, second] = [test.session.open(), test.session.open()];
  assert.deepEqual([first.id, second.id], [2, 4]);
  assert.equal(first.accepted, false);
  await test.peer.send(frame(WINDOW_UPDATE, ACK, 2, 0), frame(DATA, 0, 4, 0, HELLO));
  await until(() => first.accepted && second.accepted, { what: "both to be accepted" });
});

Deno.test("a stream that nobody takes is reset", async () => {
  using sessions = pair({ server: { maxStreams: 2 } });
  const [first] = await sessions.connect();
  await sessions.connect();
  const third = sessions.client.open();
  await assert.rejects(third.read(new Uint8Array(1)), ConnectionReset);
  assert.equal(third.accepted, false);
  first.reset();
  await settled();
  await sessions.connect();
  assert.equal(sessions.server.streams, 2);
});

Deno.test("maxUnaccepted: more streams may be open that the peer has not accepted", () => {
  using test = withPeer({ maxUnaccepted: Infinity });
  for (let i = 0; i < 1000; i++) test.session.open();
  assert.equal(test.session.streams, 1000);
});

Deno.test("at most 256 streams are open that the peer has not accepted", async () => {
  using test = withPeer();
  for (let i = 0; i < 256; i++) test.session.open();
  assert.throws(() => test.session.open(), GatewayError);
  await test.peer.send(frame(WINDOW_UPDATE, ACK, 2, 0), frame(WINDOW_UPDATE, RST, 4, 0));
  await until(() => test.session.streams === 255, { what: "the answers" });
  test.session.open();
  test.session.open();
  assert.throws(() => test.session.open(), { code: "dial-failed" });
});

Deno.test("goAway() lets open streams go on and refuses new ones", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  let told = 0;
  sessions.client.onGoAway = () => told++;
  sessions.server.goAway();
  sessions.server.goAway();
  await until(() => sessions.client.peerGoesAway, { what: "the go-away" });
  assert.equal(told, 1);
  assert.throws(() => sessions.client.open(), { code: "dial-failed" });
  await writeAll(near, HELLO);
  assert.equal(await far.read(new Uint8Array(10)), HELLO.length);
  // What was on its way when the other side said so.
  const late = withPeer();
  late.session.goAway();
  await late.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0));
  assert.equal((await late.peer.next())?.type, GO_AWAY);
  assert.equal((await late.peer.next())?.flags, RST);
  assert.equal(late.taken.length, 0);
  late[Symbol.dispose]();
});

Deno.test("close() says go-away, fails everything and closes the transport", async () => {
  const test = withPeer();
  const stream = test.session.open();
  const reading = assert.rejects(stream.read(new Uint8Array(1)), ConnectionReset);
  const pinging = assert.rejects(test.session.ping(), ConnectionReset);
  const seen = test.peer.rest();
  test.session.close();
  test.session.close();
  await Promise.all([reading, pinging]);
  assert.deepEqual(await test.session.ended, { kind: "closed" });
  assert.equal(test.transport.closed, true);
  assert.equal(test.session.streams, 0);
  const last = (await seen).at(-1);
  assert.deepEqual([last?.type, last?.length], [GO_AWAY, 0]);
  assert.throws(() => test.session.open(), { code: "dial-failed" });
  await assert.rejects(test.session.ping(), ConnectionReset);
  stream.close();
  test.peer.close();
});

Deno.test("close() does not wait for ever for a peer that reads nothing", async () => {
  const test = withPeer({}, { capacity: 64 });
  const writing = assert.rejects(writeAll(test.session.open(), new Uint8Array(600_000)), ConnectionReset);
  await settled();
  test.session.close();
  await writing;
  assert.deepEqual(await test.session.ended, { kind: "closed" });
  test.peer.close();
});

Deno.test("a write that was cut off tells how much of it has gone out; the next one fails", async () => {
  const test = withPeer();
  const stream = test.session.open();
  const writing = stream.write(new Uint8Array(600_000));
  await until(() => test.session.bytesWritten >= INITIAL_WINDOW_BYTES, { what: "a window's bytes" });
  await test.peer.send(frame(WINDOW_UPDATE, RST, stream.id, 0));
  assert.equal(await writing, INITIAL_WINDOW_BYTES);
  await assert.rejects(stream.write(HELLO), ConnectionReset);
  await assert.rejects(stream.write(HELLO), BrokenPipe);
  stream.close();
  test[Symbol.dispose]();
});

Deno.test("a write of which nothing has gone out fails as such", async () => {
  const test = withPeer();
  const stream = test.session.open();
  await writeAll(stream, new Uint8Array(INITIAL_WINDOW_BYTES));
  const writing = assert.rejects(stream.write(HELLO), ConnectionReset);
  await test.peer.send(frame(WINDOW_UPDATE, RST, stream.id, 0));
  await writing;
  stream.close();
  test[Symbol.dispose]();
});

Deno.test("a stream that was cut off with its session does not look ended", async () => {
  const test = withPeer();
  await test.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0), frame(DATA, 0, 1, 0, HELLO));
  const stream = await until(() => test.taken[0], { what: "the stream" });
  await test.peer.closeWrite();
  assert.deepEqual(await test.session.ended, { kind: "peer_closed" });
  await assert.rejects(readToEnd(stream), ConnectionReset);
  stream.close();
  test.peer.close();
});

const ENDS: readonly { name: string; act: (test: ReturnType<typeof withPeer>) => unknown; kind: string }[] = [
  { name: "FIN", act: ({ peer }) => peer.closeWrite(), kind: "peer_closed" },
  {
    name: "FIN in mid-frame",
    act: ({ peer }) => peer.send(new Uint8Array(5)).then(() => peer.closeWrite()),
    kind: "peer_closed",
  },
  { name: "RST", act: ({ peer }) => peer.abort(), kind: "transport_failed" },
  {
    name: "go-away for a protocol error",
    act: ({ peer }) => peer.send(frame(GO_AWAY, 0, 0, 1)),
    kind: "peer_closed",
  },
  { name: "an unknown frame", act: ({ peer }) => peer.send(frame(9, 0, 0, 1)), kind: "protocol_error" },
];

for (const { name, act, kind } of ENDS) {
  Deno.test(`a session ends with ${kind} at ${name}, and lets go of everything`, async () => {
    using lent = new LentBuffers();
    const test = withPeer();
    const stream = test.session.open();
    const reading = assert.rejects(stream.read(new Uint8Array(1)), ConnectionReset);
    await act(test);
    assert.equal((await test.session.ended).kind, kind);
    await reading;
    assert.equal(test.transport.closed, true);
    await settled();
    assert.equal(lent.count(), 0);
    test.peer.close();
  });
}

Deno.test("a taker of streams that throws ends the session, and nothing else", async () => {
  const test = withPeer({
    onStream() {
      throw new Error("out of order");
    },
  });
  await test.peer.send(frame(WINDOW_UPDATE, SYN, 1, 0));
  assert.deepEqual(await test.session.ended, { kind: "closed", detail: "out of order" });
  assert.equal((await test.peer.rest()).at(-1)?.length, 2);
  test.peer.close();
});

Deno.test("ping() measures the round trip", async () => {
  using sessions = pair();
  assert.equal(sessions.client.roundTripMs, undefined);
  const roundTripMs = await sessions.client.ping();
  assert.ok(roundTripMs >= 0 && roundTripMs < 5000);
  assert.equal(sessions.client.roundTripMs, roundTripMs);
});

Deno.test("a peer that answers pings is kept, one that says nothing is found", async () => {
  using alive = pair({
    client: { pingIntervalMs: 50, pingTimeoutMs: 600 },
    server: { pingIntervalMs: 50, pingTimeoutMs: 600 },
  });
  const silent = withPeer({ pingIntervalMs: 50, pingTimeoutMs: 600 });
  const stream = silent.session.open();
  const reading = assert.rejects(stream.read(new Uint8Array(1)), ConnectionReset);
  const began = performance.now();
  assert.equal((await silent.session.ended).kind, "timeout");
  assert.ok(performance.now() - began >= 600);
  await reading;
  assert.equal(alive.client.streams, 0);
  assert.ok(alive.client.roundTripMs !== undefined);
  (await alive.connect())[0].reset();
  silent.peer.close();
});

Deno.test("sessions work over real sockets", async () => {
  await using server = serveTcp(async (connection) => {
    const session = openYamux(connection, {
      role: "server",
      onStream: (stream) =>
        void readToEnd(stream).then((data) => sendAll(stream, data)).then(() => stream.close(), () => {}),
    });
    assert.equal((await session.ended).kind, "peer_closed");
  });
  const session = openYamux(await Deno.connect(server.address), { role: "client" });
  const data = pattern(3_000_000);
  await Promise.all([0, 1, 2].map(async () => {
    const stream = session.open();
    const sent = sendAll(stream, data);
    assert.deepEqual(await readToEnd(stream), data);
    await sent;
    stream.close();
  }));
  session.close();
  assert.equal((await session.ended).kind, "closed");
});
