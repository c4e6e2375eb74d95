import assert from "node:assert/strict";
import { HeadWriter } from "../../../../core/http1/mod.ts";
import { ForwardedLines } from "../../../../plugins/ws-agent/http/forwarded.ts";
import {
  describeRequest,
  lastChunkWith,
  translateRequest,
} from "../../../../plugins/ws-agent/http/http2_request.ts";
import { connection } from "../../connection.ts";

const NAME = "demo.localhost";
const LINES = new ForwardedLines(connection(), true);

function translate(pseudo: Record<string, string>, fields: readonly string[] = [], endsHere = true) {
  const all = { ":method": "GET", ":scheme": "https", ":authority": NAME, ":path": "/", ...pseudo };
  return translateRequest([...Object.entries(all).flat(), ...fields], NAME, LINES, endsHere);
}

const refused: readonly (readonly [
  name: string,
  pseudo: Record<string, string>,
  fields: readonly string[],
  status: number,
  detail: string | undefined,
])[] = [
  ["no path", { ":path": "" }, [], 400, "target"],
  ["an absolute path", { ":path": "http://x/" }, [], 400, "target"],
  ["a path with a space", { ":path": "/a b" }, [], 400, "target"],
  ["a path with a backslash", { ":path": "/a\\b" }, [], 400, "target"],
  ["a path with a fragment", { ":path": "/a?b#c" }, [], 400, "target"],
  ["a path that is not ASCII", { ":path": "/\u00e9" }, [], 400, "target"],
  ["a path with a line end", { ":path": "/ HTTP/1.1\r\nX: y\r\n" }, [], 400, "target"],
  ["an asterisk", { ":path": "*" }, [], 400, "target"],
  ["a method with a space", { ":method": "GET /" }, [], 501, "method-refused"],
  ["CONNECT", { ":method": "CONNECT" }, [], 501, "method-refused"],
  ["CONNECT to a protocol", { ":protocol": "websocket" }, [], 400, "pseudo-field"],
  ["a value with a line end", {}, ["x", "a\r\nb"], 400, "field"],
  ["a value with NUL", {}, ["x", "a\0b"], 400, "field"],
  ["a value that is no bytes", {}, ["x", "\u0100"], 400, "field"],
  ["a name with a space", {}, ["x y", "a"], 400, "field"],
  ["a cookie with a line end", {}, ["cookie", "a\r\nb"], 400, "field"],
  ["transfer-encoding", {}, ["transfer-encoding", "chunked"], 400, "connection-field"],
  ["connection", {}, ["connection", "close"], 400, "connection-field"],
  ["upgrade", {}, ["upgrade", "websocket"], 400, "connection-field"],
  ["te", {}, ["te", "gzip"], 400, "te"],
  ["two lengths", {}, ["content-length", "1", "content-length", "1"], 400, "content-length-twice"],
  ["a length that is none", {}, ["content-length", "+1"], 400, "content-length"],
  ["a length with a zero in front", {}, ["content-length", "010"], 400, "content-length"],
  ["user information", { ":authority": `x@${NAME}` }, [], 400, "host"],
  ["another Host", {}, ["host", "other"], 400, "host-and-target"],
  ["two Hosts", {}, ["host", NAME, "host", NAME], 400, "host-twice"],
  ["another name", { ":authority": "other" }, [], 421, undefined],
  ["a head over 32 KiB", {}, ["x", "y".repeat(33_000)], 431, "head-too-long"],
  ["a thousand fields", {}, Array.from({ length: 2000 }, () => "x"), 431, "head-too-long"],
];

for (const [name, pseudo, fields, status, detail] of refused) {
  Deno.test(`translateRequest() answers ${status} to ${name}`, () => {
    const head = translate(pseudo, fields);
    assert("word" in head);
    assert.deepEqual([head.status, head.detail], [status, detail]);
  });
}

Deno.test("translateRequest() says how the body is framed, and by what name it was asked", () => {
  const cases:
    readonly (readonly [fields: readonly string[], endsHere: boolean, framing: RegExp, chunked: boolean])[] =
      [
        [[], true, /^(?!.*(?:content-length|transfer-encoding))/s, false],
        [["content-length", "0"], true, /\r\ncontent-length: 0\r\n/, false],
        [["content-length", "3"], false, /\r\ncontent-length: 3\r\n/, false],
        [[], false, /\r\ntransfer-encoding: chunked\r\n/, true],
      ];
  for (const [fields, endsHere, framing, chunked] of cases) {
    const head = translate({ ":authority": `${NAME}:8443` }, fields, endsHere);
    assert("head" in head);
    const text = new TextDecoder().decode(head.head.bytes());
    assert.match(text, framing);
    assert.match(text, /^GET \/ HTTP\/1\.1\r\nHost: demo\.localhost:8443\r\n/);
    assert(text.endsWith("\r\n\r\n"));
    assert.equal(head.chunked, chunked);
    head.head.release();
  }
});

Deno.test("describeRequest() leaves out the query and keeps to its limits", () => {
  const described = describeRequest([
    ":method",
    "M".repeat(99),
    ":path",
    `/${"p".repeat(300)}?secret`,
    "accept",
    "a/b",
  ]);
  assert.deepEqual(described, { method: "M".repeat(32), pathname: `/${"p".repeat(255)}`, accept: "a/b" });
  assert.deepEqual(describeRequest([":path", "/a?secret"]), {
    method: "-",
    pathname: "/a",
    accept: undefined,
  });
});

Deno.test("lastChunkWith() sends on what may stand behind a body, and refuses what no head can hold", () => {
  const text = (trailers: Record<string, string | string[]> | undefined) => {
    const bytes = lastChunkWith(trailers, new HeadWriter());
    return bytes && new TextDecoder().decode(bytes);
  };
  assert.equal(text(undefined), "0\r\n\r\n");
  assert.equal(text({ "x-sum": "1", "x-two": ["a", "b"] }), "0\r\nx-sum: 1\r\nx-two: a\r\nx-two: b\r\n\r\n");
  assert.equal(
    text({ "content-length": "9", "host": "x", "x-forwarded-for": "y", ":path": "/" }),
    "0\r\n\r\n",
  );
  assert.equal(
    text({ "content_length": "9", "x_forwarded_for": "y", "x-forwarded-user": "root", "x_real-ip": "z" }),
    "0\r\n\r\n",
  );
  assert.equal(text({ "x": "a\r\n\r\nGET / HTTP/1.1" }), undefined);
});
