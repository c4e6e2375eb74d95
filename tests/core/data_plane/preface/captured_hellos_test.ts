import assert from "node:assert/strict";
import { ClientHelloParser } from "../../../../core/data_plane/preface/client_hello.ts";
import { readPreface } from "../../../../core/data_plane/preface/read_preface.ts";
import { capturedHellos } from "./captured_hellos.ts";
import { granted } from "../../../support/permissions.ts";
import { inRecords } from "./samples.ts";
import { ScriptedStream, segmentsOf } from "./scripted_stream.ts";

const TLS12 = 0x0303, TLS13 = 0x0304, ALL = [TLS13, TLS12, 0x0302, 0x0301];
const MODERN = [TLS13, TLS12];
const WEB = ["h2", "http/1.1"];

/** What each client was told to ask for. All but one asked for `NAME.example.com`. */
const EXPECTED: Readonly<
  Record<string, { readonly alpn: readonly string[]; readonly versions: readonly number[] }>
> = {
  "chromium": { alpn: WEB, versions: MODERN },
  "curl": { alpn: WEB, versions: ALL },
  "curl-http1": { alpn: ["http/1.1"], versions: ALL },
  "curl-tls12": { alpn: WEB, versions: [TLS12] },
  "deno": { alpn: ["http/1.1"], versions: MODERN },
  "deno-node-tls": { alpn: [], versions: MODERN },
  "go": { alpn: ["h2"], versions: MODERN },
  "java": { alpn: [], versions: MODERN },
  "node": { alpn: WEB, versions: MODERN },
  "openssl-alpn": { alpn: WEB, versions: ALL },
  "openssl-no-name": { alpn: [], versions: ALL },
  "openssl-tls12": { alpn: [], versions: [TLS12] },
  "openssl-tls13": { alpn: [], versions: [TLS13] },
  "psql": { alpn: [], versions: MODERN },
  "python": { alpn: ["postgresql"], versions: MODERN },
};

function expectedOf(name: string) {
  const expected = EXPECTED[name];
  return name === "openssl-no-name" ? expected : { serverName: `${name}.example.com`, ...expected };
}

/** How a KeyShareEntry begins: group 0x11ec, and the length of a client's share, 1184 + 32 bytes. */
const X25519MLKEM768_SHARE = "11ec04c0";

const ignore = !granted("read");

Deno.test({ name: "there is a captured hello for every client of the table, and no other", ignore }, () => {
  assert.deepEqual(capturedHellos().map(({ name }) => name), Object.keys(EXPECTED));
});

Deno.test({ name: "a captured Chromium hello has a post-quantum key share", ignore }, () => {
  const chromium = capturedHellos().find(({ name }) => name === "chromium");
  assert.ok(chromium !== undefined && chromium.bytes.length > 1500);
  assert.ok(chromium.bytes.toHex().includes(X25519MLKEM768_SHARE), "no key share of X25519MLKEM768");
});

for (const name of Object.keys(EXPECTED)) {
  Deno.test({ name: `the hello of ${name} is read, at every cut and a byte a segment`, ignore }, () => {
    const hello = bytesOf(name);
    const wanted = { kind: "yes", value: expectedOf(name), length: hello.length };
    const byByte = new ClientHelloParser();
    for (let cut = 0; cut < hello.length; cut++) {
      assert.equal(byByte.push(hello.subarray(0, cut)).kind, "more", `cut at ${cut}`);
      const parser = new ClientHelloParser();
      assert.equal(parser.push(hello.slice(0, cut)).kind, "more");
      assert.deepEqual(parser.push(hello), wanted, `cut at ${cut}`);
    }
    assert.deepEqual(byByte.push(hello), wanted);
  });

  Deno.test({ name: `the hello of ${name} is read when split over records at every point`, ignore }, () => {
    const message = bytesOf(name).subarray(5); // every one of them came in one record
    for (let first = 1; first < message.length; first++) {
      const split = inRecords(message, first, 16_384);
      const wanted = { kind: "yes", value: expectedOf(name), length: split.length };
      assert.deepEqual(new ClientHelloParser().push(split), wanted, `split at ${first}`);
    }
    const tiny = inRecords(message, 1);
    assert.deepEqual(new ClientHelloParser().push(tiny), {
      kind: "yes",
      value: expectedOf(name),
      length: tiny.length,
    });
  });

  Deno.test({ name: `the hello of ${name} is recognised and replayed whole`, ignore }, async () => {
    const hello = bytesOf(name);
    for (const cuts of [[], [1], [5], [hello.length >> 1], hello.keys().toArray().slice(1)]) {
      const stream = new ScriptedStream(segmentsOf(hello, cuts));
      const settled = await readPreface(stream, { maxBytes: 65_536, proxy: "trusted" });
      assert.ok(settled.kind === "preface" && settled.preface.protocol === "tls");
      assert.deepEqual(settled.preface.tls, expectedOf(name));
      assert.deepEqual(settled.preface.replay, hello);
    }
  });
}

function bytesOf(name: string): Uint8Array {
  const found = capturedHellos().find((one) => one.name === name);
  assert.ok(found !== undefined, `no ${name}.bin`);
  return found.bytes;
}
