import assert from "node:assert/strict";
import { FrameReader } from "../../../../plugins/ws-agent/websocket/frame_reader.ts";
import type { WebSocketRole } from "../../../../plugins/ws-agent/websocket/frame.ts";
import { frame, inPieces, joined, masked, numbered, readFrames } from "./frames.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (payload: string | Uint8Array) =>
  typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
const hex = (digits: string) => Uint8Array.fromHex(digits.replaceAll(" ", ""));

interface Good {
  readonly name: string;
  readonly role: WebSocketRole;
  readonly bytes: Uint8Array;
  readonly payload?: string | Uint8Array;
  readonly pings?: readonly string[];
  readonly close?: { code?: number; reason: string };
}

const GOOD: readonly Good[] = [
  {
    name: "RFC 6455's masked example",
    role: "server",
    bytes: hex("82 85 37fa213d 7f9f4d5158"),
    payload: "Hello",
  },
  { name: "RFC 6455's plain example", role: "client", bytes: hex("82 05 48656c6c6f"), payload: "Hello" },
  { name: "its fragmented example", role: "client", bytes: hex("02 03 48656c 80 02 6c6f"), payload: "Hello" },
  { name: "a ping", role: "client", bytes: hex("89 05 48656c6c6f"), pings: ["Hello"] },
  { name: "a masked ping", role: "server", bytes: hex("89 85 37fa213d 7f9f4d5158"), pings: ["Hello"] },
  { name: "a pong that nobody asked for", role: "client", bytes: hex("8a 02 6f6b 82 01 78"), payload: "x" },
  {
    name: "a ping inside a fragmented message",
    role: "server",
    bytes: joined(
      masked("ab", { fin: false }),
      masked("p", { opcode: 9 }),
      masked("cd", { opcode: 0, fin: false }),
      masked("", { opcode: 0 }),
      masked("ef"),
    ),
    payload: "abcdef",
    pings: ["p"],
  },
  { name: "an empty message", role: "client", bytes: hex("82 00 82 01 78"), payload: "x" },
  {
    name: "keys that change",
    role: "server",
    bytes: joined(masked("abc"), masked("def", { key: [1, 2, 3, 4] })),
    payload: "abcdef",
  },
  { name: "an empty close", role: "client", bytes: hex("88 00"), close: { reason: "" } },
  {
    name: "a close with a code",
    role: "client",
    bytes: hex("88 02 03e8"),
    close: { code: 1000, reason: "" },
  },
  {
    name: "a close with a reason, and nothing behind it",
    role: "server",
    bytes: joined(masked("x"), masked(joined([0x03, 0xe9], new TextEncoder().encode("é")), { opcode: 8 })),
    payload: "x",
    close: { code: 1001, reason: "é" },
  },
  {
    name: "a private close code",
    role: "client",
    bytes: hex("88 02 1387"),
    close: { code: 4999, reason: "" },
  },
  {
    name: "an abnormal close inside a message",
    role: "client",
    bytes: hex("02 01 78 88 02 03f3"),
    payload: "x",
    close: { code: 1011, reason: "" },
  },
  ...[125, 126, 127, 65_535, 65_536, 70_001].map((length): Good => ({
    name: `a masked frame of ${length} bytes`,
    role: "server",
    bytes: masked(numbered(length)),
    payload: numbered(length),
  })),
];

for (const { name, role, bytes, payload = "", pings = [], close } of GOOD) {
  Deno.test(`FrameReader reads ${name}, in pieces of every size`, () => {
    const most = bytes.length > 300
      ? [1, 2, 3, 4096, 65_537]
      : Array.from({ length: bytes.length }, (_, i) => i + 1);
    assert.ok(most.length > 0);
    for (const size of [...most, bytes.length]) {
      const read = readFrames(role, inPieces(bytes, size));
      assert.deepEqual(read.payload, bytesOf(payload), `pieces of ${size}`);
      assert.deepEqual(read.pings, pings);
      assert.deepEqual(read.close, close);
      assert.equal(read.fault, undefined);
    }
  });
}

const LONG = new Uint8Array(126);

/** What a peer does wrong, to which end, and the start of what it is told. */
const BAD: readonly [what: string, role: WebSocketRole, bytes: Uint8Array, fault: string][] = [
  [
    "RSV1, as compression sets it",
    "server",
    masked("x", { reserved: 0x40 }),
    "1002 Frame with a reserved bit",
  ],
  ["RSV2", "server", masked("x", { reserved: 0x20 }), "1002 Frame with a reserved bit"],
  ["RSV3", "client", frame("x", { reserved: 0x10 }), "1002 Frame with a reserved bit"],
  ["a client's frame without mask", "server", frame("x"), "1002 Frame of a client that is not masked"],
  ["a server's frame with a mask", "client", masked("x"), "1002 Masked frame from a server"],
  ["a text frame", "server", masked("x", { opcode: 1 }), "1003 Text frame"],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): [string, WebSocketRole, Uint8Array, string] => [
    `the reserved opcode ${opcode}`,
    "server",
    masked("x", { opcode }),
    `1002 Frame with the reserved opcode ${opcode}`,
  ]),
  ["a fragmented ping", "server", masked("x", { opcode: 9, fin: false }), "1002 Fragmented control frame"],
  ["a fragmented close", "client", frame("", { opcode: 8, fin: false }), "1002 Fragmented control frame"],
  ["a ping of 126 bytes", "server", masked(LONG, { opcode: 9 }), "1002 Control frame over 125 bytes"],
  ["a close of 126 bytes", "client", frame(LONG, { opcode: 8 }), "1002 Control frame over 125 bytes"],
  ["a continuation of nothing", "server", masked("x", { opcode: 0 }), "1002 Continuation frame outside"],
  [
    "a continuation behind the last",
    "client",
    hex("02 01 78 80 01 78 80 01 78"),
    "1002 Continuation frame outside",
  ],
  ["a message inside a message", "client", hex("02 01 78 82 01 78"), "1002 New message inside a message"],
  [
    "a normal close inside a message",
    "client",
    hex("02 01 78 88 02 03e8"),
    "1002 Normal close inside a message",
  ],
  [
    "16 bits for a length of 125",
    "client",
    hex("82 7e 007d"),
    "1002 Frame length that is not written the shortest",
  ],
  [
    "64 bits for a length of 65,535",
    "client",
    hex("82 7f 000000000000ffff"),
    "1002 Frame length that is not",
  ],
  ["64 bits for a length of 1", "client", hex("82 7f 0000000000000001"), "1002 Frame length that is not"],
  [
    "a length with its highest bit",
    "client",
    hex("82 7f 8000000000000000"),
    "1002 Frame length with its highest",
  ],
  ["a frame over 16 MiB", "client", hex("82 7f 0000000001000001"), "1009 Frame of 16777217 bytes"],
  ["a frame of 2⁶³ − 1", "client", hex("82 7f 7fffffffffffffff"), "1009 Frame of"],
  ["a close of one byte", "client", hex("88 01 03"), "1002 Close frame of one byte"],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].map((
    code,
  ): [string, WebSocketRole, Uint8Array, string] => [
    `a close with ${code}`,
    "client",
    frame(Uint8Array.of(code >> 8, code & 255), { opcode: 8 }),
    `1002 Close frame with the status code ${code}`,
  ]),
  ["a close with a broken reason", "client", hex("88 03 03e8 ff"), "1007 Close frame with a reason"],
];

for (const [what, role, bytes, fault] of BAD) {
  Deno.test(`FrameReader refuses ${what}, in pieces of every size, and looks no further`, () => {
    const before = role === "server" ? masked("before") : frame("before");
    const inside = /continuation behind|inside a message/.test(what) ? "x" : "";
    const more = what.startsWith("a continuation behind") ? "xx" : inside;
    const whole = joined(before, bytes, role === "server" ? masked("after") : frame("after"));
    for (const size of [1, 2, 3, 5, 8, 13, whole.length]) {
      const read = readFrames(role, inPieces(whole, size));
      assert.ok(read.fault?.startsWith(fault), `pieces of ${size}: ${read.fault}`);
      assert.equal(text(read.payload), `before${more}`);
    }
  });
}

Deno.test("FrameReader takes 16 MiB in one frame, and keeps nothing of it", () => {
  const reader = new FrameReader("client", () => 0);
  const chunk = new Uint8Array(1024 * 1024);
  assert.equal(reader.take(hex("82 7f 0000000001000000"), 10), 0);
  for (let i = 0; i < 16; i++) assert.equal(reader.take(chunk, chunk.length), chunk.length);
  assert.equal(reader.take(frame("next"), 6), 4);
});

for (
  const [what, flood] of [
    ["pings", frame("", { opcode: 9 })],
    ["pongs", frame("", { opcode: 10 })],
    ["empty messages", frame("")],
  ] as const
) {
  Deno.test(`FrameReader refuses a flood of ${what}, and takes five a second`, () => {
    let now = 0;
    const reader = new FrameReader("client", () => now);
    const send = () => reader.take(flood.slice(), flood.length);
    const fault = () => reader.fault?.code;
    for (let i = 0; i < 100; i++) send();
    assert.equal(fault(), undefined);
    for (let second = 0; second < 1000; second++) {
      now += 1000;
      for (let i = 0; i < 5; i++) send();
    }
    assert.equal(fault(), undefined);
    send();
    assert.equal(fault(), 1008);
  });
}

Deno.test("FrameReader answers the last of several pings", () => {
  const reader = new FrameReader("client", () => 0);
  const bytes = joined(frame("a", { opcode: 9 }), frame("b", { opcode: 9 }));
  reader.take(bytes, bytes.length);
  assert.equal(text(reader.takePing() ?? new Uint8Array()), "b");
  assert.equal(reader.takePing(), undefined);
});
