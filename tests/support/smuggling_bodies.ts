import type { Refusal, Row, SeenRequest } from "./smuggling.ts";

const HOST = "Host: demo.localhost\r\n";
const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: demo.localhost\r\n\r\n";
const SEEN_HIDDEN: SeenRequest = { method: "GET", path: "/hidden", body: "" };

const refusal = (status: number, word: string, where: "head" | "body" = "head"): Refusal => ({
  status,
  word,
  in: where,
});
const post = (body: string, method = "POST"): SeenRequest => ({ method, path: "/", body });

/** These fields frame nothing that can be relied on. A service that saw no body would serve what is hidden in it. */
const framing = (name: string, fields: string, word: string, status = 400): Row => [
  `framing: ${name}`,
  `POST / HTTP/1.1\r\n${HOST}${fields}\r\n0\r\n\r\n${HIDDEN}`,
  [],
  refusal(status, word),
];
const length = (name: string, value: string): Row =>
  framing(name, `Content-Length:${value}\r\n`, "content-length");
const coding = (name: string, value: string): Row =>
  framing(name, `Transfer-Encoding:${value}\r\n`, "transfer-encoding");
const CHUNKED = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
/** A chunked body that is refused. */
const chunks = (name: string, body: string, word: string, status = 400): Row => [
  `chunks: ${name}`,
  `${CHUNKED}${body}`,
  [],
  refusal(status, word, "body"),
];
/** A chunked body that is fine, and another request behind it. */
const fine = (name: string, body: string, data: string): Row => [
  `chunks: ${name}`,
  `${CHUNKED}${body}${HIDDEN}`,
  [post(data), SEEN_HIDDEN],
];

export const BODY_ROWS: readonly Row[] = [
  framing("CL.TE", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "length-and-chunked"),
  framing("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "length-and-chunked"),
  framing("CL.TE with length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "length-and-chunked"),
  framing(
    "CL.TE with an unknown coding",
    "Content-Length: 5\r\nTransfer-Encoding: x\r\n",
    "length-and-chunked",
  ),
  framing(
    "TE.CL with an empty length",
    "Transfer-Encoding: chunked\r\nContent-Length:\r\n",
    "length-and-chunked",
  ),
  framing("CL.CL, different", "Content-Length: 5\r\nContent-Length: 6\r\n", "content-length-twice"),
  framing("CL.CL, equal", "Content-Length: 5\r\nContent-Length: 5\r\n", "content-length-twice"),
  framing("CL.CL, in other case", "Content-Length: 5\r\ncontent-LENGTH: 0\r\n", "content-length-twice"),
  framing("TE.TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "transfer-encoding-twice"),
  framing(
    "TE.TE, equal",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "transfer-encoding-twice",
  ),
  framing("CL with a space before the colon", "Content-Length : 5\r\n", "space-before-colon"),
  framing("TE with a space before the colon", "Transfer-Encoding : chunked\r\n", "space-before-colon"),
  framing("TE with a tab before the colon", "Transfer-Encoding\t: chunked\r\n", "space-before-colon"),
  framing("TE with NUL behind the name", "Transfer-Encoding\x00: chunked\r\n", "field-name"),
  framing("TE in a folded line", "X: y\r\n Transfer-Encoding: chunked\r\n", "line-folding"),
  framing("TE with a folded value", "Transfer-Encoding:\r\n chunked\r\n", "line-folding"),
  framing("TE behind a bare CR", "X: y\rTransfer-Encoding: chunked\r\n", "bare-cr"),
  framing("TE behind a bare LF", "X: y\nTransfer-Encoding: chunked\r\n", "bare-lf"),
  framing("TE with VT", "Transfer-Encoding: \x0bchunked\r\n", "field-value"),
  framing("TE with NUL", "Transfer-Encoding: chunked\x00\r\n", "field-value"),
  framing("a coding in front of chunked", "Transfer-Encoding: gzip, chunked\r\n", "coding-unknown", 501),
  framing("chunked twice in one field", "Transfer-Encoding: chunked, chunked\r\n", "coding-unknown", 501),
  framing("a comma in front of chunked", "Transfer-Encoding: ,chunked\r\n", "coding-unknown", 501),
  coding("TE: identity", " identity"),
  coding("TE: chunked, then identity", " chunked, identity"),
  coding("TE: xchunked", " xchunked"),
  coding("TE: chunkedx", " chunkedx"),
  coding("TE: chunk", " chunk"),
  coding("TE: a comma behind", " chunked,"),
  coding("TE: with a parameter", " chunked;q=1"),
  coding("TE: quoted", ' "chunked"'),
  coding("TE: in single quotes", " 'chunked'"),
  coding("TE: with a byte over 0x7f", " chunked\xa0"),
  coding("TE: empty", ""),
  length("CL: empty", ""),
  length("CL: blank", "  "),
  length("CL: a sign", " +5"),
  length("CL: negative", " -5"),
  length("CL: minus 0", " -0"),
  length("CL: hexadecimal", " 0x5"),
  length("CL: a letter", " 5a"),
  length("CL: an exponent", " 5e0"),
  length("CL: a fraction", " 5.0"),
  length("CL: a list of equal ones", " 5, 5"),
  length("CL: a list", " 5, 6"),
  length("CL: a comma behind", " 5,"),
  length("CL: two words", " 5 6"),
  length("CL: an underscore", " 1_0"),
  length("CL: a zero in front", " 05"),
  length("CL: two zeros", " 00"),
  length("CL: quoted", ' "5"'),
  length("CL: a digit over 0x7f", " \xd9\xa5"),
  length("CL: 2^53", " 9007199254740992"),
  length("CL: 2^64 + 5", " 18446744073709551621"),
  length("CL: a hundred digits", ` ${"1".repeat(100)}`),
  [
    "framing: chunked in HTTP/1.0",
    `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
    [],
    refusal(400, "chunked-in-http10"),
  ],

  [
    "framing: a request that is a body",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
    [post(HIDDEN)],
  ],
  [
    "framing: a GET with a body",
    `GET / HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}${HIDDEN}`,
    [post(HIDDEN, "GET"), SEEN_HIDDEN],
  ],
  [
    "framing: length 0 and a second request",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n${HIDDEN}`,
    [post(""), SEEN_HIDDEN],
  ],
  ["framing: no field and a second request", `POST / HTTP/1.1\r\n${HOST}\r\n${HIDDEN}`, [
    post(""),
    SEEN_HIDDEN,
  ]],
  [
    "framing: no field and the rest of a body",
    `POST / HTTP/1.1\r\n${HOST}\r\n5\r\nhello\r\n0\r\n\r\n`,
    [post("")],
    refusal(400, "method"),
  ],
  [
    "framing: spaces around a length",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: \t 5 \t\r\n\r\nhello${HIDDEN}`,
    [post("hello"), SEEN_HIDDEN],
  ],
  [
    "framing: one CRLF behind a body",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello\r\n${HIDDEN}`,
    [post("hello"), SEEN_HIDDEN],
  ],
  [
    "framing: a byte too many",
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\nhello${HIDDEN}`,
    [post("hell")],
    refusal(501, "method-refused"),
  ],
  ["framing: bytes too few", `POST / HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nhello`, []],
  ["framing: HTTP/1.0 closes", `GET / HTTP/1.0\r\n${HOST}\r\n${HIDDEN}`, [post("", "GET")]],
  ["framing: Connection: close closes", `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n${HIDDEN}`, [
    post("", "GET"),
  ]],
  [
    "framing: close wins",
    `GET / HTTP/1.1\r\n${HOST}Connection: keep-alive\r\nConnection: x, CLOSE\r\n\r\n${HIDDEN}`,
    [post("", "GET")],
  ],
  [
    "framing: HTTP/1.0 with keep-alive",
    `POST / HTTP/1.0\r\n${HOST}Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello${HIDDEN}`,
    [post("hello"), SEEN_HIDDEN],
  ],
  [
    "framing: chunked in capitals",
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: \tChunKED \r\n\r\n5\r\nhello\r\n0\r\n\r\n${HIDDEN}`,
    [post("hello"), SEEN_HIDDEN],
  ],

  fine("one", "5\r\nhello\r\n0\r\n\r\n", "hello"),
  fine("three", "1\r\nh\r\n3\r\nell\r\n1\r\no\r\n0\r\n\r\n", "hello"),
  fine("none", "0\r\n\r\n", ""),
  fine("many zeros", "0000000000000005\r\nhello\r\n00\r\n\r\n", "hello"),
  fine(
    "both cases of digits",
    "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
    "abcdefghijklmnopqrstuvwxyz".repeat(2),
  ),
  fine("a request as data", `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`, HIDDEN),
  fine("the end as data", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
  fine("extensions", '5;a;b=c;d="e f"\r\nhello\r\n0;z\r\n\r\n', "hello"),
  fine("two long extensions", `1;${"a".repeat(200)}\r\nx\r\n1;${"a".repeat(200)}\r\ny\r\n0\r\n\r\n`, "xy"),
  fine("trailers", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", "hello"),
  fine("forbidden trailers", "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n", ""),
  chunks("an empty size", "\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a size that is no number", "x\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a negative size", "-5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a space in front of the size", " 5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a space in front of an extension", "5 ;a\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("NUL behind the size", "5\x00\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a size of 2^53", "20000000000000\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a size of 2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("a size of 2^64 - 1", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size"),
  chunks("bare LF behind the size", "5\nhello\r\n0\r\n\r\n", "bare-lf"),
  chunks("bare CR behind the size", "5\rXhello\r\n0\r\n\r\n", "bare-cr"),
  chunks("bare LF behind an extension", "5;a\nhello\r\n0\r\n\r\n", "bare-lf"),
  chunks("bare LF in an extension", `2;\nxx\r\n4c\r\n0\r\n\r\n${HIDDEN}`, "bare-lf"),
  chunks("bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "bare-cr"),
  chunks("NUL in an extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", "chunk-extension"),
  chunks("a long extension", `5;${"a".repeat(257)}\r\nhello\r\n0\r\n\r\n`, "chunk-extension"),
  chunks("many extensions", `1;${"a".repeat(250)}\r\nx\r\n`.repeat(66), "chunk-extension"),
  chunks("bare LF behind the data", "5\r\nhello\n0\r\n\r\n", "bare-lf"),
  chunks("bare CR behind the data", "5\r\nhello\r0\r\n\r\n", "bare-cr"),
  chunks("nothing behind the data", "5\r\nhello0\r\n\r\n", "chunk-end"),
  chunks("data longer than its size", "4\r\nhello\r\n0\r\n\r\n", "chunk-end"),
  chunks("data shorter than its size", "6\r\nhello\r\n0\r\n\r\n", "bare-lf"),
  chunks("two bytes that are not CRLF behind the data", "5\r\nhelloXX0\r\n\r\n", "chunk-end"),
  chunks("bare LF behind the last size", `0\n\r\n${HIDDEN}`, "bare-lf"),
  chunks("a space behind the last size", `0 \r\n\r\n${HIDDEN}`, "chunk-size"),
  chunks("bare LF at the end", `0\r\n\n${HIDDEN}`, "bare-lf"),
  chunks("bare CR at the end", `0\r\n\r${HIDDEN}`, "bare-cr"),
  chunks("a request for a trailer", `0\r\n${HIDDEN}`, "space-before-colon"),
  chunks("a folded trailer", "0\r\nX: a\r\n b\r\n\r\n", "line-folding"),
  chunks("a trailer with bare LF", "0\r\nX: a\nY: b\r\n\r\n", "bare-lf"),
  chunks("a trailer with a space before the colon", "0\r\nX : a\r\n\r\n", "space-before-colon"),
  chunks("a trailer with NUL", "0\r\nX: \x00\r\n\r\n", "field-value"),
  chunks("trailers over 8 KiB", `0\r\nX: ${"a".repeat(8192)}\r\n\r\n`, "trailers-too-long", 431),
  chunks("101 trailers", `0\r\n${"X: a\r\n".repeat(101)}\r\n`, "too-many-fields", 431),
  ["chunks: no end", `${CHUNKED}5\r\nhello\r\n`, []],
  ["chunks: a request for the rest of a chunk", `${CHUNKED}ff\r\n${HIDDEN}`, []],
];
