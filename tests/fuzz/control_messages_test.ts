import assert from "node:assert/strict";
import { decodeControl, encodeControl } from "../../plugins/ws-agent/control/codec.ts";
import { ControlFault } from "../../plugins/ws-agent/control/fault.ts";
import { ControlReader } from "../../plugins/ws-agent/control/reader.ts";
import {
  encodeStreamHeader,
  MAX_STREAM_HEADER_BYTES,
  parseStreamHeader,
  StreamHeaderFault,
} from "../../plugins/ws-agent/stream_header.ts";
import { ScriptedStream, segmentsOf } from "../core/data_plane/preface/scripted_stream.ts";
import { bytesOf, SAMPLES } from "../plugins/ws-agent/control/samples.ts";
import { fuzz, randomCuts } from "./fuzz.ts";

const MESSAGES = SAMPLES.map(({ hex }) => bytesOf(hex));

fuzz("one control message", () => MESSAGES, (input) => {
  const before = input.slice();
  try {
    const message = decodeControl(input);
    const again = decodeControl(encodeControl(message));
    assert.deepEqual(again, message);
  } catch (error) {
    if (!(error instanceof ControlFault)) throw error;
    assert.ok(error.message.length < 200);
  }
  assert.deepEqual(input, before, "the input is only read");
});

/** Messages and faults in their order, as text; `too_long`, `truncated` and the end are the last. */
async function transcript(segments: readonly Uint8Array[]): Promise<string[]> {
  const reader = new ControlReader(new ScriptedStream(segments));
  const lines: string[] = [];
  for (;;) {
    try {
      const message = await reader.read();
      lines.push(JSON.stringify(message));
      if (message === null) return lines;
    } catch (error) {
      if (!(error instanceof ControlFault)) throw error;
      lines.push(`${error.code} ${error.message}`);
      if (error.code === "too_long" || error.code === "truncated") return lines;
    }
  }
}

fuzz("control messages back to back", () => MESSAGES, async (input, random) => {
  const before = random.pick(MESSAGES), behind = random.pick(MESSAGES);
  const bytes = Uint8Array.of(...before, ...input, ...behind);
  const whole = await transcript([bytes]);
  assert.deepEqual(await transcript(segmentsOf(bytes, randomCuts(random, bytes))), whole);
  assert.equal(whole[0], JSON.stringify(decodeControl(before)));
});

const SERVICE = "00010203-0405-0607-0809-0a0b0c0d0e0f";
const HEADERS = [
  {
    source: { address: "203.0.113.9", port: 1 },
    destination: { address: "192.0.2.1", port: 2 },
    name: "app.example.com",
  },
  { source: { address: "2001:db8::9", port: 1 }, destination: { address: "2001:db8::1", port: 2 } },
].map((header) => encodeStreamHeader({ ...header, connectionId: "c-1", serviceId: SERVICE }));

fuzz("header of a data stream", () => HEADERS, (input, random) => {
  try {
    const parsed = parseStreamHeader(input);
    const cut = random.below(input.length + 1);
    if (parsed === undefined) return assert.ok(input.length < MAX_STREAM_HEADER_BYTES);
    assert.ok(parsed.length <= Math.min(input.length, MAX_STREAM_HEADER_BYTES));
    assert.deepEqual(parseStreamHeader(encodeStreamHeader(parsed.header))?.header, parsed.header);
    if (cut < parsed.length) assert.equal(parseStreamHeader(input.subarray(0, cut)), undefined);
  } catch (error) {
    if (!(error instanceof StreamHeaderFault)) throw error;
    assert.ok(error.message.length < 200);
  }
});
