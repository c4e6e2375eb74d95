import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import { StreamDuplex } from "../../../../core/data_plane/streams/duplex.ts";
import { DuplexStream } from "../../../../core/data_plane/streams/duplex_stream.ts";
import { readToEnd } from "../../../support/echo.ts";
import { pipe } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Numbers that look random and are the same in each run. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomBytes(length: number, seed: number): Uint8Array {
  const next = sequence(seed);
  return Uint8Array.from({ length }, () => next() * 256);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function writeInPieces(to: ByteStream, data: Uint8Array, seed: number): Promise<void> {
  const next = sequence(seed);
  for (let at = 0; at < data.length;) {
    const piece = data.subarray(at, at + 1 + Math.floor(next() * 100_000));
    await writeAll(to, piece);
    at += piece.length;
  }
  await to.closeWrite();
}

for (
  const [name, most] of [["a byte at a time", 1], ["few bytes at a time", 700], ["all at once", 1e9]] as const
) {
  Deno.test(`Bytes go through both adapters unchanged, both ways at once, ${name}`, async () => {
    const next = sequence(7);
    const [near, far] = pipe({ carry: () => 1 + Math.floor(next() * most) });
    const stream = new DuplexStream(new StreamDuplex(near));
    const size = most === 1 ? 20_000 : 1_500_000;
    const [there, back] = [randomBytes(size, 1), randomBytes(size, 2)];

    const [gotBack, gotThere] = await Promise.all([
      readToEnd(stream),
      readToEnd(far),
      writeInPieces(stream, there, 3),
      writeInPieces(far, back, 4),
    ]);

    assert.equal(sha256(gotThere), sha256(there));
    assert.equal(sha256(gotBack), sha256(back));
    stream.close();
    assert.equal(near.closed, true);
  });
}

Deno.test("A StreamDuplex that lends its memory hands out the right bytes, whenever its reader pauses", async () => {
  const next = sequence(11);
  const [near, far] = pipe({ carry: () => 1 + Math.floor(next() * 300_000) });
  const duplex = new StreamDuplex(near, { lending: true });
  const sent = randomBytes(3_000_000, 5);
  const copies: Uint8Array[] = [];
  const memories = new Set<ArrayBufferLike>();
  duplex.on("data", (chunk: Buffer) => {
    memories.add(chunk.buffer);
    copies.push(Uint8Array.from(chunk));
    if (next() > 0.3) return;
    duplex.pause();
    setImmediate(() => setImmediate(() => duplex.resume()));
  });
  await Promise.all([once(duplex, "end"), writeInPieces(far, sent, 6)]);
  assert.equal(sha256(Buffer.concat(copies)), sha256(sent));
  assert.ok(memories.size < copies.length, `${copies.length} chunks in ${memories.size} pieces of memory`);
  duplex.destroy();
});

Deno.test("A StreamDuplex does not read over what its listener looks at, even when that asks for more", async () => {
  const [near, far] = pipe({ carry: () => 100 });
  const duplex = new StreamDuplex(near, { lending: true });
  const sent = randomBytes(1000, 8);
  const copies: Uint8Array[] = [];
  duplex.on("data", (chunk: Buffer) => {
    duplex.read(0);
    copies.push(Uint8Array.from(chunk));
  });
  await Promise.all([once(duplex, "end"), writeInPieces(far, sent, 9)]);
  assert.equal(sha256(Buffer.concat(copies)), sha256(sent));
  duplex.destroy();
});

Deno.test("A StreamDuplex replays what was read before, then reads on", async () => {
  const [near, far] = pipe();
  const duplex = new StreamDuplex(near, { replay: encode("read before, ") });
  await writeAll(far, encode("read now"));
  await far.closeWrite();
  assert.equal(Buffer.concat(await Array.fromAsync(duplex)).toString(), "read before, read now");
});

Deno.test("A StreamDuplex keeps the other direction open after either FIN", async () => {
  const [near, far] = pipe();
  const duplex = new StreamDuplex(near);
  duplex.end("request");
  assert.equal(decode(await readToEnd(far)), "request");
  await writeAll(far, encode("late answer"));
  await far.closeWrite();
  assert.equal(Buffer.concat(await Array.fromAsync(duplex)).toString(), "late answer");
  if (!duplex.closed) await once(duplex, "close");
  assert.equal(near.closed, true);
});

Deno.test("A StreamDuplex says who is at the other end, as a socket does", () => {
  const [near] = pipe();
  const duplex = new StreamDuplex(near, { remote: { address: "192.0.2.7", port: 4711 } });
  assert.deepEqual([duplex.remoteAddress, duplex.remotePort], ["192.0.2.7", 4711]);
  assert.equal(duplex.setNoDelay().setKeepAlive().ref().unref(), duplex);
  duplex.destroy();
});

Deno.test("A reset of the stream destroys its StreamDuplex with that error", async () => {
  const [near, far] = pipe();
  const duplex = new StreamDuplex(near);
  duplex.resume();
  const failed = once(duplex, "error");
  far.abort();
  const [error] = await failed;
  assert.ok(error instanceof Deno.errors.ConnectionReset);
  assert.equal(near.closed, true);
});

Deno.test("A StreamDuplex that holds reads nothing more until it is released", async () => {
  const [near, far] = pipe();
  const duplex = new StreamDuplex(near);
  const seen: string[] = [];
  duplex.on("data", (chunk: Buffer) => seen.push(chunk.toString()));
  await writeAll(far, encode("a"));
  await until(() => seen.length === 1, { what: "the first bytes" });
  await nextTurn(); // the next read is on its way
  duplex.hold();
  await writeAll(far, encode("b")); // taken by the read that was pending already
  await until(() => seen.length === 2, { what: "the bytes of the pending read" });
  await writeAll(far, encode("c"));
  await nextTurn();
  assert.deepEqual([seen, near.waiting], [["a", "b"], 1]);
  duplex.release();
  await until(() => seen.length === 3, { what: "the rest" });
  duplex.destroy();
});

Deno.test("A StreamDuplex emits timeout once nothing has moved for long enough, and only then", async () => {
  const [near] = pipe();
  const duplex = new StreamDuplex(near);
  let never = 0;
  let late = 0;
  const forgotten = () => never++;
  duplex.setTimeout(1, forgotten);
  duplex.setTimeout(0, forgotten);
  duplex.setTimeout(1, () => late++);
  await until(() => late > 0, { what: "the timeout" });
  duplex.destroy();
  assert.deepEqual([never, late], [0, 1]);
});

Deno.test("A DuplexStream hands out a chunk in as many reads as it takes", async () => {
  const [near, far] = pipe();
  const stream = new DuplexStream(new StreamDuplex(near));
  await writeAll(far, encode("abcdefg"));
  const into = new Uint8Array(3);
  const parts: string[] = [];
  for (let i = 0; i < 3; i++) parts.push(decode(into.subarray(0, await stream.read(into) ?? 0)));
  assert.deepEqual(parts, ["abc", "def", "g"]);
  assert.equal(await stream.read(new Uint8Array()), 0);
  stream.close();
});

Deno.test("A DuplexStream that nobody reads stops its sender, and loses nothing", async () => {
  const [near, far] = pipe({ capacity: 1024 });
  const stream = new DuplexStream(new StreamDuplex(near));
  const data = randomBytes(2_000_000, 5);
  let sent = 0;
  const sending = (async () => {
    while (sent < data.length) sent += await far.write(data.subarray(sent, sent + 1000));
    await far.closeWrite();
  })();
  let before = -1;
  await until(async () => {
    const stuck = sent === before;
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return stuck;
  }, { what: "the sender to be stopped" });
  assert.ok(sent < 400_000, `${sent} bytes were taken without a reader`);
  assert.equal(sha256(await readToEnd(stream)), sha256(data));
  await sending;
  stream.close();
});

Deno.test("close() rejects what is pending with Interrupted, and later operations with BadResource", async () => {
  const [near, far] = pipe({ capacity: 10 });
  const stream = new DuplexStream(new StreamDuplex(near));
  const read = stream.read(new Uint8Array(1));
  const write = stream.write(new Uint8Array(100));
  stream.close();
  stream.close();
  await assert.rejects(read, Deno.errors.Interrupted);
  await assert.rejects(write, Deno.errors.Interrupted);
  await assert.rejects(stream.read(new Uint8Array(1)), Deno.errors.BadResource);
  await assert.rejects(stream.write(new Uint8Array(1)), Deno.errors.BadResource);
  await assert.rejects(stream.closeWrite(), Deno.errors.BadResource);
  await until(() => near.closed, { what: "the stream beneath to be closed" });
  far.close();
});

Deno.test("A reset rejects the pending read with ConnectionReset, and never looks like an end", async () => {
  const [near, far] = pipe();
  const stream = new DuplexStream(new StreamDuplex(near));
  const read = stream.read(new Uint8Array(1));
  far.abort();
  await assert.rejects(read, Deno.errors.ConnectionReset);
  await assert.rejects(stream.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  await assert.rejects(stream.write(new Uint8Array(1)), Deno.errors.ConnectionReset);
});

Deno.test("Node's errors and a cut without an end become those of a TCP connection", async () => {
  const cases: [Error | undefined, new () => Error][] = [
    [Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }), Deno.errors.ConnectionReset],
    [Object.assign(new Error("write EPIPE"), { code: "EPIPE" }), Deno.errors.BrokenPipe],
    [undefined, Deno.errors.ConnectionReset],
  ];
  for (const [error, expected] of cases) {
    const duplex = new Duplex({ read() {} });
    const stream = new DuplexStream(duplex);
    const read = stream.read(new Uint8Array(1));
    duplex.destroy(error);
    await assert.rejects(read, expected);
  }
});

Deno.test("What was received before the end can be read after the Duplex is gone", async () => {
  const duplex = new Duplex({ read() {} });
  const stream = new DuplexStream(duplex);
  duplex.push("last words");
  duplex.push(null);
  await once(duplex, "end");
  duplex.destroy();
  assert.equal(decode(await readToEnd(stream)), "last words");
});
