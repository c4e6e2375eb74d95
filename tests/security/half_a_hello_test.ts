/** Half a ClientHello is normal: it is waited for, and its bytes reach the service as they came. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { capturedHellos } from "../core/data_plane/preface/captured_hellos.ts";
import { bytes, HELLO, helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { readToEnd } from "../support/echo.ts";
import { granted } from "../support/permissions.ts";
import type { TestPlane } from "../support/plane.ts";
import { type Recorder, startRecorder, staticPlane } from "./static_plane.ts";

const MESSAGE = helloMessage({ extensions: [serverName("db.example.com")] });
const PAUSE_MS = 40;

async function routing(recorder: Recorder): Promise<TestPlane> {
  const sni = ["*.example.com", "db.example.com"];
  return await staticPlane([{ sni, to: recorder.target }, { protocol: "other", to: "127.0.0.1:1" }]);
}

/** Sends each part after a turn of the event loop, or after `pauseMs`, so that the gateway sees it by itself. */
async function sendParts(gateway: TestPlane, parts: readonly Uint8Array[], pauseMs = 0): Promise<string> {
  using client = await gateway.connect();
  client.setNoDelay();
  for (const part of parts) {
    await writeAll(client, part);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  await client.closeWrite();
  return new TextDecoder().decode(await readToEnd(client));
}

function inBytes(data: Uint8Array): Uint8Array[] {
  return Array.from(data, (byte) => Uint8Array.of(byte));
}

function inTwo(data: Uint8Array, at: number): Uint8Array[] {
  return [data.subarray(0, at), data.subarray(at)];
}

Deno.test("a byte a segment", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder);
  const parts = inBytes(bytes(HELLO, "more"));
  assert.equal(await sendParts(gateway, parts), "reached");
  assert.deepEqual(recorder.received, [bytes(...parts)]);
});

Deno.test("half, a pause, half", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder);
  await Promise.all([3, 5, 9, 60, HELLO.length - 1].map(async (at) => {
    assert.equal(await sendParts(gateway, inTwo(HELLO, at), PAUSE_MS), "reached", `in two at ${at}`);
  }));
  assert.ok(recorder.received.every((one) => one.toHex() === HELLO.toHex()));
});

Deno.test("in two segments, cut at every point", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder);
  for (let at = 1; at < HELLO.length; at++) {
    assert.equal(await sendParts(gateway, inTwo(HELLO, at)), "reached", `in two at ${at}`);
  }
  assert.equal(recorder.accepted, HELLO.length - 1);
  assert.ok(recorder.received.every((one) => one.toHex() === HELLO.toHex()));
});

Deno.test("in two records, cut at every point, and in records of a few bytes", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder);
  const cuts = [
    ...Array.from({ length: MESSAGE.length - 1 }, (_, i) => inRecords(MESSAGE, i + 1, MESSAGE.length)),
    ...[1, 2, 3, 4, 5, 7].map((size) => inRecords(MESSAGE, size)),
  ];
  for (const hello of cuts) {
    assert.equal(await sendParts(gateway, [hello]), "reached");
    assert.equal(recorder.received.at(-1)?.toHex(), hello.toHex(), "the records are passed on as they came");
  }
});

Deno.test("in records of a byte, a byte a segment", async () => {
  await using recorder = startRecorder();
  await using gateway = await routing(recorder);
  assert.equal(await sendParts(gateway, inBytes(inRecords(MESSAGE, 1))), "reached");
});

Deno.test({
  name: "the hellos of real clients, post-quantum ones among them, cut where segments end",
  ignore: !granted("read"),
  async fn() {
    await using recorder = startRecorder();
    await using gateway = await routing(recorder);
    const hellos = capturedHellos().filter(({ name }) => name !== "openssl-no-name");
    assert.ok(hellos.some(({ bytes }) => bytes.length > 1500), "one is over a segment of Ethernet");
    for (const { name, bytes: hello } of hellos) {
      for (const at of [1, 5, 43, 100, 512, 1024, 1025, 1448, hello.length - 1]) {
        if (at >= hello.length) continue;
        assert.equal(await sendParts(gateway, inTwo(hello, at)), "reached", `${name} in two at ${at}`);
        assert.equal(recorder.received.at(-1)?.toHex(), hello.toHex());
      }
    }
  },
});
