import assert from "node:assert/strict";
import { HeadWriter, hopByHopAnd, RequestHead } from "../../../core/http1/mod.ts";
import { latin1 } from "../../support/smuggling.ts";
import { textOf } from "./read_all.ts";

const DROP = hopByHopAnd(["x-forwarded-for", "host"]);

function written(write: (writer: HeadWriter) => void): string {
  const writer = new HeadWriter();
  write(writer);
  const text = textOf(writer.bytes());
  writer.release();
  return text;
}

/** The fields that go on when `fields` stand in a request. */
function rewritten(fields: string): string {
  const head = new RequestHead();
  assert.equal(head.parse(latin1(`GET / HTTP/1.1\r\nHost: a.localhost\r\n${fields}\r\nnext`)), "done");
  return written((writer) => writer.fieldsOf(head.fields, DROP));
}

Deno.test("HeadWriter hands fields on as they were sent", () => {
  assert.equal(rewritten("X-A: 1\r\nx-a:2 \r\nCookie: \xff\r\n"), "X-A: 1\r\nx-a:2 \r\nCookie: \xff\r\n");
  assert.equal(rewritten(""), "");
});

Deno.test("HeadWriter leaves out what is dropped, wherever it stands", () => {
  assert.equal(
    rewritten("X-Forwarded-For: 1\r\nA: 1\r\nKeep-Alive: 5\r\nTE: x\r\nB: 2\r\nContent-Length: 3\r\n"),
    "A: 1\r\nB: 2\r\n",
  );
  assert.equal(rewritten("Upgrade: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n"), "Trailer: X\r\n");
});

Deno.test("HeadWriter leaves out what CGI would take for what is dropped", () => {
  assert.equal(
    rewritten("X_Forwarded_For: 1\r\nX-Forwarded_for: 2\r\nX_A: 1\r\nContent_Length: 5\r\n"),
    "X_A: 1\r\n",
  );
});

Deno.test("HeadWriter leaves out what Connection lists", () => {
  assert.equal(
    rewritten("X-A: 1\r\nConnection: close, x-A\r\nX-B: 2\r\nConnection: X-c\r\nX-C: 3\r\nX-a: 4\r\n"),
    "X-B: 2\r\n",
  );
});

Deno.test("HeadWriter writes the request line in origin form", () => {
  for (
    const [target, path, method = "GET"] of [
      ["/a?b", "/a?b"],
      ["http://a.localhost/a?b", "/a?b"],
      ["http://a.localhost?b", "/?b"],
      ["http://a.localhost", "/"],
      ["http://a.localhost", "*", "OPTIONS"],
      ["*", "*", "OPTIONS"],
    ]
  ) {
    const head = new RequestHead();
    assert.equal(head.parse(latin1(`${method} ${target} HTTP/1.0\r\nHost: a.localhost\r\n\r\n`)), "done");
    assert.equal(written((writer) => writer.requestLineOf(head)), `${method} ${path} HTTP/1.1\r\n`);
    assert.equal(head.path, path);
  }
});

Deno.test("HeadWriter writes heads from scratch", () => {
  assert.equal(
    written((writer) =>
      writer.requestLine("PUT", "/a?\\").field("Host", "a").field("Content-Length", 12).end().raw(
        latin1("hello"),
      )
    ),
    "PUT /a?\\ HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello",
  );
  assert.equal(written((writer) => writer.statusLine(404).end()), "HTTP/1.1 404 Not Found\r\n\r\n");
  assert.equal(written((writer) => writer.statusLine(299).end()), "HTTP/1.1 299 \r\n\r\n");
  assert.equal(written((writer) => writer.statusLine(200, "F\xfcn").end()), "HTTP/1.1 200 F\xfcn\r\n\r\n");
});

Deno.test("HeadWriter writes chunks of every length", () => {
  for (const length of [1, 9, 15, 16, 17, 255, 256, 4095, 4096, 65_535, 65_536]) {
    const data = "x".repeat(length);
    assert.equal(written((writer) => writer.chunk(latin1(data))), `${length.toString(16)}\r\n${data}\r\n`);
  }
  assert.equal(written((writer) => writer.chunk(new Uint8Array()).lastChunk()), "0\r\n\r\n");
});

Deno.test("HeadWriter lets nothing in that ends a line early", () => {
  for (const bad of ["a\r\nX: b", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\u0100", "\u{1f600}"]) {
    assert.throws(() => written((writer) => writer.field("X", bad)), TypeError, bad);
    assert.throws(() => written((writer) => writer.field(bad, "x")), TypeError, bad);
    assert.throws(() => written((writer) => writer.statusLine(200, bad)), TypeError, bad);
    assert.throws(() => written((writer) => writer.requestLine("GET", bad)), TypeError, bad);
    assert.throws(() => written((writer) => writer.requestLine(bad, "/")), TypeError, bad);
  }
  assert.throws(() => written((writer) => writer.requestLine("GET", "/a b")), TypeError);
  assert.throws(() => written((writer) => writer.field("a b", "x")), TypeError);
  assert.throws(() => written((writer) => writer.field("Content-Length", -1)), TypeError);
  assert.throws(() => written((writer) => writer.field("Content-Length", NaN)), TypeError);
});

Deno.test("HeadWriter grows, is cleared, and takes another buffer after it gave its own back", () => {
  const writer = new HeadWriter();
  const long = latin1("x".repeat(10_000));
  assert.equal(textOf(writer.raw(long).field("A", 1).bytes()), "x".repeat(10_000) + "A: 1\r\n");
  assert.equal(writer.length, 10_006);
  assert.equal(textOf(writer.clear().field("B", "2").bytes()), "B: 2\r\n");
  writer.release();
  writer.release();
  assert.equal(textOf(writer.field("C", "3").bytes()), "C: 3\r\n");
  writer.release();
});
