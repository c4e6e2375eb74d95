/** One byte cap from accept to a decision, over everything that comes before it. */
import assert from "node:assert/strict";
import {
  bytes,
  extension,
  HELLO,
  helloMessage,
  inRecords,
  serverName,
  SSL_REQUEST,
  startup,
} from "../core/data_plane/preface/samples.ts";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { readToEnd } from "../support/echo.ts";
import { alertIn, exchange, postgresError } from "../support/wire.ts";
import { startRecorder, staticPlane } from "./static_plane.ts";

const MAX = 2048;
const NAME = "db.example.com";

/** A hello for {@link NAME} of about this many bytes. */
function helloMessageOf(size: number): Uint8Array {
  return helloMessage({ extensions: [serverName(NAME), extension(21, new Uint8Array(size - 80))] });
}

function proxyLineOf(size: number): Uint8Array {
  return bytes("PROXY UNKNOWN ".padEnd(size - 2, "x"), "\r\n");
}

const MEDIUM = inRecords(helloMessageOf(2000));

const cases: readonly {
  name: string;
  sent: Uint8Array;
  answer: (answer: Uint8Array) => unknown;
  is: unknown;
}[] = [
  { name: "a hello", sent: inRecords(helloMessageOf(4000)), answer: alertIn, is: 50 },
  {
    name: "the record header of a hello, by what it announces",
    sent: inRecords(helloMessageOf(4000)).subarray(0, 9),
    answer: alertIn,
    is: 50,
  },
  {
    name: "a short hello in records of a byte",
    sent: inRecords(helloMessageOf(600), 1),
    answer: alertIn,
    is: 50,
  },
  {
    name: "a hello that fits, behind a PROXY line that fits",
    sent: bytes(proxyLineOf(107), MEDIUM),
    answer: alertIn,
    is: 50,
  },
  {
    name: "a StartupMessage",
    sent: startup(`user\0${"x".repeat(4000)}\0`),
    answer: (one) => postgresError(one).C,
    is: "08P01",
  },
  {
    name: "a PROXY v2 header, by what it announces",
    sent: Uint8Array.fromHex("0d0a0d0a000d0a515549540a2111ffff"),
    answer: (one) => one.length > 0,
    is: true,
  },
];

for (const { name, sent, answer, is } of cases) {
  Deno.test(`${name}, over the cap: refused, and nothing reaches a service`, async () => {
    await using recorder = startRecorder();
    await using gateway = await staticPlane([
      { sni: NAME, to: recorder.target },
      { protocol: "tls", to: recorder.target },
      { protocol: "postgres", to: recorder.target },
      { protocol: "other", to: recorder.target },
    ], { limits: { maxPrefaceBytes: MAX }, proxyFrom: ["127.0.0.1/32"] });
    assert.equal(answer(await exchange(gateway, sent)), is);
    assert.equal(gateway.counted("rejected_total", { reason: "preface_too_large" }), 1);
    assert.equal(recorder.accepted, 0);
  });
}

Deno.test("a hello behind an SSLRequest that is over the cap together with it is refused", async () => {
  await using recorder = startRecorder();
  await using gateway = await staticPlane([{ sni: NAME, to: recorder.target }], {
    limits: { maxPrefaceBytes: HELLO.length + SSL_REQUEST.length - 1 },
  });
  const client = await gateway.connect();
  await writeAll(client, SSL_REQUEST);
  await client.read(new Uint8Array(1));
  await writeAll(client, HELLO);
  assert.equal(alertIn(await readToEnd(client)), 50);
  closeQuietly(client);
  assert.equal(gateway.counted("rejected_total", { reason: "preface_too_large" }), 1);
  assert.equal(recorder.accepted, 0);
});

Deno.test("a hello of exactly the cap gets through, and the cap is over then", async () => {
  await using recorder = startRecorder();
  await using gateway = await staticPlane([{ sni: NAME, to: recorder.target }], {
    limits: { maxPrefaceBytes: HELLO.length },
  });
  using client = await gateway.connect();
  const sent = bytes(HELLO, new Uint8Array(100_000).fill(23));
  await writeAll(client, sent);
  await client.closeWrite();
  assert.equal(new TextDecoder().decode(await readToEnd(client)), "reached");
  assert.deepEqual(recorder.received, [sent]);
});
