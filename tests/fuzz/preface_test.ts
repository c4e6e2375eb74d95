import assert from "node:assert/strict";
import { ClientHelloParser, parseSslV2Hello } from "../../core/data_plane/preface/client_hello.ts";
import type { Parsed } from "../../core/data_plane/preface/parsed.ts";
import { parsePlainOpening } from "../../core/data_plane/preface/plain.ts";
import { parsePostgresOpening } from "../../core/data_plane/preface/postgres.ts";
import {
  encodeProxyV1,
  encodeProxyV2,
  parseProxyHeader,
} from "../../core/data_plane/preface/proxy_protocol.ts";
import { readPreface } from "../../core/data_plane/preface/read_preface.ts";
import { canonicalName } from "../../core/names.ts";
import * as samples from "../core/data_plane/preface/samples.ts";
import { ScriptedStream, segmentsOf } from "../core/data_plane/preface/scripted_stream.ts";
import { capturedHellos } from "../core/data_plane/preface/captured_hellos.ts";
import { granted } from "../support/permissions.ts";
import { fuzz, type Random, randomCuts } from "./fuzz.ts";

const { bytes } = samples;
const MAX_BYTES = 65_536;

function helloSeeds(): Uint8Array[] {
  const captured = granted("read") ? capturedHellos().map((one) => one.bytes) : [];
  const message = samples.HELLO.subarray(5);
  const split = [samples.inRecords(message, 1), samples.inRecords(message, 40, 7)];
  return [samples.HELLO, ...split, samples.LARGE_HELLO, ...captured];
}

const PROXY_SEEDS = [
  samples.PROXY_V1,
  bytes("PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n"),
  bytes("PROXY UNKNOWN\r\n"),
  samples.proxyV2(
    0x21,
    0x11,
    bytes(samples.V2_IPV4_BLOCK, samples.tlv(1, bytes("h2")), samples.tlv(5, bytes("id"))),
  ),
  samples.proxyV2(
    0x21,
    0x11,
    bytes(samples.V2_IPV4_BLOCK, samples.tlv(0x20, bytes(1, [0, 0, 0, 0], samples.tlv(0x21, bytes("x"))))),
  ),
  samples.proxyV2(0x20, 0x00, bytes()),
  encodeProxyV2({ address: "2001:db8::9", port: 1 }, { address: "192.0.2.1", port: 2 }, [{
    type: 3,
    value: bytes(),
  }]),
];

const POSTGRES_SEEDS = [
  samples.SSL_REQUEST,
  samples.GSSENC_REQUEST,
  samples.CANCEL_REQUEST,
  samples.LONG_CANCEL_REQUEST,
  samples.STARTUP,
];

const PLAIN_SEEDS = ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "SSH-2.0-x\r\n", "hello"].map((text) =>
  bytes(text)
);

/** A parser that is asked with more and more says the same as one that is asked once, and `more` means more. */
function checkParser<T>(create: () => (seen: Uint8Array) => Parsed<T>) {
  return (input: Uint8Array, random: Random): Parsed<T> => {
    const before = input.slice();
    const whole = create()(input);
    assert.deepEqual(input, before, "the input is only read");
    checkLengths(whole, input.length);
    const parse = create();
    for (const cut of [...randomCuts(random, input), input.length]) {
      const parsed = parse(input.slice(0, cut));
      checkLengths(parsed, cut);
      if (parsed.kind === "more") continue;
      assert.equal(parsed.kind, whole.kind, `decided at ${cut}`);
      if (parsed.kind === "yes") assert.deepEqual(parsed, whole);
      break;
    }
    return whole;
  };
}

function checkLengths<T>(parsed: Parsed<T>, seen: number): void {
  if (parsed.kind === "more") assert.ok(parsed.total > seen);
  if (parsed.kind === "yes") assert.ok(parsed.length <= seen);
  if (parsed.kind === "malformed") assert.ok(parsed.detail.length > 0 && parsed.detail.length < 200);
}

const checkHello = checkParser(() => {
  const parser = new ClientHelloParser();
  return (seen) => parser.push(seen);
});

fuzz("ClientHello", helloSeeds, (input, random) => {
  const parsed = checkHello(input, random);
  if (input.length > 0 && input[0] !== 22) assert.equal(parsed.kind, "malformed");
  assert.notEqual(parsed.kind, "no");
  if (parsed.kind !== "yes") return;
  const { serverName, alpn } = parsed.value;
  if (serverName !== undefined) assert.equal(canonicalName(serverName), serverName);
  assert.ok(alpn.length <= 64);
});

const checkProxy = checkParser(() => parseProxyHeader);

fuzz("PROXY header", () => PROXY_SEEDS, (input, random) => {
  const parsed = checkProxy(input, random);
  if (parsed.kind !== "yes") return;
  const { source, destination, raw } = parsed.value;
  assert.deepEqual(raw, input.subarray(0, parsed.length));
  for (const again of [encodeProxyV1(source, destination), encodeProxyV2(source, destination)]) {
    const reread = parseProxyHeader(again);
    assert.ok(reread.kind === "yes");
    assert.deepEqual(reread.value.source, source);
    assert.deepEqual(reread.value.destination, destination);
  }
});

const checkPostgres = checkParser(() => parsePostgresOpening);
fuzz("PostgreSQL opening", () => POSTGRES_SEEDS, (input, random) => void checkPostgres(input, random));

const checkPlain = checkParser(() => parsePlainOpening);
fuzz("plain opening", () => PLAIN_SEEDS, (input, random) => {
  if (input.length === 0) return;
  assert.match(checkPlain(input, random).kind, /^(yes|more)$/);
  assert.notEqual(parseSslV2Hello(input).kind, "yes");
});

function conversationSeeds(): Uint8Array[] {
  const openings = [...helloSeeds(), ...POSTGRES_SEEDS, ...PLAIN_SEEDS];
  const negotiated = [
    bytes(samples.SSL_REQUEST, samples.HELLO),
    bytes(samples.GSSENC_REQUEST, samples.SSL_REQUEST, samples.HELLO),
  ];
  return [
    ...openings,
    ...negotiated,
    ...PROXY_SEEDS.map((header, i) => bytes(header, openings[i] ?? samples.HELLO)),
  ];
}

fuzz("whole preface", conversationSeeds, async (input, random) => {
  const maxBytes = random.pick([64, 600, MAX_BYTES]);
  const proxy = random.pick(["trusted", "refused"] as const);
  // Cuts where one side waits for the other are the ones that matter, and are hardly met by chance.
  const cuts = random.below(2) === 0
    ? randomCuts(random, input)
    : [8, 16].filter((cut) => cut < input.length);
  const stream = new ScriptedStream(segmentsOf(input, cuts));
  const result = await readPreface(stream, { maxBytes, proxy });
  assert.ok(stream.taken <= Math.min(maxBytes, input.length));
  assert.ok(stream.written.length <= 2);
  if (result.kind === "refused") {
    assert.ok(result.detail.length > 0 && result.detail.length < 200);
    return;
  }
  const { preface } = result;
  assert.deepEqual(preface.replay, input.subarray(stream.taken - preface.replay.length, stream.taken));
  const consumed = (preface.proxy?.raw.length ?? 0) + 8 * stream.written.length;
  assert.equal(preface.replay.length + consumed, stream.taken, "no byte is lost");
  if (preface.replay[0] === 22) assert.ok(preface.tls !== undefined);
  if (proxy === "refused") assert.equal(preface.proxy, undefined);
});
