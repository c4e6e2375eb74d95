import assert from "node:assert/strict";
import { BackendKeyParser, KeyWatchingStream } from "../../../core/data_plane/backend_key.ts";
import type { CancelKey } from "../../../core/data_plane/preface/postgres.ts";
import { readToEnd } from "../../support/echo.ts";
import { backendKeyData, LOGIN, message } from "./backend_messages.ts";
import { bytes } from "./preface/samples.ts";
import { ScriptedStream, segmentsOf } from "./preface/scripted_stream.ts";

const KEY: CancelKey = { processId: 4_000_000_001, secret: Uint8Array.of(1, 2, 3, 4) };
const LONG: CancelKey = { processId: 7, secret: new Uint8Array(256).map((_, i) => i) };
const READY = message("Z", "I");

/** What the parser says in the end, when it is given `segments` one by one. */
function parse(...segments: readonly Uint8Array[]): CancelKey | "more" | "none" {
  const parser = new BackendKeyParser();
  let found: CancelKey | "more" | "none" = "more";
  for (const segment of segments) {
    found = parser.push(segment);
    if (found !== "more") break;
  }
  return found;
}

const CASES: readonly { name: string; sent: Uint8Array; found: CancelKey | "more" | "none" }[] = [
  { name: "a login", sent: bytes(LOGIN, backendKeyData(KEY), READY), found: KEY },
  { name: "a key of 256 bytes", sent: bytes(LOGIN, backendKeyData(LONG), READY), found: LONG },
  { name: "a key at once", sent: backendKeyData(KEY), found: KEY },
  { name: "a login without an end", sent: LOGIN, found: "more" },
  { name: "half a key", sent: bytes(LOGIN, backendKeyData(KEY).subarray(0, 12)), found: "more" },
  { name: "nothing", sent: new Uint8Array(), found: "more" },
  { name: "a login without a key", sent: bytes(LOGIN, READY, backendKeyData(KEY)), found: "none" },
  { name: "a refusal", sent: bytes(message("E", "SFATAL\0\0"), backendKeyData(KEY)), found: "none" },
  { name: "a notice before", sent: bytes(message("N", "SNOTICE\0\0"), backendKeyData(KEY)), found: KEY },
  {
    name: "a negotiated version before",
    sent: bytes(message("v", 0, 3, 0, 0), backendKeyData(KEY)),
    found: KEY,
  },
  { name: "a length under 4", sent: bytes("R", 0, 0, 0, 3), found: "none" },
  { name: "a key of 3 bytes", sent: message("K", 0, 0, 0, 7, 1, 2, 3), found: "none" },
  { name: "a key of 257 bytes", sent: message("K", 0, 0, 0, 7, new Uint8Array(257)), found: "none" },
  { name: "a message over 64 KiB", sent: bytes("S", 0, 1, 0, 1), found: "none" },
  {
    name: "messages over 64 KiB together",
    sent: bytes(...Array(3).fill(message("S", new Uint8Array(30_000)))),
    found: "none",
  },
  { name: "another protocol", sent: bytes("SSH-2.0-OpenSSH_9.2\r\n"), found: "none" },
  { name: "zeros", sent: new Uint8Array(100), found: "none" },
];

for (const { name, sent, found } of CASES) {
  Deno.test(`BackendKeyParser finds ${typeof found === "string" ? found : "the key"} in ${name}, however it is cut`, () => {
    assert.deepEqual(parse(sent), found);
    const step = sent.length > 1000 ? 997 : 1;
    for (let cut = 0; cut < sent.length; cut += step) {
      assert.deepEqual(parse(...segmentsOf(sent, [cut])), found, `cut at ${cut}`);
    }
    if (step === 1) assert.deepEqual(parse(...segmentsOf(sent, [...sent.keys()])), found, "byte by byte");
  });
}

Deno.test("the secret is a copy: the buffer that it came in is used again", () => {
  const sent = backendKeyData(KEY);
  const found = parse(sent);
  sent.fill(0);
  assert.deepEqual(found, KEY);
});

for (const { name, sent } of CASES) {
  Deno.test(`KeyWatchingStream hands on ${name} as it is, a byte a read`, async () => {
    const told: CancelKey[] = [];
    const stream = new KeyWatchingStream(
      new ScriptedStream(sent.length > 1000 ? [sent] : segmentsOf(sent, [...sent.keys()])),
      (key) => told.push(key),
      () => {},
    );
    assert.deepEqual(await readToEnd(stream), sent);
    assert.ok(told.length <= 1);
  });
}

Deno.test("a stream that was watched delegates its reads: the promise is the stream's own", async () => {
  const inner = new ScriptedStream([bytes(LOGIN, backendKeyData(KEY)), READY, bytes("row")]);
  const stream = new KeyWatchingStream(inner, () => {}, () => {});
  const buffer = new Uint8Array(1024);
  await stream.read(buffer);
  const own = Promise.resolve(3);
  inner.read = () => own;
  assert.equal(stream.read(buffer), own);
});

Deno.test("closing tells the watcher, and reset and FIN before the key do no harm", async () => {
  for (const end of [null, new Deno.errors.ConnectionReset()]) {
    let closed = 0;
    const stream = new KeyWatchingStream(
      new ScriptedStream([LOGIN], end),
      () => assert.fail(),
      () => closed++,
    );
    await readToEnd(stream).catch((error) => assert.equal(error, end));
    stream.close();
    assert.equal(closed, 1);
  }
});

Deno.test("a key that comes by while the stream is being closed is not told: nobody would forget it again", async () => {
  const told: string[] = [];
  const stream = new KeyWatchingStream(
    new ScriptedStream([bytes(LOGIN, backendKeyData(KEY))]),
    () => told.push("key"),
    () => told.push("closed"),
  );
  const reading = stream.read(new Uint8Array(1024)); // has the bytes already, and goes on in a later turn
  stream.close();
  await reading;
  assert.deepEqual(told, ["closed"]);
});
