import assert from "node:assert/strict";
import { ControlFault } from "../../../../plugins/ws-agent/control/fault.ts";
import { LineReader } from "../../../../plugins/ws-agent/go_tunnel/line_reader.ts";
import { encodeGoTunnelLine, parseGoTunnelLine } from "../../../../plugins/ws-agent/go_tunnel/messages.ts";
import { opensYamux } from "../../../../plugins/ws-agent/go_tunnel/opening.ts";
import { encodeGoTunnelHeader } from "../../../../plugins/ws-agent/go_tunnel/stream_header.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A stream that brings these pieces. */
function pieces(...texts: string[]): { read(into: Uint8Array): Promise<number | null> } {
  const all = texts.map(encode);
  return {
    read(into) {
      const next = all.shift();
      if (next === undefined) return Promise.resolve(null);
      const length = Math.min(next.length, into.length);
      into.set(next.subarray(0, length));
      if (length < next.length) all.unshift(next.subarray(length));
      return Promise.resolve(length);
    },
  };
}

async function linesOf(reader: LineReader): Promise<string[]> {
  const lines: string[] = [];
  for (let line; (line = await reader.read()) !== null;) lines.push(decode(line));
  return lines;
}

Deno.test("a register names its hosts with targets and modes; a mode that is not tcp is http", () => {
  const routes = {
    "App.example.com": "127.0.0.1:8080",
    "ssh.example.com": "127.0.0.1:22",
    "x.example.com": "",
  };
  const modes = { "ssh.example.com": "TCP", "x.example.com": "udp", "nobody.example.com": "tcp" };
  assert.deepEqual(
    parseGoTunnelLine(encode(JSON.stringify({ type: "register", token: "t", routes, modes }))),
    {
      type: "register",
      token: "t",
      routes: [
        { host: "App.example.com", target: "127.0.0.1:8080", mode: "http" },
        { host: "ssh.example.com", target: "127.0.0.1:22", mode: "tcp" },
        { host: "x.example.com", target: "", mode: "http" },
      ],
    },
  );
});

Deno.test("routes and modes may be missing or null, as Go writes an empty map", () => {
  for (const more of ["", `,"routes":null`, `,"routes":{},"modes":null`]) {
    const message = parseGoTunnelLine(encode(`{"type":"register","token":"t"${more}}`));
    assert.deepEqual(message, { type: "register", token: "t", routes: [] });
  }
});

Deno.test("a host that is called as something of every object is a host like any other", () => {
  const line = `{"type":"register","token":"t","routes":{"__proto__":"a","constructor":"b"},"modes":{}}`;
  const message = parseGoTunnelLine(encode(line));
  assert.deepEqual(message.type === "register" && message.routes.map(({ host, mode }) => [host, mode]), [
    ["__proto__", "http"],
    ["constructor", "http"],
  ]);
});

const SECRET = "eyJzZWNyZXQi";
const malformed: readonly (readonly [name: string, line: string])[] = [
  ["nothing", ""],
  ["no JSON", `{"type":"register","token":"${SECRET}"`],
  ["no object", `["register"]`],
  ["null", "null"],
  ["no type", `{"token":"${SECRET}"}`],
  ["a type that is not known", `{"type":"${SECRET}"}`],
  ["a token that is a number", `{"type":"register","token":1,"routes":{}}`],
  ["routes that are a list", `{"type":"register","token":"${SECRET}","routes":["a"]}`],
  ["a target that is a number", `{"type":"register","token":"${SECRET}","routes":{"a":1}}`],
  ["modes that are a text", `{"type":"register","token":"${SECRET}","routes":{"a":"b"},"modes":"tcp"}`],
  ["a mode that is a number", `{"type":"register","token":"${SECRET}","routes":{"a":"b"},"modes":{"a":1}}`],
];
for (const [name, line] of malformed) {
  Deno.test(`a line is refused, and not quoted: ${name}`, () => {
    assert.throws(() => parseGoTunnelLine(encode(line)), (error: Error) => {
      assert.ok(error instanceof ControlFault);
      assert.equal(error.message.includes(SECRET), false);
      return true;
    });
  });
}

Deno.test("bytes that are no UTF-8 are refused", () => {
  assert.throws(() => parseGoTunnelLine(Uint8Array.of(0x22, 0xff, 0x22)), ControlFault);
});

Deno.test("answers are lines of JSON", () => {
  assert.equal(decode(encodeGoTunnelLine({ type: "ack", ok: true })), `{"type":"ack","ok":true}\n`);
  const error = "host already registered: app.example.com";
  assert.equal(
    decode(encodeGoTunnelLine({ type: "ack", ok: false, error })),
    `{"type":"ack","ok":false,"error":"host already registered: app.example.com"}\n`,
  );
  assert.equal(
    decode(encodeGoTunnelLine({ type: "ping", ts: 1700000000000 })),
    `{"type":"ping","ts":1700000000000}\n`,
  );
});

Deno.test("lines come whole, however they are cut", async () => {
  const text = "one\n\ntwo\n" + "x".repeat(1000) + "\nlast\n";
  const expected = ["one", "", "two", "x".repeat(1000), "last"];
  for (const size of [1, 2, 7, 255, 256, 257, 4096]) {
    const cut = Array.from(
      { length: Math.ceil(text.length / size) },
      (_, i) => text.slice(i * size, (i + 1) * size),
    );
    assert.deepEqual(await linesOf(new LineReader(pieces(...cut))), expected, `${size}`);
  }
});

Deno.test("a line has a limit, with its end and without", async () => {
  assert.deepEqual(await linesOf(new LineReader(pieces("x".repeat(300), "\n"), 300)), ["x".repeat(300)]);
  await assert.rejects(linesOf(new LineReader(pieces("x".repeat(301) + "\n"), 300)), { code: "too_long" });
  await assert.rejects(linesOf(new LineReader(pieces("x".repeat(301)), 300)), { code: "too_long" });
  await assert.rejects(linesOf(new LineReader(pieces("a\n", "b"), 300)), { code: "truncated" });
});

Deno.test("a data stream begins with the version, the length of the host, and the host", () => {
  assert.equal(encodeGoTunnelHeader("app.example.com").toHex(), "01000f6170702e6578616d706c652e636f6d");
  assert.equal(encodeGoTunnelHeader("x".repeat(300)).subarray(0, 3).toHex(), "01012c");
  assert.throws(() => encodeGoTunnelHeader(""), RangeError);
  assert.throws(() => encodeGoTunnelHeader("x".repeat(65_536)), RangeError);
});

const openings: readonly (readonly [name: string, hex: string, is: boolean | undefined])[] = [
  ["hashicorp's first frame: a window update of 0 with SYN", "000100010000000100000000", true],
  ["one that opens a larger window", "000100010000000100fc0000", true],
  ["data with SYN", "000000010000000100000010", true],
  ["a part of it", "0001000100", undefined],
  ["nothing", "", undefined],
  ["another stream", "000100010000000300000000", false],
  ["no SYN", "000100000000000100000000", false],
  ["a ping", "000200010000000000000000", false],
  ["PostgreSQL's SSLRequest", "0000000804d2162f", false],
  ["SSH", "5353482d322e30", false],
  ["a TLS record", "1603010200", false],
];
for (const [name, hex, is] of openings) {
  Deno.test(`opensYamux() is ${is} for ${name}`, () => {
    assert.equal(opensYamux(Uint8Array.fromHex(hex)), is);
  });
}
