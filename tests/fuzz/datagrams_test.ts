import assert from "node:assert/strict";
import {
  DatagramFault,
  DatagramFrames,
  MAX_DATAGRAM_BYTES,
} from "../../plugins/ws-agent/udp/datagram_frames.ts";
import { fuzz, randomCuts } from "./fuzz.ts";

function framed(...lengths: readonly number[]): Uint8Array {
  return Uint8Array.from(lengths.flatMap((length) => [
    length >>> 8,
    length & 0xff,
    ...Array.from({ length }, (_, i) => i & 0xff),
  ]));
}

/** What a stream comes to, cut at these places. */
function read(input: Uint8Array, cuts: readonly number[]): { datagrams: string[]; end: string } {
  const frames = new DatagramFrames();
  const datagrams: string[] = [];
  let from = 0;
  try {
    for (const cut of [...cuts, input.length]) {
      frames.feed(input.slice(from, cut));
      for (let one; (one = frames.next()) !== undefined;) datagrams.push(one.toHex());
      from = cut;
    }
  } catch (error) {
    assert.ok(error instanceof DatagramFault);
    return { datagrams, end: "fault" };
  }
  return { datagrams, end: frames.isBetween ? "between" : "within" };
}

fuzz("datagrams are the same however the stream is cut", () => [
  framed(0),
  framed(1, 0, 100, 5),
  framed(1472, 3),
  Uint8Array.of(0xff, 0xe4, 1),
], (input, random) => {
  const whole = read(input, []);
  assert.deepEqual(read(input, randomCuts(random, input)), whole);
  // Nothing is made up, and nothing is passed over.
  let at = 0;
  for (const datagram of whole.datagrams) {
    const length = (input[at] ?? 0) << 8 | (input[at + 1] ?? 0);
    assert.equal(datagram, input.subarray(at + 2, at + 2 + length).toHex());
    at += 2 + length;
  }
  const next = (input[at] ?? 0) << 8 | (input[at + 1] ?? 0);
  const isTooLong = input.length - at >= 2 && next > MAX_DATAGRAM_BYTES;
  assert.equal(whole.end, isTooLong ? "fault" : at === input.length ? "between" : "within");
});

Deno.test("datagrams of every size, in every pair of pieces", () => {
  const input = framed(0, 3, 1, 65_507, 2);
  const whole = read(input, []);
  assert.equal(whole.datagrams.length, 5);
  for (const cut of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 40_000, input.length - 3, input.length - 1]) {
    assert.deepEqual(read(input, [cut]), whole, `cut at ${cut}`);
  }
});
