import assert from "node:assert/strict";
import { IdleWatch, type Watched } from "../../../core/data_plane/idle_watch.ts";
import { FakeClock } from "./fake_clock.ts";

const TIMEOUT_MS = 1000;

function quiet(): Watched {
  return { sent: { bytes: 0 }, received: { bytes: 0 } };
}

Deno.test("what moves nothing ends after its time, and at most a quarter later", () => {
  using clock = new FakeClock();
  const ended: Watched[] = [];
  const watch = new IdleWatch(TIMEOUT_MS, (one) => ended.push(one));
  const connection = quiet();
  watch.add(connection);
  clock.advance(TIMEOUT_MS - 1);
  assert.deepEqual(ended, []);
  clock.advance(TIMEOUT_MS / 4 + 1);
  assert.deepEqual(ended, [connection]);
  clock.advance(10 * TIMEOUT_MS);
  assert.equal(ended.length, 1);
  assert.equal(clock.timers, 0);
});

for (const direction of ["sent", "received"] as const) {
  Deno.test(`a byte ${direction} now and then keeps a connection; then it ends in time`, () => {
    using clock = new FakeClock();
    const ended: Watched[] = [];
    const watch = new IdleWatch(TIMEOUT_MS, (one) => ended.push(one));
    const connection = quiet();
    watch.add(connection);
    for (let i = 0; i < 30; i++) {
      clock.advance(TIMEOUT_MS * 0.9);
      connection[direction].bytes++;
    }
    assert.deepEqual(ended, []);
    clock.advance(TIMEOUT_MS - 1);
    assert.deepEqual(ended, [], "a byte gives the whole time anew");
    clock.advance(TIMEOUT_MS / 4 + 1);
    assert.deepEqual(ended, [connection]);
  });
}

Deno.test("one is ended for its own silence only", () => {
  using clock = new FakeClock();
  const ended: Watched[] = [];
  const watch = new IdleWatch(TIMEOUT_MS, (one) => ended.push(one));
  const [busy, idle] = [quiet(), quiet()];
  watch.add(busy);
  watch.add(idle);
  for (let i = 0; i < 8; i++) {
    clock.advance(TIMEOUT_MS / 4);
    busy.sent.bytes += 10;
  }
  assert.deepEqual(ended, [idle]);
});

Deno.test("adding twice does not begin anew, and what was taken out is left alone", () => {
  using clock = new FakeClock();
  const ended: Watched[] = [];
  const watch = new IdleWatch(TIMEOUT_MS, (one) => ended.push(one));
  const [stays, leaves] = [quiet(), quiet()];
  watch.add(stays);
  watch.add(leaves);
  clock.advance(TIMEOUT_MS / 2);
  watch.add(stays);
  watch.delete(leaves);
  watch.delete(leaves);
  clock.advance(TIMEOUT_MS / 2);
  assert.deepEqual(ended, [stays]);
});

Deno.test("many connections that come at different times share one timer for as long as they live", () => {
  using clock = new FakeClock();
  const watch = new IdleWatch<Watched>(TIMEOUT_MS, () => assert.fail("none is idle"));
  const connections = Array.from({ length: 50 }, quiet);
  for (const connection of connections) {
    watch.add(connection);
    clock.advance(3);
  }
  for (let i = 0; i < 200; i++) {
    for (const connection of connections) connection.received.bytes++;
    clock.advance(37);
    assert.equal(clock.timers, 1);
  }
  watch.close();
  assert.equal(clock.timers, 0);
});
