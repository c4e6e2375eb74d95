import assert from "node:assert/strict";
import fc from "fast-check";
import { type ByteStream, closeQuietly, type LendingStream, writeAll } from "../../../core/byte_stream.ts";
import { relay, type RelayEnd } from "../../../core/data_plane/relay.ts";
import { Random } from "../../fuzz/fuzz.ts";
import { readToEnd } from "../../support/echo.ts";
import { pipe, type PipeEnd, type PipeOptions } from "../../support/pipe.ts";
import { LentBuffers } from "./lent_buffers.ts";

/** A relay between two pipes, and the outer ends of those. */
interface Relayed {
  readonly client: PipeEnd;
  readonly upstream: PipeEnd;
  /** The ends that the relay holds. */
  readonly inner: readonly [PipeEnd, PipeEnd];
  readonly sent: { bytes: number };
  readonly received: { bytes: number };
  readonly ended: Promise<RelayEnd>;
  halfClosed: number;
}

/** Lends what it reads, a little at a time, and spoils what it has got back. */
class Lender implements LendingStream {
  readonly #stream: ByteStream;
  #bytes: Uint8Array = new Uint8Array();
  lent = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  async borrow(): Promise<Uint8Array | null> {
    if (this.#bytes.length === 0) {
      const bytes = new Uint8Array(5000);
      const length = await this.#stream.read(bytes);
      if (length === null) return null;
      this.#bytes = bytes.subarray(0, length);
    }
    this.lent = true;
    return this.#bytes;
  }

  giveBack(length: number): void {
    this.lent = false;
    const rest = this.#bytes.slice(length);
    this.#bytes.fill(0xee);
    this.#bytes = rest;
  }

  read(): Promise<number | null> {
    return Promise.reject(new TypeError("Borrow from one who lends"));
  }

  write(data: Uint8Array): Promise<number> {
    return this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#stream.close();
  }
}

function relayed(options?: PipeOptions, farewell?: Uint8Array, lends = false): Relayed {
  const [client, clientInner] = pipe(options);
  const [upstream, upstreamInner] = pipe(options);
  const [sent, received] = [{ bytes: 0 }, { bytes: 0 }];
  const result: Relayed = {
    client,
    upstream,
    inner: [clientInner, upstreamInner],
    sent,
    received,
    halfClosed: 0,
    ended: relay({
      client: lends ? new Lender(clientInner) : clientInner,
      upstream: lends ? new Lender(upstreamInner) : upstreamInner,
      sent,
      received,
      ...(farewell && { farewell }),
      onHalfClosed: () => result.halfClosed++,
    }),
  };
  return result;
}

/** Lets everything run that can: between two turns of the event loop, all that only waits for promises is done. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Lets others run for a while, now and then. */
async function pause(random: Random): Promise<void> {
  if (random.below(4) > 0) return;
  for (let turns = random.below(50); turns > 0; turns--) await Promise.resolve();
}

async function sendInChunks(
  to: ByteStream,
  data: Uint8Array,
  random: Random,
  largest: number,
): Promise<void> {
  for (let at = 0; at < data.length;) {
    const end = Math.min(data.length, at + 1 + random.below(largest));
    await writeAll(to, data.subarray(at, end));
    at = end;
    await pause(random);
  }
}

/** Reads with buffers of many sizes, and pauses now and then. Keeps what came before a failure. */
async function receive(from: ByteStream, random: Random, largest: number): Promise<Uint8Array> {
  const all: number[] = [];
  try {
    for (let n;;) {
      const buffer = new Uint8Array(1 + random.below(largest));
      if ((n = await from.read(buffer)) === null) break;
      all.push(...buffer.subarray(0, n));
      await pause(random);
    }
  } catch (error) {
    assert.ok(isEnd(error), `${error}`);
  }
  return Uint8Array.from(all);
}

function isEnd(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BadResource;
}

const seed = fc.nat({ max: 2 ** 31 - 1 });
const shape = fc.record({
  seed,
  up: fc.nat({ max: 6000 }),
  down: fc.nat({ max: 6000 }),
  carry: fc.integer({ min: 1, max: 40 }),
  capacity: fc.integer({ min: 1, max: 3000 }),
  largest: fc.integer({ min: 1, max: 3000 }),
});

Deno.test("every byte arrives once and in order, both ways at once, whatever the chunks and whoever ends first", async () => {
  using buffers = new LentBuffers();
  await fc.assert(
    fc.asyncProperty(shape, fc.boolean(), async ({ seed, up, down, carry, capacity, largest }, lends) => {
      const random = new Random(seed);
      const [request, response] = [random.bytes(up), random.bytes(down)];
      const run = relayed({ carry: () => 1 + random.below(carry), capacity }, undefined, lends);
      const side = async (end: PipeEnd, data: Uint8Array) => {
        await sendInChunks(end, data, random, largest);
        await end.closeWrite();
      };
      const [atClient, atUpstream] = await Promise.all([
        receive(run.client, random, largest),
        receive(run.upstream, random, largest),
        side(run.client, request),
        side(run.upstream, response),
      ]);
      assert.equal(await run.ended, "ok");
      assert.deepEqual(atUpstream, request);
      assert.deepEqual(atClient, response);
      assert.deepEqual([run.sent.bytes, run.received.bytes], [up, down]);
      assert.equal(run.halfClosed, 2);
      assert.equal(buffers.count(), 0);
    }),
    { numRuns: 150 },
  );
});

Deno.test("bulk that fills every buffer size on the way arrives whole", async () => {
  using buffers = new LentBuffers();
  for (const length of [2047, 2048, 2049, 4096, 2048 + 262_144, 2048 + 262_144 + 1, 1_500_000]) {
    const random = new Random(length);
    const data = random.bytes(length);
    const run = relayed({ capacity: 300_000 });
    const [arrived] = await Promise.all([
      readToEnd(run.upstream),
      writeAll(run.client, data).then(() => run.client.closeWrite()),
      run.upstream.closeWrite(),
    ]);
    assert.equal(await run.ended, "ok");
    assert.deepEqual(arrived, data);
    assert.equal(run.sent.bytes, length);
  }
  assert.equal(buffers.count(), 0);
});

const DEATHS = ["abort", "close"] as const;

Deno.test("sudden death at any point: what arrived is a prefix, the relay ends, no buffer is lost", async () => {
  using buffers = new LentBuffers();
  const death = fc.record({
    shape,
    lends: fc.boolean(),
    how: fc.constantFrom(...DEATHS),
    who: fc.constantFrom("client" as const, "upstream" as const),
    after: fc.nat({ max: 6000 }),
  });
  await fc.assert(
    fc.asyncProperty(
      death,
      async ({ shape: { seed, up, down, carry, capacity, largest }, lends, how, who, after }) => {
        const random = new Random(seed);
        const [request, response] = [random.bytes(up + 1), random.bytes(down + 1)];
        const run = relayed({ carry: () => 1 + random.below(carry), capacity }, undefined, lends);
        const ended = run.ended.finally(() => run.inner.forEach(closeQuietly)); // as the caller does
        const dying = run[who];
        const other = who === "client" ? run.upstream : run.client;
        const send = async (end: PipeEnd, data: Uint8Array) => {
          try {
            const until = end === dying ? Math.min(after, data.length) : data.length;
            await sendInChunks(end, data.subarray(0, until), random, largest);
            if (end === dying) how === "abort" ? end.abort() : closeQuietly(end);
            else await end.closeWrite();
          } catch (error) {
            assert.ok(isEnd(error), `${error}`);
          } finally {
            closeQuietly(end === dying ? end : undefined);
          }
        };
        const [atOther] = await Promise.all([
          receive(other, random, largest),
          receive(dying, random, largest),
          send(run.client, request),
          send(run.upstream, response),
        ]);
        const end = await ended;
        const sentToOther = who === "client" ? request : response;
        assert.deepEqual(atOther, sentToOther.subarray(0, atOther.length));
        if (end === "ok") assert.equal(atOther.length, Math.min(after, sentToOther.length));
        if (end !== "ok") assert.equal(end, `${who}_reset`);
        assert.ok(run.sent.bytes <= request.length && run.received.bytes <= response.length);
        assert.equal(buffers.count(), 0);
      },
    ),
    { numRuns: 150 },
  );
});

for (const who of ["client", "upstream"] as const) {
  Deno.test(`a reset of an idle ${who} closes the other side at once`, async () => {
    const run = relayed();
    await settled();
    run[who].abort();
    assert.equal(await run.ended, `${who}_reset`);
    const other = who === "client" ? run.upstream : run.client;
    assert.equal(await other.read(new Uint8Array(1)), null);
    await assert.rejects(other.write(Uint8Array.of(1)), Deno.errors.BrokenPipe);
  });

  Deno.test(`a FIN of the ${who} is passed on at once, alone, and once`, async () => {
    const run = relayed();
    const other = who === "client" ? run.upstream : run.client;
    await run[who].closeWrite();
    assert.equal(await other.read(new Uint8Array(1)), null);
    await settled();
    assert.equal(run.halfClosed, 1);
    for (let i = 0; i < 3; i++) { // the other direction goes on for as long as it likes
      await writeAll(other, Uint8Array.of(1, 2, 3));
      assert.equal(await run[who].read(new Uint8Array(8)), 3);
    }
    assert.ok(run.inner.every((end) => !end.closed));
    await other.closeWrite();
    assert.equal(await run.ended, "ok");
    assert.equal(run.halfClosed, 2);
  });
}

for (const direction of ["up", "down"] as const) {
  Deno.test(`a reader that stops stalls the writer (${direction}): what is held is bounded, and the counts stay true`, async () => {
    using buffers = new LentBuffers();
    const capacity = 10_000;
    const run = relayed({ capacity });
    const [writer, reader] = direction === "up" ? [run.client, run.upstream] : [run.upstream, run.client];
    const count = direction === "up" ? run.sent : run.received;
    const chunk = new Uint8Array(5000);
    let accepted = 0;
    let stopped = false;
    const writing = (async () => {
      while (!stopped && accepted < 10_000_000) accepted += await writer.write(chunk);
      await writer.closeWrite();
    })();
    await settled();
    const stalledAt = accepted;
    await settled();
    assert.equal(accepted, stalledAt, "the writer waits");
    assert.ok(accepted <= 2 * capacity + 262_144, `${accepted} bytes were taken`);
    assert.equal(count.bytes, reader.waiting, "counted is what was handed on");

    stopped = true;
    const [rest] = await Promise.all([readToEnd(reader), writing, reader.closeWrite()]);
    assert.equal(await run.ended, "ok");
    assert.equal(rest.length, accepted);
    assert.equal(count.bytes, accepted);
    assert.equal(buffers.count(), 0);
  });
}

Deno.test("bytes that were lent are given back when their write fails", async () => {
  const [client, upstream] = [pipe(), pipe({ capacity: 1000 })];
  const lender = new Lender(client[1]);
  const [sent, received] = [{ bytes: 0 }, { bytes: 0 }];
  const ended = relay({ client: lender, upstream: upstream[0], sent, received });
  await writeAll(client[0], new Uint8Array(5000));
  await settled();
  assert.ok(lender.lent);
  upstream[1].abort();
  assert.equal(await ended, "upstream_reset");
  assert.ok(!lender.lent);
  assert.equal(sent.bytes, 1000);
});

Deno.test("a stalled relay whose reader dies ends, and gives back what it held", async () => {
  using buffers = new LentBuffers();
  const run = relayed({ capacity: 2048 });
  const writing = writeAll(run.client, new Uint8Array(100_000)).catch((error) => assert.ok(isEnd(error)));
  await settled();
  assert.ok(buffers.count() > 0);
  run.upstream.abort();
  assert.equal(await run.ended, "upstream_reset");
  await writing;
  assert.equal(buffers.count(), 0);
});

Deno.test("busy relays share a bounded number of large buffers, and all come back", async () => {
  using buffers = new LentBuffers();
  const runs = Array.from({ length: 300 }, () => relayed({ capacity: 2048 }));
  const data = new Random(7).bytes(10_000);
  const writing = runs.map(({ client }) => writeAll(client, data).then(() => client.closeWrite()));
  await settled();
  assert.equal(buffers.count(262_144), 256);
  assert.equal(buffers.count(16 * 1024), 300 - 256);
  assert.equal(buffers.count(2048), 300, "the quiet direction of each waits with a small one");

  const arrived = await Promise.all(runs.map(({ upstream }) => readToEnd(upstream)));
  assert.ok(arrived.every((one) => one.length === data.length && one.every((byte, i) => byte === data[i])));
  await Promise.all([...writing, ...runs.map(({ upstream }) => upstream.closeWrite())]);
  assert.deepEqual(new Set(await Promise.all(runs.map(({ ended }) => ended))), new Set(["ok"]));
  assert.equal(buffers.count(), 0);
});

Deno.test("after a burst, an idle relay waits with small buffers only", async () => {
  using buffers = new LentBuffers();
  const run = relayed();
  const burst = new Uint8Array(2048 + 1000);
  await writeAll(run.client, burst);
  for (let read = 0; read < burst.length;) {
    read += await run.upstream.read(new Uint8Array(4096)) ?? assert.fail();
  }
  await settled();
  assert.deepEqual([buffers.count(), buffers.count(2048)], [2, 2]);
  run.client.abort();
  await run.ended;
});

const FAREWELL = Uint8Array.of(21, 3, 3, 0, 2, 2, 80);

for (const how of ["a FIN", "a reset"] as const) {
  Deno.test(`${how} of an upstream that owes an answer: the client is told before it gets its FIN`, async () => {
    const run = relayed({}, FAREWELL);
    await settled();
    if (how === "a FIN") await run.upstream.closeWrite();
    else run.upstream.abort();
    assert.deepEqual(await readToEnd(run.client), FAREWELL);
    await run.client.closeWrite();
    assert.equal(await run.ended, "no_answer");
  });
}

Deno.test("an upstream that has answered, or a client that went first, makes no farewell", async () => {
  const answered = relayed({}, FAREWELL);
  await writeAll(answered.upstream, Uint8Array.of(1));
  await answered.upstream.closeWrite();
  assert.deepEqual(await readToEnd(answered.client), Uint8Array.of(1));
  await answered.client.closeWrite();
  assert.equal(await answered.ended, "ok");

  const gone = relayed({}, FAREWELL);
  await gone.client.closeWrite();
  assert.equal(await gone.upstream.read(new Uint8Array(1)), null);
  await gone.upstream.closeWrite();
  assert.equal((await readToEnd(gone.client)).length, 0);
  assert.equal(await gone.ended, "ok");
});
