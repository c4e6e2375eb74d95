import assert from "node:assert/strict";
import { encodeControl } from "../../../../plugins/ws-agent/control/codec.ts";
import { ControlReader } from "../../../../plugins/ws-agent/control/reader.ts";
import { ScriptedStream, segmentsOf } from "../../../core/data_plane/preface/scripted_stream.ts";
import { A, bytesOf, SAMPLES } from "./samples.ts";

const ALL = bytesOf(SAMPLES.map(({ hex }) => hex).join(""));
const MESSAGES = SAMPLES.map(({ message }) => message);

async function readAll(reader: ControlReader) {
  const messages = [];
  for (let message; (message = await reader.read()) !== null;) messages.push(message);
  return messages;
}

Deno.test("ControlReader reads messages back to back, cut anywhere", async () => {
  for (let cut = 0; cut <= ALL.length; cut++) {
    const reader = new ControlReader(new ScriptedStream(segmentsOf(ALL, [cut])));
    assert.deepEqual(await readAll(reader), MESSAGES, `cut ${cut}`);
  }
});

for (const size of [1, 2, 3, 5, 17, 100, 300]) {
  Deno.test(`ControlReader reads messages that come ${size} bytes at a time`, async () => {
    const cuts = Array.from({ length: Math.floor(ALL.length / size) }, (_, i) => (i + 1) * size);
    assert.deepEqual(await readAll(new ControlReader(new ScriptedStream(segmentsOf(ALL, cuts)))), MESSAGES);
  });
}

for (const size of [61, 1000, 65_536, 200_000]) {
  Deno.test(`ControlReader reads the longest messages, ${size} bytes at a time, between short ones`, async () => {
    const long = { type: "auth", token: "t".repeat(65_513), clientId: A } as const;
    const short = { type: "heartbeat", time: 7 } as const;
    const messages = [short, long, long, short, long, short];
    const bytes = Uint8Array.from(messages.flatMap((message) => [...encodeControl(message)]));
    const cuts = Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => (i + 1) * size);
    assert.deepEqual(await readAll(new ControlReader(new ScriptedStream(segmentsOf(bytes, cuts)))), messages);
  });
}

Deno.test("ControlReader takes memory for what has come, and not for what is announced", async () => {
  const stream = new ScriptedStream([bytesOf("03 0000fff0 ffee"), new Uint8Array(600)]);
  await assert.rejects(new ControlReader(stream).read(), { name: "ControlFault", code: "truncated" });
  assert.ok(Math.max(...stream.offered) < 1000, stream.offered.join());
});

Deno.test("ControlReader reads no further than it is asked to", async () => {
  const beat = encodeControl({ type: "heartbeat", time: 7 });
  const stream = new ScriptedStream(Array.from({ length: 100 }, () => beat));
  await new ControlReader(stream).read();
  assert.equal(stream.taken, beat.length);
});

Deno.test("ControlReader goes on behind a message that is malformed or of an unknown type", async () => {
  const reader = new ControlReader(
    new ScriptedStream([bytesOf("50 00000002 abcd 30 00000001 00 03 00000002 0000")]),
  );
  await assert.rejects(reader.read(), { name: "ControlFault", code: "unknown_type", type: 0x50 });
  await assert.rejects(reader.read(), { name: "ControlFault", code: "malformed", type: 0x30 });
  assert.deepEqual(await reader.read(), { type: "authFail", reason: "" });
  assert.equal(await reader.read(), null);
});

Deno.test("ControlReader refuses a message over its limit at its header", async () => {
  const reader = new ControlReader(new ScriptedStream([bytesOf("03 00000100")]), { maxBytes: 100 });
  await assert.rejects(reader.read(), { name: "ControlFault", code: "too_long" });
});

Deno.test("ControlReader passes on what the stream throws", async () => {
  const reader = new ControlReader(new ScriptedStream([], new Deno.errors.ConnectionReset("reset")));
  await assert.rejects(reader.read(), Deno.errors.ConnectionReset);
});
