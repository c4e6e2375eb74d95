import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { type ConnectOptions, connectWebSocket } from "../../../../plugins/ws-agent/websocket/connect.ts";
import { acceptOf } from "../../../../plugins/ws-agent/websocket/handshake.ts";
import { HandshakeFault, UpgradeRefused } from "../../../../plugins/ws-agent/websocket/response_head.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { frame, readExactly } from "./frames.ts";

const OPTIONS: ConnectOptions = {
  host: "tunnel.example.com",
  path: "/tunnel/v1",
  protocol: "postern.v1",
  headers: { "Postern-Agent": "epoch=1; connection=0" },
};

async function readRequest(peer: PipeEnd): Promise<{ text: string; key: string }> {
  let text = "";
  const buffer = new Uint8Array(4096);
  while (!text.endsWith("\r\n\r\n")) {
    text += new TextDecoder().decode(buffer.subarray(0, await peer.read(buffer) ?? assert.fail("hung up")));
  }
  return { text, key: /^Sec-WebSocket-Key: (.*)\r$/m.exec(text)?.[1] ?? "" };
}

/** What the server answers, given what it has to accept with. */
type Answer = (accept: string) => string;

const good: Answer = (accept) =>
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n" +
  `sec-websocket-accept:  ${accept}\t\r\nSec-WebSocket-Protocol: postern.v1\r\n\r\n`;

/** Connects to a server that answers so, and ends. */
async function connectTo(answer: Answer, options: Partial<ConnectOptions> = {}, carry?: () => number) {
  const [near, far] = pipe(carry === undefined ? {} : { carry });
  const serving = (async () => {
    const { text, key } = await readRequest(far);
    await writeAll(far, new TextEncoder().encode(answer(acceptOf(key))));
    await writeAll(far, frame("behind it"));
    await far.closeWrite();
    return text;
  })();
  const [connected, request] = await Promise.allSettled([
    connectWebSocket(near, { ...OPTIONS, ...options }),
    serving,
  ]);
  return { connected, request: request.status === "fulfilled" ? request.value : "", near };
}

async function failureOf(answer: Answer, options: Partial<ConnectOptions> = {}): Promise<Error> {
  const { connected, near } = await connectTo(answer, options);
  assert.ok(connected.status === "rejected", "It connected");
  assert.ok(near.closed, "The stream is closed");
  return connected.reason;
}

for (const carried of [1, 7, Infinity]) {
  Deno.test(`connectWebSocket() connects, ${carried} bytes at a time, and loses nothing behind the answer`, async () => {
    const { connected, request } = await connectTo(good, {}, () => carried);
    assert.ok(connected.status === "fulfilled");
    assert.equal(new TextDecoder().decode(await readExactly(connected.value, 9)), "behind it");
    connected.value.close();
    const key = /^Sec-WebSocket-Key: (.*)\r$/m.exec(request)?.[1] ?? "";
    assert.equal(Uint8Array.fromBase64(key).length, 16);
    assert.equal(
      request,
      "GET /tunnel/v1 HTTP/1.1\r\nHost: tunnel.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: postern.v1\r\n` +
        "Postern-Agent: epoch=1; connection=0\r\n\r\n",
    );
  });
}

const FAULTS: readonly [what: string, answer: Answer, message: RegExp][] = [
  ["no HTTP", () => "SSH-2.0-x\r\n\r\n\r\n", /malformed/],
  ["a status of two digits", () => "HTTP/1.1 20 OK\r\n\r\n", /status-line/],
  ["HTTP/2", () => "HTTP/2 101\r\n\r\n", /version/],
  ["another Upgrade", (accept) => good(accept).replace("WebSocket", "h2c"), /upgrade-missing/],
  ["a second Upgrade", (accept) => good(accept).replace("WebSocket", "WebSocket, foo/1"), /Upgrade/],
  ["no Upgrade", (accept) => good(accept).replace("Upgrade: W", "X: w"), /upgrade-missing/],
  ["Connection: close", (accept) => good(accept).replace("keep-alive, upgrade", "close"), /upgrade-missing/],
  ["a wrong accept", (accept) => good(accept.toLowerCase()), /Accept/],
  ["the accept twice", (accept) => good(`${accept}\r\nSec-WebSocket-Accept: ${accept}`), /Accept/],
  ["no accept", (accept) => good(accept).replace("accept", "x"), /Accept/],
  ["compression", (accept) => good(`${accept}\r\nSec-WebSocket-Extensions: permessage-deflate`), /extension/],
  ["another subprotocol", (accept) => good(accept).replace("v1", "v2"), /postern\.v1/],
  ["no subprotocol", (accept) => good(accept).replace("-Protocol", "-x"), /postern\.v1/],
  ["a folded line", (accept) => good(`${accept}\r\n x`), /line-folding/],
  ["a bare LF", (accept) => good(`${accept}\nX: y`), /bare-lf/],
  ["a space before the colon", (accept) => good(`${accept}\r\nX : y`), /space-before-colon/],
  [
    "a line without a colon",
    (accept) => good(accept).replace("Connection:", "Connection"),
    /space-before-colon/,
  ],
  ["a NUL", (accept) => good(`${accept}\r\nX: \0`), /field-value/],
  ["a head over 8 KiB", (accept) => good(`${accept}\r\nX: ${"y".repeat(8192)}`), /8192 bytes/],
];

for (const [what, answer, message] of FAULTS) {
  Deno.test(`connectWebSocket() refuses an answer with ${what}`, async () => {
    const error = await failureOf(answer);
    assert.ok(error instanceof HandshakeFault, String(error));
    assert.match(error.message, message);
  });
}

Deno.test("connectWebSocket() refuses a gateway that hangs up inside its answer", async () => {
  const [near, far] = pipe();
  const connecting = assert.rejects(connectWebSocket(near, OPTIONS), {
    name: "HandshakeFault",
    message: /hung up/,
  });
  await readRequest(far);
  await writeAll(far, new TextEncoder().encode("HTTP/1.1 101 Switching Protocols\r\n"));
  await far.closeWrite();
  await connecting;
  assert.ok(near.closed);
});

Deno.test("connectWebSocket() without a subprotocol takes none", async () => {
  const options = { protocol: undefined } as unknown as ConnectOptions;
  assert.match((await failureOf(good, options)).message, /not asked for/);
});

const refusal = (status: string, headers: string, body: string): Answer => () =>
  `HTTP/1.1 ${status}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`;

const REFUSALS: readonly [what: string, answer: Answer, expected: Partial<UpgradeRefused>][] = [
  [
    "401 and why",
    refusal("401 Unauthorized", "", "This token was revoked\nmore"),
    {
      status: 401,
      text: "This token was revoked",
      message: "The gateway answered 401: This token was revoked",
    },
  ],
  ["503 and when", refusal("503 x", "Retry-After: 7\r\n", "Full"), {
    status: 503,
    text: "Full",
    retryAfterMs: 7000,
  }],
  ["a year", refusal("429 x", "Retry-After: 31536000\r\n", ""), { status: 429, retryAfterMs: 86_400_000 }],
  [
    "a date long gone",
    refusal("429 x", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", ""),
    { retryAfterMs: 0, message: "The gateway answered 429" },
  ],
  ["nonsense", refusal("429 x", "Retry-After: soon\r\n", ""), {
    retryAfterMs: undefined as unknown as number,
  }],
  ["what moves a cursor", refusal("403 x", "", "\x1b[2Jno\u202e\r\n"), { text: "?[2Jno?" }],
  ["a long line", refusal("404 x", "", "x".repeat(5000)), { text: "x".repeat(200) }],
  ["a page", () => "HTTP/1.1 502 x\r\nContent-Type: text/html\r\n\r\n<html>", { status: 502, text: "" }],
  ["no more than its status line", () => "HTTP/1.0 404\r\n\r\n", { status: 404, text: "" }],
  ["426", refusal("426 x", "Upgrade: websocket\r\n", "no"), { status: 426, text: "no" }],
];

for (const [what, answer, expected] of REFUSALS) {
  Deno.test(`connectWebSocket() tells a refusal: ${what}`, async () => {
    const error = await failureOf(answer);
    assert.ok(error instanceof UpgradeRefused, String(error));
    for (const [key, value] of Object.entries(expected)) {
      assert.equal(error[key as keyof UpgradeRefused], value, key);
    }
  });
}

Deno.test("connectWebSocket() waits for a refusal's body only shortly", async () => {
  const [near, far] = pipe();
  const connecting = assert.rejects(connectWebSocket(near, OPTIONS), {
    name: "UpgradeRefused",
    text: "half",
  });
  await readRequest(far);
  await writeAll(
    far,
    new TextEncoder().encode(refusal("403 x", "", "half")("").replace("Length: 4", "Length: 40")),
  );
  await connecting;
  assert.ok(near.closed);
});

Deno.test("connectWebSocket() ends with its signal, before and while it waits", async () => {
  for (const when of ["before", "while"]) {
    const [near, far] = pipe();
    const abort = new AbortController();
    if (when === "before") abort.abort(new Error("enough"));
    const connecting = assert.rejects(connectWebSocket(near, { ...OPTIONS, signal: abort.signal }), /enough/);
    if (when === "while") {
      await readRequest(far);
      abort.abort(new Error("enough"));
    }
    await connecting;
    assert.ok(near.closed);
  }
});

Deno.test("connectWebSocket() leaves what it has opened alone when its signal is aborted later", async () => {
  const abort = new AbortController();
  const { connected, near } = await connectTo(good, { signal: abort.signal });
  assert.ok(connected.status === "fulfilled");
  abort.abort();
  assert.ok(!near.closed);
  connected.value.close();
});

for (
  const [what, options] of [
    ["a host with a line break", { host: "a\r\nX: y" }],
    ["no path", { path: "" }],
    ["a path with a space", { path: "/a b" }],
    ["a header's value with a line break", { headers: { a: "b\r\nX: y" } }],
    ["a header's name with a colon", { headers: { "a: b": "c" } }],
  ] as const
) {
  Deno.test(`connectWebSocket() sends nothing for ${what}`, async () => {
    const [near, far] = pipe();
    await assert.rejects(connectWebSocket(near, { ...OPTIONS, ...options }), TypeError);
    assert.equal(far.waiting, 0);
    assert.ok(near.closed);
  });
}
