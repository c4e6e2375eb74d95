import assert from "node:assert/strict";
import { type BodyKind, ResponseHead } from "../../../core/http1/mod.ts";
import { latin1 } from "../../support/smuggling.ts";
import { textOf } from "./read_all.ts";

interface Expected {
  readonly status: number;
  readonly body: BodyKind;
  readonly contentLength?: number;
  readonly keepAlive?: boolean;
  readonly upgrade?: string;
}

/** Name, head, what is expected of it (a word: the fault), the request's method. */
type Row = readonly [name: string, text: string, expected: Expected | string, method?: string];

const ROWS: readonly Row[] = [
  ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", {
    status: 200,
    body: "length",
    contentLength: 5,
  }],
  ["length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {
    status: 200,
    body: "none",
    contentLength: 0,
  }],
  ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", { status: 200, body: "chunked" }],
  ["neither", "HTTP/1.1 200 OK\r\n\r\n", { status: 200, body: "until-close", keepAlive: false }],
  ["neither, in HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", { status: 200, body: "until-close", keepAlive: false }],
  ["a length in HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", {
    status: 200,
    body: "length",
    contentLength: 5,
    keepAlive: false,
  }],
  ["keep-alive in HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n", {
    status: 200,
    body: "length",
    contentLength: 5,
  }],
  ["close", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", {
    status: 200,
    body: "length",
    contentLength: 5,
    keepAlive: false,
  }],
  ["an answer to HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", {
    status: 200,
    body: "none",
    contentLength: 5,
  }, "HEAD"],
  ["an answer to HEAD with chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {
    status: 200,
    body: "none",
  }, "HEAD"],
  ["an answer to HEAD with neither", "HTTP/1.1 200 OK\r\n\r\n", { status: 200, body: "none" }, "HEAD"],
  ["304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", {
    status: 304,
    body: "none",
    contentLength: 5,
  }],
  ["204", "HTTP/1.1 204 No Content\r\n\r\n", { status: 204, body: "none" }],
  ["204 with length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", {
    status: 204,
    body: "none",
    contentLength: 0,
  }],
  ["204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", {
    status: 204,
    body: "none",
    contentLength: 5,
    keepAlive: false,
  }],
  ["204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", {
    status: 204,
    body: "none",
    keepAlive: false,
  }],
  ["205 with length 0", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", {
    status: 205,
    body: "none",
    contentLength: 0,
  }],
  ["100", "HTTP/1.1 100 Continue\r\n\r\n", { status: 100, body: "none" }],
  ["103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", { status: 103, body: "none" }],
  ["100 with length 0", "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", {
    status: 100,
    body: "none",
    contentLength: 0,
  }],
  ["100 with a length", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", "body-of-interim"],
  ["100 with chunks", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n", "body-of-interim"],
  ["101", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", {
    status: 101,
    body: "none",
    keepAlive: false,
    upgrade: "websocket",
  }],
  [
    "101 to h2c",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "upgrade-missing",
  ],
  [
    "101 without Upgrade",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    "upgrade-missing",
  ],
  [
    "101 without Connection",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "upgrade-missing",
  ],
  ["no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", {
    status: 200,
    body: "none",
    contentLength: 0,
  }],
  ["no reason and no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", {
    status: 200,
    body: "none",
    contentLength: 0,
  }],
  ["a long reason", `HTTP/1.1 599 ${"x \xe9\t".repeat(99)}\r\nContent-Length: 0\r\n\r\n`, {
    status: 599,
    body: "none",
    contentLength: 0,
  }],

  ["status 99", "HTTP/1.1 099 X\r\n\r\n", "status-line"],
  ["status 600", "HTTP/1.1 600 X\r\n\r\n", "status-line"],
  ["two digits", "HTTP/1.1 20 OK\r\n\r\n", "status-line"],
  ["four digits", "HTTP/1.1 2000 OK\r\n\r\n", "status-line"],
  ["a letter in the status", "HTTP/1.1 2x0 OK\r\n\r\n", "status-line"],
  ["two spaces", "HTTP/1.1  200 OK\r\n\r\n", "status-line"],
  ["a tab", "HTTP/1.1\t200 OK\r\n\r\n", "status-line"],
  ["NUL in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", "status-line"],
  ["ESC in the reason", "HTTP/1.1 200 \x1b[2J\r\n\r\n", "status-line"],
  ["bare LF behind the status", "HTTP/1.1 200\nX: a\r\n\r\n", "bare-lf"],
  ["bare LF behind the reason", "HTTP/1.1 200 OK\nX: a\r\n\r\n", "bare-lf"],
  ["bare CR behind the reason", "HTTP/1.1 200 OK\rX: a\r\n\r\n", "bare-cr"],
  ["an empty line in front", "\r\nHTTP/1.1 200 OK\r\n\r\n", "version"],
  ["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "version-refused"],
  ["HTTP/2 without a minor version", "HTTP/2 200 OK\r\n\r\n", "version"],
  ["ICY", "ICY 200 OK\r\n\r\n", "version"],
  ["lower case", "http/1.1 200 OK\r\n\r\n", "version"],
  ["a body without a head", "<html>hello</html>", "version"],
  [
    "CL.CL, equal",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "content-length-twice",
  ],
  ["CL.CL", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "content-length-twice"],
  [
    "CL.TE",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length-and-chunked",
  ],
  [
    "CL.TE to HEAD",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "length-and-chunked",
    "HEAD",
  ],
  ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "content-length"],
  ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content-length"],
  ["TE: gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer-encoding"],
  ["TE: gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "coding-unknown"],
  ["TE in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked-in-http10"],
  ["folding", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "line-folding"],
  ["a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", "space-before-colon"],
  ["bare LF between fields", "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n", "bare-lf"],
  ["bare CR in a value", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", "bare-cr"],
  ["NUL in a value", "HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n", "field-value"],
  ["101 fields", `HTTP/1.1 200 OK\r\n${"X: a\r\n".repeat(101)}\r\n`, "too-many-fields"],
  ["a head over 32 KiB", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(32768)}\r\n\r\n`, "head-too-long"],
  ["a reason over 32 KiB", `HTTP/1.1 200 ${"a".repeat(32768)}\r\n\r\n`, "head-too-long"],
];

function outcomeOf(head: ResponseHead, result: "more" | "done" | { word: string }): Expected | string {
  if (typeof result === "object") return result.word;
  if (result === "more") return "more";
  const { status, body, contentLength, keepAlive, upgrade } = head;
  return { status, body, contentLength, keepAlive, ...(upgrade !== undefined && { upgrade }) };
}

for (const [name, text, expected, method = "GET"] of ROWS) {
  Deno.test(`ResponseHead: ${name}`, () => {
    const bytes = latin1(text + "HTTP/1.1 200 OK\r\n");
    const wanted = typeof expected === "string"
      ? expected
      : { contentLength: -1, keepAlive: true, ...expected };
    const head = new ResponseHead(); // one for all cuts: nothing may be left over from the parse before
    assert.deepEqual(outcomeOf(head, head.parse(bytes, method)), wanted);
    if (typeof wanted === "object") assert.equal(head.length, text.length);
    for (let cut = 0; cut < Math.min(text.length, 600); cut++) {
      const first = head.parse(bytes.subarray(0, cut), method);
      const result = first === "more" ? head.parse(bytes, method) : first;
      assert.deepEqual(outcomeOf(head, result), wanted, `cut at ${cut}`);
    }
  });
}

Deno.test("ResponseHead gives the reason as it was sent", () => {
  const head = new ResponseHead();
  for (
    const [line, reason] of [["200 OK", "OK"], ["200 ", ""], ["200", ""], ["404  a\tb ", " a\tb "], [
      "200 \xe9",
      "\xe9",
    ]]
  ) {
    assert.equal(head.parse(latin1(`HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`), "GET"), "done");
    assert.equal(head.reason, reason);
    assert.equal(textOf(head.fields.bytes.subarray(head.reasonStart, head.reasonEnd)), reason);
  }
});
