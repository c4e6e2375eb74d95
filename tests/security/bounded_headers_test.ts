/** PROXY headers are bounded: a line without end, every length and family of version 2, every cut. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { encodeProxyV2 } from "../../core/data_plane/preface/proxy_protocol.ts";
import { bytes, PROXY_V1, proxyV2, tlv, V2_IPV4_BLOCK } from "../core/data_plane/preface/samples.ts";
import { readToEnd } from "../support/echo.ts";
import type { TestPlane } from "../support/plane.ts";
import { exchange } from "../support/wire.ts";
import { type Recorder, startRecorder, staticPlane } from "./static_plane.ts";

const REQUEST = bytes("GET / HTTP/1.0\r\n\r\n");
const REFUSAL = "A PROXY header is not accepted here\r\n";

/** Trusts this machine's PROXY headers; everything there is leads to `recorder`. */
async function trusting(recorder: Recorder): Promise<TestPlane> {
  const protocols = ["http", "ssh", "other", "postgres", "tls"] as const;
  return await staticPlane(protocols.map((protocol) => ({ protocol, to: recorder.target })), {
    proxyFrom: ["127.0.0.0/8"],
  });
}

/** Whether a request behind this header reaches the service. Anything but that and a refusal fails the test. */
async function accepts(gateway: TestPlane, header: Uint8Array): Promise<boolean> {
  using client = await gateway.connect();
  await writeAll(client, bytes(header, REQUEST));
  await client.closeWrite();
  const answer = new TextDecoder().decode(await readToEnd(client));
  assert.ok(answer === "reached" || answer === REFUSAL, `${header.toHex()}: ${JSON.stringify(answer)}`);
  return answer === "reached";
}

Deno.test("PROXY v1: 107 bytes are the most, and what does not end there is refused at once", async () => {
  await using recorder = startRecorder();
  await using gateway = await trusting(recorder);
  const line = (size: number) => bytes("PROXY UNKNOWN ".padEnd(size - 2, "x"), "\r\n");
  assert.equal(await accepts(gateway, line(107)), true);
  assert.equal(await accepts(gateway, line(108)), false);
  // Nobody sends FIN here: it is refused because of its length, not because it ends.
  const endless = bytes("PROXY TCP4 ", "1".repeat(96));
  assert.equal(endless.length, 107);
  assert.equal(new TextDecoder().decode(await exchange(gateway, endless)), REFUSAL);
  assert.deepEqual(recorder.received, [REQUEST]);
  assert.equal(gateway.counted("rejected_total", { reason: "proxy_protocol_refused" }), 2);
});

Deno.test("PROXY v1: a line that is not exactly right is refused", async () => {
  await using recorder = startRecorder();
  await using gateway = await trusting(recorder);
  const lines = [
    "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r",
    "PROXY TCP4 203.0.113.9 192.0.2.1 56324\r\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443 1\r\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443 \r\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 -1 443\r\n",
    "PROXY TCP4 203.0.113.9 192.0.2.1 0x10 443\r\n",
    "PROXY TCP4 203.0.113.09 192.0.2.1 1 443\r\n",
    "PROXY TCP4 203.0.113 192.0.2.1 1 443\r\n",
    "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
    "PROXY TCP6 203.0.113.9 192.0.2.1 1 443\r\n",
    "PROXY TCP6 2001:db8::1%eth0 2001:db8::2 1 443\r\n",
    "PROXY TCP4 localhost 192.0.2.1 1 443\r\n",
    "PROXY tcp4 203.0.113.9 192.0.2.1 1 443\r\n",
    "PROXY UDP4 203.0.113.9 192.0.2.1 1 443\r\n",
    "PROXY \r\n",
    "PROXY  TCP4 203.0.113.9 192.0.2.1 1 443\r\n",
    "PROXY TCP4 203.0.113.9\0 192.0.2.1 1 443\r\n",
  ];
  for (const line of lines) assert.equal(await accepts(gateway, bytes(line)), false, line);
  assert.equal(recorder.accepted, 0);
});

/** How many bytes of addresses a family and transport has; the header says 13 values, the rest is reserved. */
const ADDRESS_BYTES = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x12, 12],
  [0x21, 36],
  [0x22, 36],
  [0x31, 216],
  [0x32, 216],
]);

Deno.test("PROXY v2: every family with every kind of length is read, or refused", async () => {
  await using recorder = startRecorder();
  await using gateway = await trusting(recorder);
  let accepted = 0;
  for (let family = 0; family < 256; family++) {
    const size = ADDRESS_BYTES.get(family);
    for (const length of new Set([0, (size ?? 12) - 1, size ?? 12, (size ?? 12) + 1, (size ?? 12) + 3])) {
      if (length < 0) continue;
      // Zeros behind the addresses: three of them are a TLV of type 0 and length 0, fewer are none.
      const good = size !== undefined && length >= size && (length - size) % 3 === 0;
      const header = proxyV2(0x21, family, new Uint8Array(length));
      assert.equal(await accepts(gateway, header), good, `family ${family}, ${length} bytes`);
      if (good) accepted++;
    }
  }
  assert.equal(accepted, 14);
  assert.equal(recorder.accepted, accepted);
});

Deno.test("PROXY v2: of commands and versions, LOCAL and PROXY of version 2 are known", async () => {
  await using recorder = startRecorder();
  await using gateway = await trusting(recorder);
  for (let command = 0; command < 256; command++) {
    const good = command === 0x20 || command === 0x21;
    assert.equal(await accepts(gateway, proxyV2(command, 0x11, V2_IPV4_BLOCK)), good, `command ${command}`);
  }
  assert.equal(recorder.accepted, 2);
});

const FULL = encodeProxyV2({ address: "203.0.113.9", port: 56324 }, { address: "192.0.2.1", port: 443 }, [
  { type: 0x02, value: bytes("db.example.com") },
  { type: 0x05, value: new Uint8Array(128) },
  { type: 0x03, value: new Uint8Array(4) },
]);

Deno.test("PROXY v2: TLVs that overrun, a wrong checksum, an overlong id are refused", async () => {
  await using recorder = startRecorder();
  await using gateway = await trusting(recorder);
  const withTlvs = (...tlvs: Uint8Array[]) => proxyV2(0x21, 0x11, bytes(V2_IPV4_BLOCK, ...tlvs));
  assert.equal(await accepts(gateway, FULL), true);
  const broken = FULL.slice();
  broken[20]! ^= 1;
  const headers = {
    "a changed byte under the checksum": broken,
    "a TLV of which the value is missing": withTlvs(Uint8Array.of(2, 0, 5)),
    "a TLV that is over the end by one": withTlvs(Uint8Array.of(2, 0, 2, 0)),
    "an empty checksum": withTlvs(tlv(3, new Uint8Array(0))),
    "a unique id of 129 bytes": withTlvs(tlv(5, new Uint8Array(129))),
    "an SSL TLV of four bytes": withTlvs(tlv(0x20, new Uint8Array(4))),
  };
  for (const [name, header] of Object.entries(headers)) {
    assert.equal(await accepts(gateway, header), false, name);
  }
  assert.equal(recorder.accepted, 1);
});

for (const [name, header] of [["v1", PROXY_V1], ["v2", FULL]] as const) {
  Deno.test(`PROXY ${name}: cut off anywhere, nothing reaches a service; cut in two anywhere, all of it does`, async () => {
    await using recorder = startRecorder();
    await using gateway = await trusting(recorder);
    for (let cut = 1; cut < header.length; cut++) {
      // One byte may still be anything, but nothing is decided by so few.
      using client = await gateway.connect();
      await writeAll(client, header.subarray(0, cut));
      await client.closeWrite();
      assert.equal((await readToEnd(client)).length, 0, `cut off at ${cut}`);
    }
    assert.equal(recorder.accepted, 0);
    assert.equal(gateway.counted("connections_total", { result: "client_closed" }), header.length - 1);

    for (let cut = 1; cut < header.length; cut++) {
      using client = await gateway.connect();
      client.setNoDelay();
      await writeAll(client, header.subarray(0, cut));
      await new Promise((resolve) => setTimeout(resolve)); // a segment of its own
      await writeAll(client, bytes(header.subarray(cut), REQUEST));
      await client.closeWrite();
      assert.equal(new TextDecoder().decode(await readToEnd(client)), "reached", `in two at ${cut}`);
    }
    assert.ok(recorder.received.every((one) => one.toHex() === REQUEST.toHex()));
  });
}
