import assert from "node:assert/strict";
import type { ByteStream } from "../../../../core/byte_stream.ts";
import type { TokenLimits } from "../../../../plugins/ws-agent/auth/token_limits.ts";
import type { TunnelSession } from "../../../../plugins/ws-agent/session/session.ts";
import { Bandwidth } from "../../../../plugins/ws-agent/throttle/bandwidth.ts";
import { Throttles } from "../../../../plugins/ws-agent/throttle/throttles.ts";
import { HandClock, settled } from "./hand_clock.ts";

const KIB = 1024;

/** Takes and gives whatever is asked for, at once. */
class Bottomless implements ByteStream {
  written = 0;
  /** The most that one write takes. */
  takes = Infinity;
  closed = false;
  read = (into: Uint8Array) => Promise.resolve(into.length);
  write = (data: Uint8Array) => {
    const length = Math.min(this.takes, data.length);
    this.written += length;
    return Promise.resolve(length);
  };
  closeWrite = () => Promise.resolve();
  close = () => void (this.closed = true);
}

/** A data plane of `nodes`, with one token. */
function setUp(bandwidth: number | undefined = 100 * KIB, nodes = 1) {
  const clock = new HandClock();
  const token = { principal: "token:1", limits: { bandwidth } as TokenLimits };
  const session = { grant: token } as unknown as TunnelSession;
  let here: ReadonlySet<TunnelSession> = new Set([session]);
  const throttles = new Throttles({ clock, nodes, sessions: { of: () => here } });
  return {
    clock,
    throttles,
    limit: (rate: number | undefined) => void (token.limits = { bandwidth: rate } as TokenLimits),
    leave: () => {
      here = new Set();
      throttles.ended(session);
    },
    open() {
      const under = new Bottomless();
      return { under, stream: throttles.throttle(under, session) };
    },
    [Symbol.dispose]: () => throttles[Symbol.dispose](),
  };
}

/** Reads for ever. */
function readAll(stream: ByteStream): { bytes: number; error?: unknown } {
  const seen: { bytes: number; error?: unknown } = { bytes: 0 };
  const buffer = new Uint8Array(64 * KIB);
  const run = async () => {
    for (;;) seen.bytes += await stream.read(buffer) ?? 0;
  };
  run().catch((error) => seen.error = error);
  return seen;
}

function writeAll(stream: ByteStream): { error?: unknown } {
  const seen: { error?: unknown } = {};
  const data = new Uint8Array(64 * KIB);
  const run = async () => {
    for (;;) await stream.write(data);
  };
  run().catch((error) => seen.error = error);
  return seen;
}

/** Within what may go at once, and one piece that was begun. */
function assertAbout(bytes: number, expected: number, rate = 100 * KIB): void {
  assert.ok(bytes <= expected + rate / 10 + 16 * KIB, `${bytes}, and no more than ${expected}`);
  assert.ok(bytes >= expected - 16 * KIB, `${bytes}, and no less than ${expected}`);
}

Deno.test("a token without a bandwidth has its streams as they are, and no timer", () => {
  using set = setUp(undefined);
  set.limit(undefined);
  const { under, stream } = set.open();
  assert.equal(stream, under);
  assert.equal(set.clock.timers, 0);
});

Deno.test("in ten seconds go ten seconds' bytes, in each direction by itself", async () => {
  using set = setUp();
  const { under, stream } = set.open();
  const read = readAll(stream);
  writeAll(stream);
  await set.clock.pass(10_000);
  assertAbout(read.bytes, 1000 * KIB);
  assertAbout(under.written, 1000 * KIB);
  stream.close();
});

Deno.test("all streams of a token share its bandwidth, evenly", async () => {
  using set = setUp();
  const reads = [set.open(), set.open(), set.open(), set.open()].map(({ stream }) => readAll(stream));
  await set.clock.pass(20_000);
  assertAbout(reads.reduce((sum, { bytes }) => sum + bytes, 0), 2000 * KIB);
  for (const { bytes } of reads) assert.ok(Math.abs(bytes - 500 * KIB) <= 32 * KIB, `${bytes}`);
});

Deno.test("a write that takes less than it could pays for what it took", async () => {
  using set = setUp();
  const { under, stream } = set.open();
  under.takes = 4000;
  writeAll(stream);
  for (let i = 0; i < 1000; i++) await set.clock.pass(10);
  assertAbout(under.written, 1000 * KIB);
});

Deno.test("each of several data planes has its part", async () => {
  using set = setUp(100 * KIB, 4);
  const read = readAll(set.open().stream);
  await set.clock.pass(10_000);
  assertAbout(read.bytes, 250 * KIB, 25 * KIB);
});

Deno.test("after a pause there is no more at once than a tenth of a second's bytes", async () => {
  using set = setUp();
  const { stream } = set.open();
  await set.clock.pass(3_600_000);
  const read = readAll(stream);
  await settled();
  assert.ok(read.bytes <= 10 * KIB + 16 * KIB, `${read.bytes}`);
});

Deno.test("a new bandwidth counts for streams that are open, and one that is gone holds nobody up", async () => {
  using set = setUp();
  const read = readAll(set.open().stream);
  await set.clock.pass(1000);
  const before = read.bytes;
  set.limit(10 * KIB);
  set.throttles.refresh();
  await set.clock.pass(10_000);
  assertAbout(read.bytes - before, 100 * KIB, 10 * KIB);
  set.limit(10 * 2 ** 20);
  set.throttles.refresh();
  const slow = read.bytes;
  await set.clock.pass(20);
  assert.ok(read.bytes > slow + 100 * KIB, "whoever waited goes on at the next tick");
});

Deno.test("a stream that is closed ends its read and its write, and leaves nothing behind", async () => {
  using set = setUp();
  const { under, stream } = set.open();
  const read = readAll(stream), write = writeAll(stream);
  await set.clock.pass(1000);
  assert.equal(set.clock.timers, 1);
  stream.close();
  await settled();
  for (const { error } of [read, write]) assert.ok(error instanceof Deno.errors.Interrupted);
  assert.ok(under.closed);
  await set.clock.pass(100);
  assert.equal(set.clock.timers, 0);
});

const ends: Readonly<Record<string, (set: ReturnType<typeof setUp>) => void>> = {
  "the last tunnel of its token": (set) => set.leave(),
  "the plugin": (set) => set.throttles[Symbol.dispose](),
};

for (const [what, end] of Object.entries(ends)) {
  Deno.test(`what waits when ${what} ends waits no longer`, async () => {
    using set = setUp();
    const { stream } = set.open();
    const piece = new Uint8Array(16 * KIB);
    await stream.write(piece); // as much as goes at once, and a debt
    const waiting = stream.write(piece);
    await settled();
    assert.ok(set.throttles.ticking);
    end(set);
    await waiting;
    await set.clock.pass(100);
    assert.ok(!set.throttles.ticking);
  });
}

Deno.test("a stream whose token has no tunnel any more ends, though there is more to read", async () => {
  using set = setUp();
  const seen = readAll(set.open().stream);
  await settled();
  set.leave();
  await settled();
  await set.clock.pass(100);
  assert.ok(seen.error instanceof Deno.errors.Interrupted, `${seen.error}`);
  assert.ok(!set.throttles.ticking);
});

Deno.test("payments are served in their order, and one that is given up costs nothing", () => {
  const bandwidth = new Bandwidth(1000, 0);
  const served: string[] = [];
  const payment = (name: string, bytes: number) => ({ bytes, settle: () => void served.push(name) });
  assert.ok(bandwidth.take(150, 0)); // of the 100 that may go at once
  assert.ok(!bandwidth.take(1, 0));
  const [a, b, c] = [payment("a", 10), payment("b", 1000), payment("c", 10)];
  for (const one of [a, b, c]) bandwidth.wait(one);
  bandwidth.giveUp(b);
  assert.deepEqual(served, ["b"]);
  bandwidth.tick(50);
  assert.deepEqual(served, ["b"], "the debt is just paid");
  assert.ok(!bandwidth.take(1, 51), "whoever waits goes first");
  bandwidth.tick(51);
  bandwidth.tick(61);
  assert.deepEqual(served, ["b", "a", "c"]);
});
