import assert from "node:assert/strict";
import {
  emptyHeader,
  HEADER_BYTES,
  parseHeader,
  PING,
  SYN,
} from "../../../../plugins/ws-agent/yamux/frame.ts";
import { InFlight } from "../../../../plugins/ws-agent/yamux/in_flight.ts";
import { Outbox } from "../../../../plugins/ws-agent/yamux/outbox.ts";
import { RoundTrips } from "../../../../plugins/ws-agent/yamux/round_trips.ts";

Deno.test("Outbox sends a mark, and no data, when the limit has fallen below what is under way without one", () => {
  const inFlight = new InFlight(new RoundTrips());
  const outbox = new Outbox(inFlight, () => 9);
  inFlight.sent(10);
  inFlight.marked(1, 1);
  inFlight.sent(60_000);
  inFlight.answered(1, 2);
  const out = new Uint8Array(2048);
  assert.equal(outbox.fill(out, 3), HEADER_BYTES);
  const header = emptyHeader();
  assert.equal(parseHeader(out, 0, HEADER_BYTES, header), "yes");
  assert.deepEqual(header, { type: PING, flags: SYN, streamId: 0, length: 9 });
  assert.equal(outbox.fill(out, 4), 0);
});

Deno.test("Outbox never writes past a small buffer, however much it has to say", () => {
  const outbox = new Outbox(new InFlight(new RoundTrips()), () => 1);
  for (let id = 1; id <= 500; id++) {
    outbox.answer(id);
    outbox.refuse(2 * id);
    outbox.ping(id);
  }
  outbox.goAway(0);
  const out = new Uint8Array(128);
  let frames = 0;
  for (let length; (length = outbox.fill(out, 1)) > 0; frames += length / HEADER_BYTES) {
    assert.ok(length <= out.length);
  }
  assert.equal(frames, 1501 + Math.floor(1501 * HEADER_BYTES / 65536));
});
