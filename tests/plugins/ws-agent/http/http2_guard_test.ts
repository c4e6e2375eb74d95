import assert from "node:assert/strict";
import { FrameGuard } from "../../../../plugins/ws-agent/http/http2_guard.ts";

const PREFACE = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8;
const CONTINUATION = 9, UNKNOWN = 0xee;

function frame(type: number, length: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(9 + length);
  bytes.set([length >> 16, length >> 8 & 0xff, length & 0xff, type, flags, 0, 0, 0, 1]);
  return bytes;
}

/** How many of these frames pass, up to a limit. */
function passed(one: Uint8Array, limit: number, cut = one.length): number {
  const guard = new FrameGuard();
  assert(guard.allows(PREFACE));
  for (let count = 0; count < limit; count++) {
    for (let at = 0; at < one.length; at += cut) {
      if (!guard.allows(one.subarray(at, at + cut))) return count;
    }
  }
  return limit;
}

const floods: readonly (readonly [name: string, frame: Uint8Array])[] = [
  ["resets", frame(RST_STREAM, 4)],
  ["pings", frame(PING, 8)],
  ["settings", frame(SETTINGS, 6)],
  ["priorities", frame(PRIORITY, 5)],
  ["continuations", frame(CONTINUATION, 10)],
  ["empty data", frame(DATA, 0)],
  ["unknown frames", frame(UNKNOWN, 300)],
];

for (const [name, one] of floods) {
  Deno.test(`FrameGuard stops a flood of ${name}, however it is cut`, () => {
    for (const cut of [one.length, 1, 5]) {
      const count = passed(one, 2000, cut);
      assert(count >= 300 && count < 1000, `${count}`);
    }
  });
}

const work: readonly (readonly [name: string, frame: Uint8Array])[] = [
  ["requests", frame(HEADERS, 60, 5)],
  ["data", frame(DATA, 16384)],
  ["ends of streams", frame(DATA, 0, 1)],
  ["window updates", frame(WINDOW_UPDATE, 4)],
  ["answers to settings", frame(SETTINGS, 0, 1)],
  ["answers to pings", frame(PING, 8, 1)],
];

for (const [name, one] of work) {
  Deno.test(`FrameGuard lets ${name} pass without end`, () => assert.equal(passed(one, 2000), 2000));
}
