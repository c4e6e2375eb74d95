import assert from "node:assert/strict";
import { BodyReader, ByteReader, HeadWriter, LAST_CHUNK } from "../../../core/http1/mod.ts";
import { latin1 } from "../../support/smuggling.ts";
import { inPiecesOf, streamOf, textOf } from "./read_all.ts";

function readerOf(...pieces: string[]): { reader: ByteReader; body: BodyReader } {
  const reader = new ByteReader(streamOf(pieces.map(latin1)));
  return { reader, body: new BodyReader(reader) };
}

Deno.test("BodyReader gives out what lies ready at once, and no byte of the next message", async () => {
  const { reader, body } = readerOf("hel", "loGET");
  body.start("length", 5);
  assert.equal(body.next(), "more");
  assert.equal(textOf(await body.read() as Uint8Array), "hel");
  assert.equal(body.next(), "more");
  assert.equal(body.done, false);
  assert.equal(textOf(await body.read() as Uint8Array), "lo");
  assert.equal(body.done, true, "said with the last of it");
  assert.equal(body.next(), "end");
  assert.equal(await body.read(), "end");
  assert.equal(textOf(reader.bytes), "GET");
  reader.release();
});

Deno.test("BodyReader puts the chunks of one read together", async () => {
  const { reader, body } = readerOf("1\r\nh\r\n3;x\r\nell\r\n1\r\no\r\n5\r\nwor", "ld\r\n0\r\n", "\r\nGET");
  body.start("chunked");
  assert.equal(textOf(await body.read() as Uint8Array), "hellowor");
  assert.equal(textOf(await body.read() as Uint8Array), "ld");
  assert.equal(body.done, false);
  assert.equal(await body.read(), "end");
  assert.equal(body.trailers, undefined);
  assert.equal(textOf(reader.bytes), "GET");
  reader.release();
});

Deno.test("BodyReader frames data anew where it lies, the end with it", async () => {
  const { reader, body } = readerOf("8\r\n", "sixteen \r\n8\r\nletters.\r\n0\r\n\r\nGET");
  body.start("chunked");
  const data = await body.read() as Uint8Array<ArrayBuffer>;
  assert.equal(body.done, true);
  assert.equal(textOf(body.asChunk(data)), "10\r\nsixteen letters.\r\n");
  assert.equal(textOf(body.asChunk(data, true)), "10\r\nsixteen letters.\r\n0\r\n\r\n");
  assert.equal(textOf(reader.bytes), "GET", "what is behind is untouched");
  reader.release();
});

Deno.test("BodyReader frames a body that ends with the stream", async () => {
  const { reader, body } = readerOf("hello", "world");
  body.start("until-close");
  let out = "";
  for (let data = await body.read(); data !== "end"; data = await body.read()) {
    assert(data instanceof Uint8Array);
    out += textOf(body.asChunk(data));
  }
  assert.equal(out + textOf(LAST_CHUNK), "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n");
  reader.release();
});

Deno.test("BodyReader frames only what may be written around", async () => {
  const { reader, body } = readerOf("helloGET", "");
  body.start("length", 5);
  const data = await body.read() as Uint8Array<ArrayBuffer>;
  assert.throws(() => body.asChunk(data), TypeError);
  const chunked = readerOf("5\r\nhello\r\n0\r\nX: a\r\n\r\n");
  chunked.body.start("chunked");
  const last = await chunked.body.read() as Uint8Array<ArrayBuffer>;
  assert.equal(chunked.body.done, true);
  assert.throws(() => chunked.body.asChunk(last, true), TypeError, "there are trailers");
  reader.release();
  chunked.reader.release();
});

Deno.test("BodyReader gives trailers; those that must not be there are not written on", async () => {
  const text =
    "5\r\nHOWDY\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nTransfer_Encoding: x\r\nHost: a\r\nX-More:2\r\n\r\nGET";
  for (let size = 1; size < text.length; size++) {
    const reader = new ByteReader(streamOf(inPiecesOf(size, latin1(text))));
    const body = new BodyReader(reader);
    body.start("chunked");
    let data = "";
    for (let found = await body.read(); found !== "end"; found = await body.read()) {
      assert(found instanceof Uint8Array);
      data += textOf(body.asChunk(found));
    }
    assert.equal(data.replaceAll(/[\da-f]\r\n|\r\n/g, ""), "HOWDY");
    assert.equal(body.trailers?.get("x-sum"), "1");
    const writer = new HeadWriter();
    assert.equal(textOf(writer.lastChunk(body.trailers).bytes()), "0\r\nX-Sum: 1\r\nX-More:2\r\n\r\n");
    writer.release();
    body.start("none");
    assert.equal(body.trailers, undefined);
    reader.release();
  }
});

Deno.test("BodyReader tells a body that was cut short from one that ended", async () => {
  const cases: [pieces: string[], start: (body: BodyReader) => void, end: "end" | string][] = [
    [["hell"], (body) => body.start("length", 5), "body-cut-short"],
    [["5\r\nhell"], (body) => body.start("chunked"), "body-cut-short"],
    [["5\r\nhello\r\n"], (body) => body.start("chunked"), "body-cut-short"],
    [["5\r\nhello\r\n0\r\n"], (body) => body.start("chunked"), "body-cut-short"],
    [["5\r\nhello\r\n0\r\n\r"], (body) => body.start("chunked"), "body-cut-short"],
    [["5\r\nhello\r\n0\r\nX: a\r\n"], (body) => body.start("chunked"), "body-cut-short"],
    [["hello"], (body) => body.start("until-close"), "end"],
    [[], (body) => body.start("none"), "end"],
    [[], (body) => body.start("length", 0), "end"],
  ];
  for (const [pieces, start, end] of cases) {
    const { reader, body } = readerOf(...pieces);
    start(body);
    let found = await body.read();
    while (found instanceof Uint8Array) found = await body.read();
    assert.equal(typeof found === "string" ? found : found.word, end, `${pieces}`);
    reader.release();
  }
});

Deno.test("BodyReader gives out what was in order before a fault, then the fault for ever", async () => {
  const { reader, body } = readerOf("5\r\nhello\r\nx", "more");
  body.start("chunked");
  assert.equal(textOf(await body.read() as Uint8Array), "hello");
  for (let i = 0; i < 3; i++) assert.deepEqual(await body.read(), { status: 400, word: "chunk-size" });
  body.start("none");
  assert.equal(await body.read(), "end");
  reader.release();
});

Deno.test("BodyReader wants the length of a body that has one", () => {
  const { reader, body } = readerOf();
  assert.throws(() => body.start("length"), RangeError);
  reader.release();
});
