import assert from "node:assert/strict";
import { InFlight } from "../../../../plugins/ws-agent/yamux/in_flight.ts";
import { RoundTrips } from "../../../../plugins/ws-agent/yamux/round_trips.ts";

/** A sender with always something to send, on a path with a rate, a delay, and a queue without end. */
class Path {
  readonly inFlight: InFlight;
  readonly roundTrips = new RoundTrips();
  readonly #answers: { id: number; at: number; roundTripMs: number }[] = [];
  now = 1;
  rate: number;
  delayMs: number;
  /** When the bottleneck is done with what it has. */
  #freeAt = 0;
  #id = 0;

  /** @param rate Bytes a millisecond. */
  constructor(rate: number, delayMs: number) {
    this.rate = rate;
    this.delayMs = delayMs;
    this.inFlight = new InFlight(this.roundTrips);
  }

  /** @returns The round trips of the last second, in milliseconds. */
  run(ms: number, chunk = 16 * 1024): number[] {
    const end = this.now + ms;
    const seen: number[] = [];
    for (; this.now < end; this.now += 0.25) {
      for (let first; (first = this.#answers[0]) !== undefined && first.at <= this.now;) {
        this.#answers.shift();
        this.inFlight.answered(first.id, this.now);
        if (this.now > end - 1000) seen.push(first.roundTripMs);
      }
      while (this.inFlight.hasRoom) this.#send(chunk);
    }
    return seen;
  }

  #send(bytes: number): void {
    this.inFlight.sent(bytes);
    this.#freeAt = Math.max(this.#freeAt, this.now) + bytes / this.rate;
    if (!this.inFlight.markIsDue) return;
    this.inFlight.marked(++this.#id, this.now);
    const at = this.#freeAt + this.delayMs;
    this.#answers.push({ id: this.#id, at, roundTripMs: at - this.now });
  }
}

for (
  const { name, rate, delayMs } of [
    { name: "100 MB/s and 30 ms", rate: 100_000, delayMs: 30 },
    { name: "10 MB/s and 100 ms", rate: 10_000, delayMs: 100 },
    { name: "200 kB/s and 400 ms", rate: 200, delayMs: 400 },
  ]
) {
  Deno.test(`InFlight fills a path of ${name}, and no queue`, () => {
    const path = new Path(rate, delayMs);
    const seen = path.run(20_000);
    const { limit } = path.inFlight;
    assert.ok(limit >= Math.min(rate * delayMs, 16 * 1024 * 1024), `${limit} bytes do not fill it`);
    const longest = Math.max(...seen);
    assert.ok(longest < 2 * delayMs, `${longest} ms in a queue`);
  });
}

Deno.test("InFlight lets the ends of a short way be late, and marks few of its bytes", () => {
  const inFlight = new InFlight(new RoundTrips());
  for (let id = 1; id < 20; id++) { // 600 MB/s
    inFlight.sent(60_000);
    inFlight.marked(id, id);
    inFlight.answered(id, id + 0.1);
  }
  assert.ok(inFlight.limit > 200_000 && inFlight.limit < 300_000, `${inFlight.limit} bytes`);
  assert.ok(inFlight.untilMark > 50_000, `a mark in ${inFlight.untilMark} bytes`);
});

Deno.test("InFlight never allows more than 16 MiB, nor less than 32 KiB", () => {
  const fat = new Path(1_000_000, 200);
  fat.run(4000, 64 * 1024);
  assert.equal(fat.inFlight.limit, 16 * 1024 * 1024);
  const thin = new Path(10, 10);
  thin.run(60_000, 1024);
  assert.equal(thin.inFlight.limit, 32 * 1024);
});

Deno.test("InFlight follows a route that became longer", () => {
  const path = new Path(20_000, 10);
  path.run(3000);
  path.delayMs = 60;
  path.run(25_000);
  assert.ok(path.inFlight.limit > 20_000 * 60, `${path.inFlight.limit}`);
});

Deno.test("InFlight lets go of a mark that is not answered, after a while", () => {
  const inFlight = new InFlight(new RoundTrips());
  inFlight.sent(300_000);
  inFlight.marked(1, 1000);
  assert.equal(inFlight.hasRoom, false);
  assert.equal(inFlight.oldestAt, 1000);
  assert.equal(inFlight.giveUpStalled(1500), false);
  assert.equal(inFlight.giveUpStalled(2000), true);
  assert.equal(inFlight.hasRoom, true);
  assert.equal(inFlight.answered(1, 2500), undefined);
});

Deno.test("InFlight takes a mark's answer for all marks before it", () => {
  const inFlight = new InFlight(new RoundTrips());
  for (const id of [1, 2, 3]) {
    inFlight.sent(80_000);
    inFlight.marked(id, id);
  }
  assert.equal(inFlight.answered(2, 10), 8);
  assert.equal(inFlight.bytes, 80_000);
  assert.equal(inFlight.answered(1, 11), undefined);
  assert.equal(inFlight.answered(3, 12), 9);
  assert.equal(inFlight.bytes, 0);
});

Deno.test("InFlight wants a mark when what was sent since the last one exceeds a limit that fell", () => {
  const inFlight = new InFlight(new RoundTrips());
  inFlight.sent(10);
  inFlight.marked(1, 1);
  inFlight.sent(60_000);
  assert.equal(inFlight.markIsDue, false);
  inFlight.answered(1, 2);
  assert.equal(inFlight.hasRoom, false);
  assert.equal(inFlight.markIsDue, true);
});
