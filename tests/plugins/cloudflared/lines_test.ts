import assert from "node:assert/strict";
import { LineReader } from "../../../plugins/cloudflared/lines.ts";

function reader(linesPerSecond = 100) {
  const clock = { ms: 0 };
  const lines: string[] = [];
  return {
    lines,
    clock,
    reader: new LineReader((line) => lines.push(line), { linesPerSecond, now: () => clock.ms }),
  };
}

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("lines are the same at whatever point their bytes are cut", () => {
  const text = encode("one\r\ntwo\n\nthrée\nfour");
  for (let cut = 0; cut <= text.length; cut++) {
    const { reader: lineReader, lines } = reader();
    lineReader.push(text.slice(0, cut));
    lineReader.push(text.slice(cut));
    lineReader.finish();
    assert.deepEqual(lines, ["one", "two", "thrée", "four"], `cut at ${cut}`);
  }
});

Deno.test("a line without an end is kept up to its limit, and the next one is whole", () => {
  const { reader: lineReader, lines } = reader();
  for (let i = 0; i < 100; i++) lineReader.push(encode("x".repeat(1000)));
  lineReader.push(encode("\nnext\n"));
  assert.deepEqual(lines, [`${"x".repeat(4096)}…`, "next"]);
});

Deno.test("lines beyond the limit of a second are counted and left out", () => {
  const { reader: lineReader, lines, clock } = reader(2);
  lineReader.push(encode("1\n2\n3\n4\n"));
  assert.deepEqual([lines, lineReader.takeDropped(), lineReader.takeDropped()], [["1", "2"], 2, 0]);
  clock.ms = 1000;
  lineReader.push(encode("5\n"));
  assert.deepEqual([lines, lineReader.takeDropped()], [["1", "2", "5"], 0]);
});

Deno.test("control characters do not reach a terminal that shows the log", () => {
  const { reader: lineReader, lines } = reader();
  lineReader.push(encode("\x1b[31mred\x07\x9b2J\n"));
  assert.deepEqual(lines, [" [31mred  2J"]);
});

Deno.test("bytes that are no UTF-8 are no reason to stop", () => {
  const { reader: lineReader, lines } = reader();
  lineReader.push(Uint8Array.of(0xff, 0xfe, 0x41, 0x0a));
  assert.deepEqual(lines, ["\ufffd\ufffdA"]);
});
