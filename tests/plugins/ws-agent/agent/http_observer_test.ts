import assert from "node:assert/strict";
import { type Exchange, HttpObserver } from "../../../../plugins/ws-agent/agent/http_observer.ts";

/** Bytes as they go by: `>` a request's, `<` a response's. */
type Step = readonly [">" | "<", string];

const GET = "GET /a?q=1 HTTP/1.1\r\nHost: a\r\n\r\n";

const CASES: readonly {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly seen: readonly string[];
}[] = [
  {
    name: "bodies by length",
    steps: [
      [">", "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHTTP/"],
      ["<", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nHTTP/1.1 500 No\r\n\r\n\r"],
      [">", GET],
      ["<", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"],
    ],
    seen: ["POST /p 200", "GET /a 404"],
  },
  {
    name: "chunked bodies, with extensions and trailers",
    steps: [
      [
        ">",
        "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
      ],
      [
        "<",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1A\r\nHTTP/1.1 500 aaaaaaaaaaaaa\r\n0\r\n\r\n",
      ],
      [">", GET],
      ["<", "HTTP/1.1 204 No Content\r\n\r\n"],
    ],
    seen: ["POST /p 200", "GET /a 204"],
  },
  {
    name: "HEAD and 304, which have no bodies",
    steps: [
      [">", "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n"],
      ["<", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"],
      [">", GET],
      ["<", "HTTP/1.1 304 Not Modified\r\n\r\n"],
    ],
    seen: ["HEAD /h 200", "GET /a 304"],
  },
  {
    name: "interim answers",
    steps: [[">", GET], ["<", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"], [
      "<",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]],
    seen: ["GET /a 200"],
  },
  {
    name: "an upgrade, behind which there is no HTTP",
    steps: [
      [">", "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
      ["<", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"],
      [">", GET],
      ["<", "HTTP/1.1 200 OK\r\n\r\n"],
    ],
    seen: ["GET /ws 101"],
  },
  {
    name: "a body up to the end",
    steps: [[">", GET], ["<", "HTTP/1.0 200 OK\r\n\r\nanything"], ["<", "HTTP/1.1 500 No\r\n\r\n"]],
    seen: ["GET /a 200"],
  },
  {
    name: "an answer that nobody asked for: no more is looked at",
    steps: [["<", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"], [">", GET], [
      "<",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]],
    seen: [],
  },
  {
    name: "something else than HTTP",
    steps: [[">", "\x16\x03\x01\x02\x00"], ["<", "SSH-2.0-x\r\n"]],
    seen: [],
  },
  {
    name: "a chunk that is none",
    steps: [[">", GET], ["<", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"], [">", GET], [
      "<",
      "HTTP/1.1 200 OK\r\n\r\n",
    ]],
    seen: ["GET /a 200"],
  },
  {
    name: "a head that has no end",
    steps: [[">", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(40_000)}\r\n\r\n`], [
      "<",
      "HTTP/1.1 200 OK\r\n\r\n",
    ]],
    seen: [],
  },
];

function observe(steps: readonly Step[], pieces: number): string[] {
  const seen: Exchange[] = [];
  const observer = new HttpObserver((exchange) => seen.push(exchange), () => 0);
  for (const [way, text] of steps) {
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    for (let at = 0; at < bytes.length; at += pieces) {
      const piece = bytes.slice(at, at + pieces);
      if (way === ">") observer.request(piece);
      else observer.response(piece);
      piece.fill(0); // it is looked at, and not kept
    }
  }
  return seen.map(({ method, path, status }) => `${method} ${path} ${status}`);
}

for (const { name, steps, seen } of CASES) {
  Deno.test(`HttpObserver sees ${name}, however the bytes are cut`, () => {
    for (const pieces of [Infinity, 1, 2, 7, 100]) {
      assert.deepEqual(observe(steps, pieces), seen, `pieces of ${pieces}`);
    }
  });
}

Deno.test("HttpObserver sees a head in two pieces, of which the second has a large body behind it", () => {
  const seen: Exchange[] = [];
  const observer = new HttpObserver((exchange) => seen.push(exchange), () => 0);
  const encode = (text: string) => new TextEncoder().encode(text);
  const large = 100_000;
  const head = encode(`POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: ${large}\r\n\r\n`);
  const answer = encode(`HTTP/1.1 200 OK\r\nContent-Length: ${large}\r\n\r\n`);
  for (let round = 0; round < 2; round++) {
    observer.request(head.slice(0, 20));
    observer.request(Uint8Array.of(...head.slice(20), ...new Uint8Array(large)));
    observer.response(answer.slice(0, 20));
    observer.response(Uint8Array.of(...answer.slice(20), ...new Uint8Array(large)));
  }
  assert.deepEqual(seen.map(({ method, status }) => `${method} ${status}`), ["POST 200", "POST 200"]);
});

Deno.test("HttpObserver counts from the request's first byte to the head of the answer", () => {
  let now = 0;
  const seen: Exchange[] = [];
  const observer = new HttpObserver((exchange) => seen.push(exchange), () => now);
  const bytes = new TextEncoder().encode(GET);
  observer.request(bytes.subarray(0, 5));
  now = 10;
  observer.request(bytes.subarray(5));
  now = 25;
  observer.response(new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
  now = 99;
  observer.response(new TextEncoder().encode("hello"));
  assert.deepEqual(seen, [{ method: "GET", path: "/a", status: 200, ms: 25 }]);
});
