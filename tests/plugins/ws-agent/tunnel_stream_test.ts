import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, isLending, writeAll } from "../../../core/byte_stream.ts";
import { withHeader } from "../../../plugins/ws-agent/tunnel_stream.ts";
import { pipe } from "../../support/pipe.ts";
import { pair } from "./yamux/raw_peer.ts";
import { encode, readText } from "./harness.ts";

const HEADER = encode("HEADER:");

/** A stream that notes what each write was given. */
function noting(stream: ByteStream): ByteStream & { readonly writes: string[] } {
  const writes: string[] = [];
  return {
    writes,
    read: (into) => stream.read(into),
    write(data) {
      writes.push(new TextDecoder().decode(data));
      return stream.write(data);
    },
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
  };
}

Deno.test("the header goes out with the first bytes, in one write", async () => {
  const [near, far] = pipe();
  const inner = noting(near);
  const stream = withHeader(inner, HEADER);
  assert.equal(await stream.write(encode("hello")), 5);
  await writeAll(stream, encode(" world"));
  await stream.closeWrite();
  assert.equal(await readText(far), "HEADER:hello world");
  assert.deepEqual(inner.writes, ["HEADER:hello", " world"]);
});

for (
  const { name, taken, written } of [
    { name: "within the header", taken: 3, written: undefined },
    { name: "at its end", taken: HEADER.length, written: undefined },
    { name: "within the bytes behind it", taken: HEADER.length + 2, written: 2 },
  ]
) {
  Deno.test(`a stream that dies ${name} ${written ? "says how much of them is out" : "has sent nothing of them"}`, async () => {
    const [near] = pipe();
    let writes = 0;
    const stream = withHeader({
      read: (into) => near.read(into),
      write: () =>
        writes++ === 0 ? Promise.resolve(taken) : Promise.reject(new Deno.errors.ConnectionReset()),
      closeWrite: () => near.closeWrite(),
      close: () => near.close(),
    }, HEADER);
    if (written === undefined) {
      await assert.rejects(stream.write(encode("hello")), Deno.errors.ConnectionReset);
    } else assert.equal(await stream.write(encode("hello")), written);
  });
}

Deno.test("the header goes out alone as soon as somebody waits for the other side to speak", async () => {
  const [near, far] = pipe();
  const stream = withHeader(near, HEADER);
  const reading = stream.read(new Uint8Array(16));
  const seen = new Uint8Array(16);
  assert.equal(await far.read(seen), HEADER.length);
  await far.write(encode("220"));
  assert.equal(await reading, 3);
  await writeAll(stream, encode("EHLO"));
  closeQuietly(near);
  assert.equal(await readText(far), "EHLO");
});

Deno.test("it lends what the stream beneath lends, and sends the header before it waits", async () => {
  using sessions = pair();
  const [near, far] = await sessions.connect();
  const stream = withHeader(near, HEADER);
  assert.ok(isLending(stream));
  const borrowing = stream.borrow();
  assert.equal(await far.read(new Uint8Array(16)), HEADER.length);
  await writeAll(far, encode("220"));
  assert.deepEqual(await borrowing, encode("220"));
  stream.giveBack(3);
  assert.ok(!isLending(withHeader(pipe()[0], HEADER)));
});

Deno.test("a write beside a read comes behind the header, and never inside of it", async () => {
  const [near, far] = pipe({ carry: () => 1 });
  const stream = withHeader(near, HEADER);
  const reading = stream.read(new Uint8Array(16));
  const writing = writeAll(stream, encode("hello")).then(() => stream.closeWrite());
  assert.equal(await readText(far), "HEADER:hello");
  await writing;
  await far.closeWrite();
  assert.equal(await reading, null);
});

Deno.test("a large first write goes behind the header without a copy, a FIN too, and an empty one is nothing", async () => {
  const [near, far] = pipe({ capacity: 1 << 20 });
  const inner = noting(near);
  const stream = withHeader(inner, HEADER);
  assert.equal(await stream.write(new Uint8Array()), 0);
  const large = "x".repeat(100_000);
  await writeAll(stream, encode(large));
  await stream.closeWrite();
  assert.equal(await readText(far), `HEADER:${large}`);
  assert.equal(inner.writes[0], "HEADER:");

  const [other, end] = pipe();
  await withHeader(other, HEADER).closeWrite();
  assert.equal(await readText(end), "HEADER:");
});

Deno.test("a stream that dies under the header fails what comes, and nothing behind anybody's back", async () => {
  const [near] = pipe();
  near.abort();
  const stream = withHeader(near, HEADER);
  await assert.rejects(stream.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  await assert.rejects(stream.write(encode("x")), Deno.errors.ConnectionReset);
  stream.close();
});
