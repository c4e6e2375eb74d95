import assert from "node:assert/strict";
import {
  ACK,
  DATA,
  FIN,
  INITIAL_WINDOW_BYTES,
  PING,
  RST,
  SYN,
  WINDOW_UPDATE,
} from "../../../../plugins/ws-agent/yamux/frame.ts";
import type { YamuxOptions } from "../../../../plugins/ws-agent/yamux/mod.ts";
import { until } from "../../../support/until.ts";
import { frame, joined, settled, withPeer } from "./raw_peer.ts";

/** The peer opens stream 1 first. The session has none of its own. */
const OPEN = frame(WINDOW_UPDATE, SYN, 1, 0);
const ONE = Uint8Array.of(1);

function repeated(one: Uint8Array, times: number): Uint8Array {
  return joined(Array.from({ length: times }, () => one));
}

/** Streams are opened and reset at once: HTTP/2's rapid reset. */
function rapidResets(times: number): Uint8Array {
  return joined(Array.from({ length: times }, (_, i) => {
    const id = 1 + 2 * i;
    return joined([frame(WINDOW_UPDATE, SYN, id, 0), frame(WINDOW_UPDATE, RST, id, 0)]);
  }));
}

const BROKEN: readonly {
  name: string;
  sent: () => Uint8Array[];
  detail: RegExp;
  options?: Partial<YamuxOptions>;
}[] = [
  { name: "a bad header", sent: () => [frame(7, 0, 0, 0)], detail: /bad type/ },
  { name: "an id of ours", sent: () => [frame(WINDOW_UPDATE, SYN, 2, 0)], detail: /stream id/ },
  { name: "an id that is in use", sent: () => [OPEN, OPEN], detail: /stream id/ },
  {
    name: "an id that was used",
    sent: () => [OPEN, frame(WINDOW_UPDATE, RST, 1, 0), OPEN],
    detail: /stream id/,
  },
  { name: "data for a stream never opened", sent: () => [frame(DATA, 0, 5, 0, ONE)], detail: /no stream/ },
  {
    name: "a reset of a stream never opened",
    sent: () => [frame(WINDOW_UPDATE, RST, 4, 0)],
    detail: /no stream/,
  },
  {
    name: "data behind FIN",
    sent: () => [OPEN, frame(DATA, FIN, 1, 0), frame(DATA, 0, 1, 0, ONE)],
    detail: /behind the end/,
  },
  {
    name: "data behind a reset",
    sent: () => [OPEN, frame(WINDOW_UPDATE, RST, 1, 0), frame(DATA, 0, 1, 0, ONE)],
    detail: /no stream/,
  },
  {
    name: "a frame longer than the window, before its data",
    sent: () => [OPEN, frame(DATA, 0, 1, INITIAL_WINDOW_BYTES + 1)],
    detail: /window/,
  },
  {
    name: "frames that add up to more than the window",
    sent: () => [OPEN, frame(DATA, 0, 1, 0, new Uint8Array(INITIAL_WINDOW_BYTES)), frame(DATA, 0, 1, 1)],
    detail: /window/,
  },
  {
    name: "more data than a window for a stream that was refused",
    sent: () => [OPEN, frame(DATA, 0, 1, 0, new Uint8Array(INITIAL_WINDOW_BYTES)), frame(DATA, 0, 1, 1)],
    options: { maxStreams: 0 },
    detail: /no stream/,
  },
  {
    name: "a window of 4 GiB",
    sent: () => [OPEN, frame(WINDOW_UPDATE, 0, 1, 2 ** 32 - 1)],
    detail: /too large/,
  },
  {
    name: "a flood of answers to pings that were not sent",
    sent: () => [repeated(frame(PING, ACK, 0, 9), 60_000)],
    detail: /too many frames/,
  },
  {
    name: "a flood of window updates",
    sent: () => [OPEN, repeated(frame(WINDOW_UPDATE, 0, 1, 1), 60_000)],
    detail: /too many frames/,
  },
  {
    name: "a flood of empty data",
    sent: () => [OPEN, repeated(frame(DATA, 0, 1, 0), 60_000)],
    detail: /too many frames/,
  },
  { name: "a flood of streams", sent: () => [rapidResets(14_000)], detail: /too many/ },
];

for (const { name, sent, detail, options } of BROKEN) {
  Deno.test(`a session ends at ${name}, and says so`, async () => {
    const test = withPeer(options);
    const frames = test.peer.rest();
    await test.peer.send(...sent()).catch(() => {}); // it may close while a flood comes
    const end = await test.session.ended;
    assert.equal(end.kind, "protocol_error");
    assert.match(end.detail ?? "", detail);
    const last = (await frames).at(-1);
    assert.deepEqual([last?.type, last?.length], [3, 1]);
    test.peer.close();
  });
}

Deno.test("a session ends when a peer pings and does not read the answers", async () => {
  const test = withPeer({}, { capacity: 4096 });
  await test.peer.send(repeated(frame(PING, SYN, 0, 1), 20_000)).catch(() => {});
  assert.match((await test.session.ended).detail ?? "", /pings that could not be answered/);
  test.peer.close();
});

Deno.test("streams that are announced out of order are taken", async () => {
  using test = withPeer();
  await test.peer.send(...[5, 1, 9, 3, 7].map((id) => frame(WINDOW_UPDATE, SYN, id, 0)));
  await until(() => test.taken.length === 5, { what: "the streams" });
  await test.peer.send(frame(WINDOW_UPDATE, SYN, 3, 0));
  assert.equal((await test.session.ended).kind, "protocol_error");
});

Deno.test("what was under way for a stream that we have reset goes nowhere", async () => {
  using test = withPeer();
  await test.peer.send(OPEN);
  const stream = await until(() => test.taken[0], { what: "the stream" });
  stream.reset();
  await test.peer.send(
    frame(DATA, 0, 1, 0, new Uint8Array(INITIAL_WINDOW_BYTES)),
    frame(WINDOW_UPDATE, 0, 1, 100),
    frame(DATA, FIN, 1, 0),
    frame(PING, SYN, 0, 1),
  );
  for (let one; (one = await test.peer.next())?.type !== PING;) assert.ok(one);
  assert.equal(test.session.streams, 0);
  assert.equal(test.session.bytesRead, INITIAL_WINDOW_BYTES);
});

Deno.test("a stream that is ended twice is ended", async () => {
  using test = withPeer();
  await test.peer.send(OPEN, frame(WINDOW_UPDATE, FIN, 1, 0), frame(DATA, FIN, 1, 0));
  const stream = await until(() => test.taken[0], { what: "the stream" });
  assert.equal(await stream.read(new Uint8Array(1)), null);
  await settled();
  assert.equal(test.session.streams, 1);
});

Deno.test("an honest peer that sends a window update for each frame is no flood", async () => {
  using test = withPeer();
  await test.peer.send(OPEN, frame(WINDOW_UPDATE, 0, 1, 2 ** 27));
  const stream = await until(() => test.taken[0], { what: "the stream" });
  const updates = (async () => {
    for (let left = 3000; left > 0;) {
      const one = await test.peer.next();
      if (one?.type === PING) await test.peer.send(frame(PING, ACK, 0, one.length));
      if (one?.type !== DATA) continue;
      left--;
      await test.peer.send(frame(WINDOW_UPDATE, 0, 1, one.length));
    }
  })();
  for (let left = 3000; left > 0; left--) await stream.write(new Uint8Array(200));
  await updates;
});
