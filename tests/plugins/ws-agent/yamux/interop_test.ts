import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
// @ts-types="./yamux_js.d.ts"
import { Client, Server, type Stream } from "yamux-js";
import { closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { openYamux, type YamuxSession, type YamuxStream } from "../../../../plugins/ws-agent/yamux/mod.ts";
import { readToEnd } from "../../../support/echo.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";
import { pattern, RawPeer } from "./raw_peer.ts";

const QUIET = { enableKeepAlive: false, logger: () => {} };

/**
 * Joins a session of yamux-js to a byte stream. It is given one whole frame at a time, because it loses what a frame
 * has in the next chunk.
 */
async function join(theirs: InstanceType<typeof Client>, stream: PipeEnd): Promise<void> {
  let sending = Promise.resolve();
  theirs.on("data", (chunk: Uint8Array) => {
    sending = sending.then(() => writeAll(stream, chunk)).catch(() => {});
  });
  const frames = new RawPeer(stream);
  for (let one; (one = await frames.nextBytes()) !== undefined;) theirs.write(Buffer.from(one));
  theirs.destroy();
}

interface Joined {
  readonly ours: YamuxSession;
  readonly theirs: InstanceType<typeof Client>;
  readonly taken: YamuxStream[];
  readonly theirTaken: Stream[];
  end(): Promise<void>;
}

function joinedSessions(role: "client" | "server"): Joined {
  const [a, b] = pipe();
  const taken: YamuxStream[] = [];
  const theirTaken: Stream[] = [];
  const ours = openYamux(a, { role, pingIntervalMs: 0, onStream: (stream) => taken.push(stream) });
  const onStream = (stream: Stream) => void theirTaken.push(stream);
  const theirs = role === "server" ? new Client(QUIET) : new Server(onStream, QUIET);
  const running = join(theirs, b);
  return {
    ours,
    theirs,
    taken,
    theirTaken,
    async end() {
      ours.close();
      await ours.ended;
      await running;
      closeQuietly(b);
    },
  };
}

Deno.test("yamux-js as a client opens streams, and ends them", async () => {
  const joined = joinedSessions("server");
  const streams = [0, 1, 2].map((i) => {
    const stream = joined.theirs.open();
    stream.write(pattern(100_000, i));
    stream.close();
    return stream;
  });
  await until(() => joined.taken.length === streams.length, { what: "the streams" });
  for (const [i, stream] of joined.taken.entries()) {
    assert.deepEqual(await readToEnd(stream), pattern(100_000, i));
    stream.close();
  }
  await until(() => joined.ours.streams === 0, { what: "the ends" });
  await joined.end();
});

Deno.test("yamux-js as a client gets its own bytes back", async () => {
  const joined = joinedSessions("server");
  const stream = joined.theirs.open();
  const data = pattern(600_000); // more than two windows, both ways
  const got: Uint8Array[] = [];
  stream.on("data", (chunk: Uint8Array) => got.push(chunk));
  stream.write(data);
  const ours = await until(() => joined.taken[0], { what: "the stream" });
  const into = new Uint8Array(65536);
  for (let left = data.length; left > 0;) {
    const length = await ours.read(into);
    assert.ok(length !== null);
    await writeAll(ours, into.subarray(0, length));
    left -= length;
  }
  await until(() => got.reduce((sum, one) => sum + one.length, 0) === data.length, { what: "the echo" });
  assert.deepEqual(new Uint8Array(Buffer.concat(got)), data);
  ours.reset();
  await joined.end();
});

Deno.test("yamux-js as a server takes streams, answers on them, and answers pings", async () => {
  const joined = joinedSessions("client");
  const stream = joined.ours.open();
  const data = pattern(500_000);
  const writing = writeAll(stream, data);
  const theirs = await until(() => joined.theirTaken[0], { what: "the stream" });
  theirs.on("data", (chunk: Uint8Array) => theirs.write(chunk));
  const got = new Uint8Array(data.length);
  for (let at = 0; at < got.length;) at += await stream.read(got.subarray(at)) ?? got.length;
  await writing;
  assert.deepEqual(got, data);
  assert.equal(stream.accepted, true);
  assert.ok(await joined.ours.ping() >= 0);
  theirs.close();
  assert.equal(await stream.read(got), null);
  stream.close();
  await joined.end();
});

Deno.test("yamux-js says that it goes away, and is told so", async () => {
  const joined = joinedSessions("client");
  joined.theirs.close();
  await until(() => joined.ours.peerGoesAway, { what: "its go-away" });
  assert.throws(() => joined.ours.open(), { code: "dial-failed" });
  await joined.end();
});
