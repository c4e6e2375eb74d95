import assert from "node:assert/strict";
import type { ByteStream } from "../../../../core/byte_stream.ts";
import { openYamux } from "../../../../plugins/ws-agent/yamux/mod.ts";
import type { FramedWriter } from "../../../../plugins/ws-agent/websocket/framed_writer.ts";
import { pipe } from "../../../support/pipe.ts";
import { pair, pattern } from "./raw_peer.ts";

const HEADROOM = 14;

/** A transport that frames in place, and spoils what it was given, as one that masks does. */
function spoiling(stream: ByteStream): ByteStream & FramedWriter & { readonly sizes: number[] } {
  const sizes: number[] = [];
  return {
    headroom: HEADROOM,
    maxInPlaceBytes: 1024 * 1024,
    sizes,
    read: (into) => stream.read(into),
    write: () => Promise.reject(new TypeError("Framed in place only")),
    async writeInPlace(buffer, start, end) {
      assert.ok(start >= HEADROOM && end <= buffer.length);
      sizes.push(end - start);
      const sent = buffer.slice(start, end);
      buffer.fill(0xee, start - HEADROOM, end);
      for (let at = 0; at < sent.length;) at += await stream.write(sent.subarray(at));
    },
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}

Deno.test("a transport that frames in place gets each batch as it lies, with room before it", async () => {
  const [a, b] = pipe();
  const transport = spoiling(a);
  using sessions = pair({ transport: [transport, b] });
  const [near, far] = await sessions.connect();
  const data = pattern(600_000);
  const sent = (async () => {
    for (let at = 0; at < data.length;) at += await near.write(data.subarray(at));
    await near.closeWrite();
  })();
  const got: number[] = [];
  const into = new Uint8Array(65536);
  for (let length; (length = await far.read(into)) !== null;) got.push(...into.subarray(0, length));
  await sent;
  assert.deepEqual(Uint8Array.from(got), data);
  assert.ok(transport.sizes.length > 1 && Math.max(...transport.sizes) > 16 * 1024);
});

Deno.test("the go-away of a session that ends is framed in place, too", async () => {
  const [a, b] = pipe();
  const transport = spoiling(a);
  const session = openYamux(transport, { role: "client", pingIntervalMs: 0 });
  session.close();
  await session.ended;
  assert.deepEqual(transport.sizes, [12]);
  b.close();
});
