import assert from "node:assert/strict";
import { answerUpgrade } from "../../plugins/ws-agent/websocket/answer_upgrade.ts";
import { connectWebSocket } from "../../plugins/ws-agent/websocket/connect.ts";
import { HandshakeFault, UpgradeRefused } from "../../plugins/ws-agent/websocket/response_head.ts";
import { WebSocketFault } from "../../plugins/ws-agent/websocket/closing.ts";
import type { WebSocketRole } from "../../plugins/ws-agent/websocket/frame.ts";
import { WebSocketBytes } from "../../plugins/ws-agent/websocket/web_socket_bytes.ts";
import { ScriptedStream, segmentsOf } from "../core/data_plane/preface/scripted_stream.ts";
import { frame, joined, masked, numbered, readFrames } from "../plugins/ws-agent/websocket/frames.ts";
import { fuzz, randomCuts } from "./fuzz.ts";

const FRAMES = [
  masked("Hello"),
  frame("Hello"),
  joined(masked("He", { fin: false }), masked("p", { opcode: 9 }), masked("llo", { opcode: 0 })),
  joined(frame("He", { fin: false }), frame("", { opcode: 10 }), frame("llo", { opcode: 0 })),
  masked(numbered(200)),
  frame(numbered(200)),
  joined(masked("x"), masked(Uint8Array.of(0x03, 0xe8), { opcode: 8 })),
  joined(frame("x"), frame(joined([0x03, 0xf0], new TextEncoder().encode("why")), { opcode: 8 })),
  frame(numbered(66_000)),
];

/** What comes of bytes must not hang on how they are cut. */
/** How much longer than a parser of one kind of message these take. */
const FRAMES_COST = 4, STREAM_COST = 20;

fuzz("WebSocket frames", () => FRAMES, (input, random) => {
  const role = random.pick<WebSocketRole>(["client", "server"]);
  const whole = readFrames(role, [input]);
  assert.ok(whole.payload.length <= input.length);
  assert.ok(whole.fault === undefined || whole.close === undefined);
  const cut = readFrames(role, segmentsOf(input, randomCuts(random, input)));
  assert.deepEqual({ ...cut, pings: cut.pings.at(-1) }, { ...whole, pings: whole.pings.at(-1) });
}, FRAMES_COST);

fuzz("WebSocket as a byte stream", () => FRAMES, async (input, random) => {
  const role = random.pick<WebSocketRole>(["client", "server"]);
  const expected = readFrames(role, [input]);
  const transport = new ScriptedStream(segmentsOf(input, randomCuts(random, input)));
  const socket = new WebSocketBytes(transport, { role, now: () => 0 });
  const buffer = new Uint8Array(random.pick([1, 7, 100, 70_000]));
  const read: Uint8Array[] = [];
  try {
    for (let n; (n = await socket.read(buffer)) !== null;) read.push(buffer.slice(0, n));
    assert.ok(expected.close !== undefined);
  } catch (error) {
    const isKnown = error instanceof WebSocketFault || error instanceof Deno.errors.ConnectionReset;
    if (!isKnown) throw error;
    if (error instanceof WebSocketFault && !error.byPeer) {
      assert.equal(`${error.code} ${error.message}`, expected.fault);
    } else if (error instanceof WebSocketFault) {
      assert.equal(error.code, expected.close?.code);
    } else {
      assert.ok(expected.fault === undefined && expected.close === undefined);
    }
  }
  assert.deepEqual(joined(...read), expected.payload);
  const answers = readFrames(role === "client" ? "server" : "client", [Uint8Array.from(transport.written)]);
  assert.equal(answers.fault, undefined, "whatever comes, what is sent is well-formed");
  socket.close();
}, STREAM_COST);

const ANSWERS = [
  "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
  "HTTP/1.1 503 x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nRetry-After: 9\r\n\r\nfull\n",
  "HTTP/1.0 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno\x1b[2J",
].map((text) => new TextEncoder().encode(text));

fuzz("answers to a WebSocket upgrade", () => ANSWERS, async (input, random) => {
  const stream = new ScriptedStream(segmentsOf(input, randomCuts(random, input)));
  await assert.rejects(connectWebSocket(stream, { host: "a", path: "/" }), (error) => {
    assert.ok(error instanceof HandshakeFault || error instanceof UpgradeRefused, String(error));
    assert.ok(error.message.length < 300 && !/\p{C}/u.test(error.message));
    return true;
  });
});

const VALUES = ["websocket", "Upgrade", "13", "dGhlIHNhbXBsZSBub25jZQ==", "postern.v1", "a, b", "", ",", "0"];

fuzz(
  "WebSocket upgrade requests",
  () => VALUES.map((value) => new TextEncoder().encode(value)),
  (input, random) => {
    const odd = String.fromCharCode(...input);
    const values = new Map<string, string>();
    const header = (name: string) => {
      const value = random.below(3) === 0 ? odd : random.pick(VALUES);
      if (!values.has(name)) values.set(name, value);
      return values.get(name);
    };
    const answer = answerUpgrade({ method: "GET", target: odd, version: "HTTP/1.1", header }, ["postern.v1"]);
    const text = new TextDecoder().decode(answer.response);
    assert.match(text, answer.kind === "accepted" ? /^HTTP\/1\.1 101 / : /^HTTP\/1\.1 4\d\d /);
    const lines = (text.split("\r\n\r\n")[0] ?? "").split("\r\n");
    assert.ok(lines.length <= 7 && lines.every((line) => /^[\x20-\x7e]+$/.test(line)), text);
  },
);
