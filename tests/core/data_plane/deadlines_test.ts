import assert from "node:assert/strict";
import { Deadlines } from "../../../core/data_plane/deadlines.ts";
import { readToEnd, startEcho } from "../../support/echo.ts";
import { forwardAll, TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { readExactly, testCertificate } from "./clients.ts";
import { FakeClock } from "./fake_clock.ts";
import {
  bytes,
  extension,
  GSSENC_REQUEST,
  HELLO,
  helloMessage,
  inRecords,
  PROXY_V1,
  proxyV2,
  serverName,
  SSL_REQUEST,
  STARTUP,
  supportedVersions,
  V2_IPV4_BLOCK,
} from "./preface/samples.ts";

interface Entry {
  readonly name: string;
}

function entries(...names: string[]): Entry[] {
  return names.map((name) => ({ name }));
}

Deno.test("each entry expires when its own time is over, in the order in which they came", () => {
  using clock = new FakeClock();
  const expired: string[] = [];
  const deadlines = new Deadlines<Entry>(100, ({ name }) => expired.push(name));
  for (const entry of entries("a", "b", "c")) {
    deadlines.add(entry);
    clock.advance(30);
  }
  clock.advance(9);
  assert.deepEqual(expired, []);
  clock.advance(1);
  assert.deepEqual(expired, ["a"]);
  clock.advance(30);
  assert.deepEqual(expired, ["a", "b"]);
  clock.advance(1000);
  assert.deepEqual(expired, ["a", "b", "c"]);
  assert.equal(clock.timers, 0);
});

Deno.test("an entry that was taken out does not expire, and the one behind it is on time", () => {
  using clock = new FakeClock();
  const expired: string[] = [];
  const deadlines = new Deadlines<Entry>(100, ({ name }) => expired.push(name));
  const [first, second] = entries("first", "second") as [Entry, Entry];
  deadlines.add(first);
  clock.advance(50);
  deadlines.add(second);
  deadlines.delete(first);
  deadlines.delete(first);
  clock.advance(99);
  assert.deepEqual(expired, []);
  clock.advance(1);
  assert.deepEqual(expired, ["second"]);
});

Deno.test("adding an entry again starts its time anew", () => {
  using clock = new FakeClock();
  const expired: string[] = [];
  const deadlines = new Deadlines<Entry>(100, ({ name }) => expired.push(name));
  const [one, other] = entries("one", "other") as [Entry, Entry];
  deadlines.add(one);
  deadlines.add(other);
  clock.advance(60);
  deadlines.add(one);
  clock.advance(40);
  assert.deepEqual(expired, ["other"]);
  clock.advance(60);
  assert.deepEqual(expired, ["other", "one"]);
});

Deno.test("one timer serves any number of entries, also when each is added again as it expires", () => {
  using clock = new FakeClock();
  let expiries = 0;
  const deadlines = new Deadlines<Entry>(100, (entry) => {
    expiries++;
    deadlines.add(entry);
  });
  for (const entry of entries("a", "b", "c", "d", "e")) {
    deadlines.add(entry);
    clock.advance(7);
    assert.equal(clock.timers, 1);
  }
  for (let i = 0; i < 500; i++) {
    clock.advance(13);
    assert.equal(clock.timers, 1);
  }
  assert.equal(expiries, 5 * Math.floor(500 * 13 / 100));
});

Deno.test("an entry that is added while another expires keeps its whole time", () => {
  using clock = new FakeClock();
  const expired: string[] = [];
  const [first, second] = entries("first", "second") as [Entry, Entry];
  const deadlines = new Deadlines<Entry>(100, (entry) => {
    expired.push(entry.name);
    if (entry === first) deadlines.add(second);
  });
  deadlines.add(first);
  clock.advance(199);
  assert.deepEqual(expired, ["first"]);
  clock.advance(1);
  assert.deepEqual(expired, ["first", "second"]);
});

Deno.test("close() expires nothing and leaves no timer, and the queue can be used again", () => {
  using clock = new FakeClock();
  const expired: string[] = [];
  const deadlines = new Deadlines<Entry>(100, ({ name }) => expired.push(name));
  const [before, after] = entries("before", "after") as [Entry, Entry];
  deadlines.add(before);
  deadlines.close();
  deadlines.close();
  assert.equal(clock.timers, 0);
  deadlines.add(after);
  clock.advance(100);
  assert.deepEqual(expired, ["after"]);
});

Deno.test("close() while an entry expires ends it there", () => {
  using clock = new FakeClock();
  const expired: string[] = [];
  const deadlines = new Deadlines<Entry>(100, ({ name }) => {
    expired.push(name);
    deadlines.close();
  });
  for (const entry of entries("a", "b")) deadlines.add(entry);
  clock.advance(1000);
  assert.deepEqual(expired, ["a"]);
  assert.equal(clock.timers, 0);
});

// --- The deadline of a preface, over sockets

const PREFACE_TIMEOUT_MS = 200;
const DRIP_MS = 40;
/** Later than this, and the last byte has bought the client time. */
const LATEST_MS = PREFACE_TIMEOUT_MS + 200;

const DRIPS: readonly { state: string; ready?: Uint8Array; answer?: string; drip: Uint8Array }[] = [
  { state: "having said nothing", drip: bytes() },
  { state: "in a PROXY v1 header", drip: PROXY_V1 },
  { state: "in a PROXY v2 header", drip: proxyV2(0x21, 0x11, V2_IPV4_BLOCK) },
  { state: "behind a PROXY header", ready: PROXY_V1, drip: bytes() },
  { state: "in an SSLRequest", drip: SSL_REQUEST.subarray(0, 7) },
  { state: "in a ClientHello", drip: HELLO },
  { state: "in a ClientHello behind a PROXY header", ready: PROXY_V1, drip: HELLO },
  { state: "after the S", ready: SSL_REQUEST, answer: "S", drip: bytes() },
  { state: "in a ClientHello after the S", ready: SSL_REQUEST, answer: "S", drip: HELLO },
  { state: "after the N", ready: GSSENC_REQUEST, answer: "N", drip: bytes() },
  { state: "in a StartupMessage", drip: STARTUP },
  { state: "in a request line", drip: bytes("OPTI") },
];

for (const { state, ready = bytes(), answer = "", drip } of DRIPS) {
  Deno.test(`a client that stops, or sends a byte now and then, ${state} is closed on time`, async () => {
    await using gateway = new TestPlane({
      limits: { prefaceTimeoutMs: PREFACE_TIMEOUT_MS },
      proxyFrom: ["127.0.0.1"],
    });
    using client = await gateway.connect();
    const start = performance.now();
    await client.write(ready);
    let at = 0;
    const dripping = setInterval(() => {
      if (at < drip.length) client.write(drip.subarray(at, ++at)).catch(() => {});
    }, DRIP_MS);
    const heard = await readToEnd(client).catch((error) => {
      assert.ok(error instanceof Deno.errors.ConnectionReset, `${error}`);
      return bytes(answer);
    });
    clearInterval(dripping);
    const took = performance.now() - start;
    assert.deepEqual(heard, bytes(answer));
    assert.ok(took > PREFACE_TIMEOUT_MS * 0.9 && took < LATEST_MS, `${took} ms`);
    assert.equal(gateway.counted("rejected_total", { reason: "preface_timeout" }), 1);
    await until(() => gateway.plane.size === 0, { what: "the gateway to be empty" });
    assert.equal(gateway.counted("connections_total", { result: "preface_timeout" }), 1);
  });
}

Deno.test("a client that stops in its handshake is closed on time, and counted by that name", async () => {
  const { material } = await testCertificate();
  await using gateway = new TestPlane({
    plugins: [{ route: () => ({ kind: "terminate" }) }],
    certificates: [material],
    limits: { prefaceTimeoutMs: PREFACE_TIMEOUT_MS },
  });
  const hello = inRecords(helloMessage({
    cipherSuites: Uint8Array.of(0x13, 0x01),
    sessionId: new Uint8Array(32),
    extensions: [
      serverName("app.example.com"),
      supportedVersions(0x0304),
      extension(10, bytes(0, 2, 0, 0x1d)), // x25519
      extension(13, bytes(0, 2, 4, 3)), // ecdsa_secp256r1_sha256
      extension(51, bytes(0, 36, 0, 0x1d, 0, 32, new Uint8Array(32).fill(9))),
    ],
  }));
  using client = await gateway.connect();
  await client.write(hello);
  await readToEnd(client).catch((error) => assert.ok(error instanceof Deno.errors.ConnectionReset));
  await until(() => gateway.plane.size === 0, { what: "the gateway to be empty" });
  assert.equal(gateway.counted("rejected_total", { reason: "handshake_timeout" }), 1);
});

Deno.test("what came in time is not cut off: a relayed connection outlives the preface's time", async () => {
  await using echo = startEcho();
  await using gateway = new TestPlane({
    plugins: [forwardAll(echo.address.port)],
    limits: { prefaceTimeoutMs: 100 },
  });
  using client = await gateway.connect();
  await client.write(HELLO);
  await readExactly(client, HELLO.length);
  using silent = await gateway.connect();
  await readToEnd(silent).catch(() => {}); // a connection that came later has timed out
  await client.write(bytes("ping"));
  assert.deepEqual(await readExactly(client, 4), bytes("ping"));
});

Deno.test("hundreds of silent sockets do not delay a good client, and all are closed in time", async () => {
  await using echo = startEcho();
  await using gateway = new TestPlane({
    plugins: [forwardAll(echo.address.port)],
    limits: { prefaceTimeoutMs: 1500 },
  });
  const silent = await Promise.all(Array.from({ length: 400 }, () => gateway.connect()));
  await until(() => gateway.plane.size === silent.length, { what: "all to be accepted" });
  const start = performance.now();
  for (let i = 0; i < 20; i++) {
    using client = await gateway.connect();
    await client.write(HELLO);
    await readExactly(client, HELLO.length);
  }
  const took = performance.now() - start;
  assert.ok(took < 1000, `20 connections took ${took} ms`);
  await Promise.all(silent.map((client) => readToEnd(client).catch(() => {})));
  assert.equal(gateway.counted("rejected_total", { reason: "preface_timeout" }), silent.length);
  silent.forEach((client) => client.close());
});
