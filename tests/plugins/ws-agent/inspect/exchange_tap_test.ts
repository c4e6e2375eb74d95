import assert from "node:assert/strict";
import { viewBody } from "../../../../plugins/ws-agent/inspect/body_view.ts";
import { CapturedBody, MAX_BODY_BYTES } from "../../../../plugins/ws-agent/inspect/captured_body.ts";
import {
  type Exchange,
  type HeaderList,
  headersOf,
  type Origin,
} from "../../../../plugins/ws-agent/inspect/exchange.ts";
import { ExchangeLog } from "../../../../plugins/ws-agent/inspect/exchange_log.ts";
import { ExchangeTap } from "../../../../plugins/ws-agent/inspect/exchange_tap.ts";
import { isSecretHeader } from "../../../../plugins/ws-agent/inspect/secret_headers.ts";
import { IN_PROCESS } from "../../../../plugins/ws-agent/agent/target.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const ORIGIN: Origin = {
  service: { name: "demo", protocol: "http", target: IN_PROCESS, proxyProtocol: "off" },
  header: {
    source: { address: "203.0.113.9", port: 4711 },
    destination: { address: "198.51.100.1", port: 443 },
    connectionId: "c-1",
    serviceId: "00000000-0000-4000-8000-000000000001",
  },
};

function tapOf(log: ExchangeLog): ExchangeTap {
  let now = 0;
  return new ExchangeTap({ log, origin: ORIGIN, now: () => now++ });
}

/** `POST /p abc → 200 ok: done`. */
function describe({ request, response, state }: Exchange): string {
  if (state === "upgraded") {
    return `${request.method} ${request.target} ${request.body.total} up, ${response?.body.total} down`;
  }
  const asked = [request.method, request.target, ...request.body.total ? [decode(request.body.bytes)] : []];
  const answered = response ? ` → ${response.status} ${decode(response.body.bytes)}` : "";
  return `${asked.join(" ")}${answered}: ${state}${request.isComplete ? "" : ", not all asked"}`;
}

/** Bytes as they go by: `>` a request's, `<` a response's; `x` the end. */
type Step = readonly [">" | "<", string] | readonly ["x"];

const GET = "GET /a?q=1 HTTP/1.1\r\nHost: a\r\n\r\n";
const EMPTY = "HTTP/1.1 204 No Content\r\n\r\n";

const CASES: readonly {
  readonly name: string;
  readonly steps: readonly Step[];
  readonly seen: readonly string[];
}[] = [
  {
    name: "bodies by length, one exchange after the other",
    steps: [
      [">", "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"],
      ["<", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
      [">", GET],
      ["<", EMPTY],
    ],
    seen: ["POST /p abc → 200 ok: done", "GET /a?q=1 → 204 : done"],
  },
  {
    name: "chunked bodies without their framing, extensions and trailers",
    steps: [
      [
        ">",
        "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
      ],
      ["<", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"],
      [">", GET],
      ["<", EMPTY],
    ],
    seen: ["PUT /c abcde → 200 ok!: done", "GET /a?q=1 → 204 : done"],
  },
  {
    name: "requests sent ahead, answered in order, one of them HEAD",
    steps: [
      [">", GET + "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n" + GET],
      ["<", EMPTY + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + EMPTY],
    ],
    seen: ["GET /a?q=1 → 204 : done", "HEAD /h → 200 : done", "GET /a?q=1 → 204 : done"],
  },
  {
    name: "an interim response, then one that ends with the connection",
    steps: [
      [">", GET],
      ["<", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil close"],
      ["x"],
    ],
    seen: ["GET /a?q=1 → 200 until close: done"],
  },
  {
    name: "an upgrade, behind which nothing is looked at",
    steps: [
      [">", "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"],
      ["<", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81"],
      [">", GET],
      ["<", EMPTY],
      ["x"],
    ],
    seen: [`GET /ws ${GET.length} up, ${1 + EMPTY.length} down`],
  },
  { name: "an end without a response", steps: [[">", GET], ["x"]], seen: ["GET /a?q=1: broken"] },
  {
    name: "an end within a response",
    steps: [[">", GET], ["<", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], ["x"]],
    seen: ["GET /a?q=1 → 200 abc: broken"],
  },
  {
    name: "a response before the request has ended",
    steps: [
      [">", "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"],
      ["<", "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"],
      ["x"],
    ],
    seen: ["POST /p abc → 413 : done, not all asked"],
  },
  { name: "no HTTP", steps: [[">", "\x16\x03\x01 hello"], ["<", "what?"]], seen: [] },
  {
    name: "an answer that is no HTTP",
    steps: [[">", GET], ["<", "SSH-2.0-x\r\n\r\n"], [">", GET]],
    seen: ["GET /a?q=1: broken"],
  },
  { name: "an answer to nothing", steps: [["<", EMPTY], [">", GET]], seen: [] },
];

for (const { name, steps, seen } of CASES) {
  Deno.test(`a tap sees ${name}, however the bytes are cut`, () => {
    for (const size of [Infinity, 1, 2, 7]) {
      const log = new ExchangeLog();
      const tap = tapOf(log);
      for (const [side, text = ""] of steps) {
        if (side === "x") tap.end();
        const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
        for (let at = 0; at < bytes.length; at += size) {
          const piece = bytes.slice(at, Math.min(bytes.length, at + size));
          if (side === ">") tap.request(piece);
          else tap.response(piece);
          piece.fill(0); // the relay's memory is used again
        }
      }
      assert.deepEqual(log.list().map(describe).reverse(), seen, `pieces of ${size}`);
    }
  });
}

Deno.test("heads keep their fields in order and as they were sent, with the times of an exchange", () => {
  const log = new ExchangeLog();
  const tap = tapOf(log);
  tap.request(encode("GET / HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two:  2 \r\nCookie: a=b\r\n\r\n"));
  tap.response(encode("HTTP/1.1 200 Fine\r\nSet-Cookie: c=d\r\nContent-Length: 1\r\n\r\n"));
  tap.response(encode("!"));
  const [exchange] = log.list();
  assert.deepEqual(exchange && headersOf(exchange.request), [["Host", "a"], ["X-Two", "1"], ["x-two", "2"], [
    "Cookie",
    "a=b",
  ]]);
  assert.deepEqual(exchange?.response && headersOf(exchange.response), [["Set-Cookie", "c=d"], [
    "Content-Length",
    "1",
  ]]);
  assert.deepEqual([exchange?.response?.reason, exchange?.headMs, exchange?.totalMs], ["Fine", 1, 2]);
});

Deno.test("of a body the beginning is kept, and the whole is counted", () => {
  const log = new ExchangeLog();
  const tap = tapOf(log);
  tap.request(encode(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${3 * MAX_BODY_BYTES}\r\n\r\n`));
  const piece = crypto.getRandomValues(new Uint8Array(MAX_BODY_BYTES / 2 + 1));
  for (let left = 3 * MAX_BODY_BYTES; left > 0; left -= piece.length) tap.request(piece.subarray(0, left));
  const body = log.list()[0]?.request.body;
  assert.deepEqual([body?.total, body?.bytes.length, body?.isWhole], [
    3 * MAX_BODY_BYTES,
    MAX_BODY_BYTES,
    false,
  ]);
  assert.deepEqual(body?.bytes.subarray(0, piece.length), piece);
});

Deno.test("a log is bounded in number and in memory, also by exchanges that do not end", () => {
  const limits = { exchanges: 10, bytes: 256 * 1024 };
  const log = new ExchangeLog(limits);
  const taps = Array.from({ length: 40 }, (_, i) => {
    const tap = tapOf(log);
    tap.request(
      encode(`POST /${i} HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(2000)}\r\nContent-Length: 90000\r\n\r\n`),
    );
    assert.ok(log.list().length <= limits.exchanges && log.bytes <= limits.bytes);
    return tap;
  });
  const before = taps.map(({ latest }) => latest);
  for (const tap of taps) {
    tap.request(new Uint8Array(80_000));
    assert.ok(log.bytes <= limits.bytes, `${log.bytes}`);
  }
  const kept = log.list();
  assert.ok(kept.length >= 2 && kept.length < limits.exchanges);
  for (const exchange of before) {
    if (exchange === undefined || kept.includes(exchange)) continue;
    const { body, fields } = exchange.request;
    assert.deepEqual(
      [body.bytes.length, fields, body.total],
      [0, "", 80_000],
      "nothing of it is held",
    );
  }
  log.clear();
  assert.deepEqual([log.list(), log.bytes, log.total], [[], 0, 40]);
});

async function packed(
  bytes: Uint8Array<ArrayBuffer>,
  format: CompressionFormat,
): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const BOMB_BYTES = 32 * 1024 * 1024;
const VIEWS: readonly {
  readonly name: string;
  readonly coding?: string;
  readonly body: () => Promise<Uint8Array> | Uint8Array;
  readonly kind: "empty" | "text" | "binary";
  readonly shows?: RegExp;
  readonly note?: RegExp;
}[] = [
  { name: "nothing", body: () => new Uint8Array(), kind: "empty" },
  { name: "text", body: () => encode('{"ä": 1}\n'), kind: "text", shows: /^{"ä": 1}\n$/, note: /^10 bytes$/ },
  {
    name: "control characters",
    body: () => encode("a\0b"),
    kind: "binary",
    shows: /^0000 {2}61 00 62 +a\.b$/,
  },
  { name: "no UTF-8", body: () => Uint8Array.of(0xff, 0xfe), kind: "binary", note: /^2 bytes; not text$/ },
  {
    name: "text that is cut within a character",
    body: () => encode("a" + "ä".repeat(MAX_BODY_BYTES)),
    kind: "text",
    note: /^the first 65536 bytes of 131073$/,
  },
  {
    name: "gzip",
    coding: "gzip",
    body: () => packed(encode("hello"), "gzip"),
    kind: "text",
    shows: /^hello$/,
    note: /^\d+ bytes; gzip, 5 bytes unpacked$/,
  },
  {
    name: "deflate",
    coding: "Deflate",
    body: () => packed(encode("hello"), "deflate"),
    kind: "text",
    shows: /^hello$/,
  },
  {
    name: "gzip that is cut off",
    coding: "gzip",
    body: async () => (await packed(encode("hello ".repeat(500)), "gzip")).slice(0, 30),
    kind: "text",
    shows: /^hello hello/,
  },
  {
    name: "no gzip at all",
    coding: "gzip",
    body: () => encode("hello"),
    kind: "text",
    note: /not readable as gzip/,
  },
  {
    name: "a bomb",
    coding: "gzip",
    body: () => packed(new Uint8Array(BOMB_BYTES).fill(0x61), "gzip"),
    kind: "text",
    shows: /^a{262144}$/,
    note: /the first 262144 bytes unpacked/,
  },
  {
    name: "another packing",
    coding: "br",
    body: () => Uint8Array.of(0x8b),
    kind: "binary",
    note: /not unpacked/,
  },
];

for (const { name, coding, body, kind, shows = /^/, note = /^/ } of VIEWS) {
  Deno.test(`a body that is ${name} is shown as ${kind}`, async () => {
    const captured = new CapturedBody();
    captured.add(await body());
    const headers: HeaderList = coding === undefined ? [] : [["Content-Encoding", coding]];
    const view = await viewBody(headers, captured);
    assert.equal(view.kind, kind);
    if (view.kind === "empty") return;
    assert.match(view.note, note);
    assert.match(view.kind === "text" ? view.text : view.hex, shows);
  });
}

Deno.test("a bomb is not unpacked much further than it is shown", async () => {
  const Real = DecompressionStream;
  let unpacked = 0;
  globalThis.DecompressionStream = class extends Real {
    override get readable() {
      return super.readable.pipeThrough(
        new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
          transform(chunk, controller) {
            unpacked += chunk.length;
            controller.enqueue(chunk);
          },
        }),
      );
    }
  };
  try {
    const body = new CapturedBody();
    body.add(await packed(new Uint8Array(BOMB_BYTES), "gzip"));
    await viewBody([["Content-Encoding", "gzip"]], body);
  } finally {
    globalThis.DecompressionStream = Real;
  }
  assert.ok(unpacked >= 256 * 1024 && unpacked < 4 * 1024 * 1024, `${unpacked}`);
});

Deno.test("values that let somebody in are known by their names", () => {
  const secret = [
    "Authorization",
    "proxy-authorization",
    "COOKIE",
    "Set-Cookie",
    "X-Api-Key",
    "X-Auth-Token",
  ];
  for (const name of secret) assert.ok(isSecretHeader(name), name);
  for (const name of ["Host", "Content-Type", "ETag", "X-Request-Id"]) assert.ok(!isSecretHeader(name), name);
});
