import assert from "node:assert/strict";
import { answerUpgrade, encodeRefusal } from "../../../../plugins/ws-agent/websocket/answer_upgrade.ts";

/** RFC 6455 §1.2's example. */
const GOOD: Readonly<Record<string, string>> = {
  host: "tunnel.example.com",
  upgrade: "websocket",
  connection: "Upgrade",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
  "sec-websocket-protocol": "postern.v1",
};

function answer(
  change: Readonly<Record<string, string | undefined>> = {},
  line: { method?: string; version?: string } = {},
) {
  const headers: Record<string, string | undefined> = { ...GOOD, ...change };
  const { method = "GET", version = "HTTP/1.1" } = line;
  const request = { method, version, target: "/tunnel/v1", header: (name: string) => headers[name] };
  const { response, ...rest } = answerUpgrade(request, ["postern.v1"]);
  return { response: new TextDecoder().decode(response), ...rest };
}

Deno.test("answerUpgrade() accepts, byte for byte", () => {
  assert.deepEqual(answer(), {
    kind: "accepted",
    protocol: "postern.v1",
    response: "HTTP/1.1 101 Switching Protocols\r\n" +
      "Upgrade: websocket\r\n" +
      "Connection: Upgrade\r\n" +
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
      "Sec-WebSocket-Protocol: postern.v1\r\n" +
      "\r\n",
  });
});

const ACCEPTED: readonly [what: string, change: Record<string, string | undefined>, protocol?: string][] = [
  ["no subprotocol", { "sec-websocket-protocol": undefined }],
  ["the second of several", { "sec-websocket-protocol": "postern.v9, postern.v1" }, "postern.v1"],
  ["Connection with more in it", { connection: "keep-alive, UPGRADE" }, "postern.v1"],
  ["Upgrade in another case", { upgrade: "WebSocket" }, "postern.v1"],
  [
    "an offer to compress",
    { "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" },
    "postern.v1",
  ],
  ["a body of no bytes", { "content-length": "0" }, "postern.v1"],
];

for (const [what, change, protocol] of ACCEPTED) {
  Deno.test(`answerUpgrade() accepts ${what}, and no extension`, () => {
    const { kind, response, ...rest } = answer(change);
    assert.equal(kind, "accepted", response);
    assert.equal("protocol" in rest ? rest.protocol : undefined, protocol);
    assert.ok(!/extensions/i.test(response));
    assert.equal(/^Sec-WebSocket-Protocol: (.*)\r$/m.exec(response)?.[1], protocol);
  });
}

const REFUSED: readonly [what: string, status: number, change: Record<string, string | undefined>][] = [
  ["a browser", 403, { origin: "https://tunnel.example.com" }],
  ["a browser's opaque origin", 403, { origin: "null" }],
  ["no Upgrade", 426, { upgrade: undefined }],
  ["another Upgrade", 426, { upgrade: "h2c" }],
  ["no Connection", 400, { connection: undefined }],
  ["Connection: close", 400, { connection: "close" }],
  ["no version", 426, { "sec-websocket-version": undefined }],
  ["version 8", 426, { "sec-websocket-version": "8" }],
  ["two versions", 426, { "sec-websocket-version": "13, 8" }],
  ["no key", 400, { "sec-websocket-key": undefined }],
  ["a key of 15 bytes", 400, { "sec-websocket-key": "dGhlIHNhbXBsZSBub25j" }],
  ["a key of 17 bytes", 400, { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZSE=" }],
  ["a key that is not Base64", 400, { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZ!==" }],
  ["two keys", 400, { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==" }],
  ["no Host", 400, { host: undefined }],
  ["a subprotocol that is not spoken", 400, { "sec-websocket-protocol": "postern.v9" }],
  ["a subprotocol in another case", 400, { "sec-websocket-protocol": "Postern.v1" }],
  ["a subprotocol that is no token", 400, { "sec-websocket-protocol": "postern.v1, a b" }],
  ["an empty subprotocol", 400, { "sec-websocket-protocol": "" }],
  ["a body", 400, { "content-length": "5" }],
  ["a body in chunks", 400, { "transfer-encoding": "chunked" }],
];

for (const [what, status, change] of REFUSED) {
  Deno.test(`answerUpgrade() refuses ${what} with ${status}`, () => {
    const refused = answer(change);
    assert.ok(refused.kind === "refused");
    assert.equal(refused.refusal.status, status);
    assert.ok(refused.response.startsWith(`HTTP/1.1 ${status} `));
    assert.ok(refused.response.endsWith(`\r\n\r\n${refused.refusal.text}\n`));
    assert.equal(refused.response.includes("\r\nSec-WebSocket-Version: 13\r\n"), status === 426);
  });
}

Deno.test("answerUpgrade() refuses other methods and versions", () => {
  assert.match(answer({}, { method: "POST" }).response, /^HTTP\/1\.1 405 .*\r\n(?:.*\r\n)*Allow: GET\r\n/);
  assert.match(answer({}, { version: "HTTP/1.0" }).response, /^HTTP\/1\.1 505 /);
});

Deno.test("encodeRefusal() writes a whole answer, and lets no text write a header", () => {
  const response = new TextDecoder().decode(
    encodeRefusal({ status: 429, text: "Too many é\r\nX: y", retryAfterSeconds: 1.2 }),
  );
  assert.equal(
    response,
    "HTTP/1.1 429 Too Many Requests\r\n" +
      "Connection: close\r\n" +
      "Content-Type: text/plain; charset=utf-8\r\n" +
      "Content-Length: 17\r\n" +
      "Retry-After: 2\r\n" +
      "\r\n" +
      "Too many é X: y\n",
  );
});
