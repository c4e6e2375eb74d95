import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type ByteStream, writeAll } from "../../core/byte_stream.ts";
import type { ClosedEvent } from "../../core/plugin/contract.ts";
import { LentBuffers } from "../core/data_plane/lent_buffers.ts";
import { connectTls, testCertificate } from "../core/data_plane/clients.ts";
import { Random } from "../fuzz/fuzz.ts";
import { serveTcp } from "../support/echo.ts";
import { TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";

const RUNS = 100;
/** Past every buffer on the way, the system's included. */
const MAX_BYTES = 3_000_000;

/** Bytes in which nothing repeats: a chunk that is lost, doubled or moved changes the hash. */
function bulk(random: Random, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let word = random.below(2 ** 32 - 1) + 1;
  for (let i = 0; i < words.length; i++) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    words[i] = word;
  }
  const data = new Uint8Array(words.buffer, 0, length);
  if (length > 0) data[0] = 1; // no protocol begins so, and the gateway need not wait for more
  return data;
}

/** Mostly short, now and then long: both ends of every buffer are met. */
function randomLength(random: Random, max: number): number {
  return 1 + random.below(Math.min(max, 2 ** (2 + random.below(21))));
}

async function send(to: ByteStream, data: Uint8Array, random: Random): Promise<void> {
  const largest = randomLength(random, 300_000);
  for (let at = 0; at < data.length;) {
    const chunk = data.subarray(at, at + Math.max(Math.ceil(data.length / 300), random.below(largest)));
    await writeAll(to, chunk);
    at += chunk.length;
    if (random.below(10) === 0) await turn();
  }
  await to.closeWrite();
}

/** Resolves to the hash of all up to the FIN. A slow reader takes little at a time, and lets others run before more. */
async function receive(from: ByteStream, expected: number, random: Random): Promise<string> {
  const isSlow = random.below(3) === 0;
  const buffer = new Uint8Array(
    isSlow ? Math.ceil(expected / 300) + 1 : randomLength(random, 300_000) + 4096,
  );
  const hash = createHash("sha256");
  for (let n; (n = await from.read(buffer)) !== null;) {
    hash.update(buffer.subarray(0, n));
    if (isSlow) await turn();
  }
  return hash.digest("hex");
}

/** One turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function hashOf(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** What one side does: when it begins to send is left to chance, and so is who is done first. */
async function talk(
  stream: ByteStream,
  mine: Uint8Array,
  theirs: Uint8Array,
  random: Random,
): Promise<string> {
  const order = random.below(3);
  if (order === 0) { // all of mine, then theirs: works only as far as the buffers on the way, or with half-close
    const received = receive(stream, theirs.length, random);
    await send(stream, mine, random);
    return await received;
  }
  const [received] = await Promise.all([receive(stream, theirs.length, random), send(stream, mine, random)]);
  return received;
}

for (const layer of ["TCP", "terminated TLS"] as const) {
  Deno.test(`over ${layer}, every byte arrives once and in order, both ways at once`, async (t) => {
    using buffers = new LentBuffers();
    const { material } = await testCertificate();
    let serve: (conn: Deno.TcpConn) => Promise<void> = () => Promise.resolve();
    await using upstream = serveTcp((conn) => serve(conn));
    const closed: ClosedEvent[] = [];
    const forward = { kind: "forward", to: upstream.target } as const;
    await using gateway = new TestPlane({
      plugins: [{
        route: () => layer === "TCP" ? forward : { kind: "terminate", then: forward },
        closed: (event) => void closed.push(event),
      }],
      certificates: [material],
    });
    const runs = layer === "TCP" ? RUNS : RUNS / 4;
    for (let run = 0; run < runs; run++) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      await t.step(`seed ${seed}`, async () => {
        const random = new Random(seed);
        const request = bulk(random, randomLength(random, MAX_BYTES));
        const response = bulk(random, random.below(5) === 0 ? 0 : randomLength(random, MAX_BYTES));
        const atUpstream = Promise.withResolvers<string>();
        serve = async (conn) => {
          await talk(conn, response, request, new Random(seed + 1)).then(
            atUpstream.resolve,
            atUpstream.reject,
          );
        };
        using client = layer === "TCP" ? await gateway.connect() : await connectTls(gateway);
        const atClient = await talk(client, request, response, random);
        assert.equal(atClient, hashOf(response), "what the client got");
        assert.equal(await atUpstream.promise, hashOf(request), "what the upstream got");
        await until(() => closed.length === 1, { what: "the connection to be closed" });
        const { bytesIn, bytesOut, result } = closed.pop() ?? assert.fail();
        assert.deepEqual([bytesIn, bytesOut, result], [request.length, response.length, "ok"]);
      });
    }
    assert.equal(buffers.count(), 0);
  });
}

Deno.test("many connections at once do not mix up their bytes", async () => {
  using buffers = new LentBuffers();
  await using upstream = serveTcp(async (conn) => { // sends back each byte, plus one
    const buffer = new Uint8Array(10_000);
    for (let n; (n = await conn.read(buffer)) !== null;) {
      await writeAll(conn, buffer.subarray(0, n).map((byte) => byte + 1));
    }
  });
  await using gateway = new TestPlane({
    plugins: [{ route: () => ({ kind: "forward", to: upstream.target }) }],
  });
  const talkOnce = async (seed: number) => {
    const random = new Random(seed);
    const data = bulk(random, 50_000 + random.below(50_000));
    using client = await gateway.connect();
    const [heard] = await Promise.all([receive(client, data.length, random), send(client, data, random)]);
    assert.equal(heard, hashOf(data.map((byte) => byte + 1)), `seed ${seed}`);
  };
  const first = Math.floor(Math.random() * 2 ** 31);
  await Promise.all(Array.from({ length: 100 }, (_, i) => talkOnce(first + i)));
  await until(() => gateway.plane.size === 0, { what: "the gateway to be empty" });
  assert.equal(buffers.count(), 0);
});
