import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { FakeClock } from "../core/data_plane/fake_clock.ts";
import { readExactly } from "../core/data_plane/clients.ts";
import type { ClosedEvent } from "../../core/plugin/contract.ts";
import { readToEnd, serveTcp, startEcho, type TestServer } from "../support/echo.ts";
import { forwardAll, TestPlane } from "../support/plane.ts";
import { until } from "../support/until.ts";

const HELLO = Uint8Array.of(1, 2, 3);
const IDLE_MS = 400;
const HOUR_MS = 3_600_000;

function gatewayTo(
  upstream: TestServer,
  idleTimeoutMs: number,
): { gateway: TestPlane; closed: ClosedEvent[] } {
  const closed: ClosedEvent[] = [];
  const plugin = forwardAll(upstream.address.port, { closed: (event) => void closed.push(event) });
  return { gateway: new TestPlane({ plugins: [plugin], limits: { idleTimeoutMs } }), closed };
}

Deno.test("an idle relay ends in its time on both sides, and a busy one beside it does not", async () => {
  await using echo = startEcho();
  const { gateway, closed } = gatewayTo(echo, IDLE_MS);
  await using _gateway = gateway;
  using idle = await gateway.connect();
  using busy = await gateway.connect();
  for (const client of [idle, busy]) {
    await writeAll(client, HELLO);
    await readExactly(client, HELLO.length);
  }
  const start = performance.now();
  const ended = readToEnd(idle).then(() => performance.now() - start);
  let isIdleOpen = true;
  ended.then(() => isIdleOpen = false, () => {});
  // A byte there and back, again and again, for longer than an idle connection may last.
  for (
    let now = start;
    now < start + 3 * IDLE_MS || (isIdleOpen && now < start + 10_000);
    now = performance.now()
  ) {
    await writeAll(busy, HELLO.subarray(0, 1));
    await readExactly(busy, 1);
  }
  assert.equal(isIdleOpen, false, "it is idle, and open");
  const took = await ended;
  assert.ok(took > IDLE_MS * 0.9 && took < IDLE_MS * 1.25 + 500, `${took} ms`);
  assert.deepEqual(closed.map(({ result, bytesIn }) => [result, bytesIn]), [["idle_timeout", HELLO.length]]);
  await until(() => echo.open === 1, { what: "the upstream's side to be closed" });
  await writeAll(busy, HELLO);
  assert.deepEqual(await readExactly(busy, HELLO.length), HELLO);
});

Deno.test("with idleTimeout 0 a relay may be idle for ever, but a half of one may not", async () => {
  const halfClosed = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  await using upstream = serveTcp(async (conn) => {
    await readToEnd(conn);
    halfClosed.resolve();
    await goOn.promise; // and does not close its own half
  });
  const { gateway, closed } = gatewayTo(upstream, 0);
  await using _gateway = gateway;
  using client = await gateway.connect();
  await writeAll(client, HELLO);
  await until(() => gateway.plane.rows(1)[0]?.state === "relaying", { what: "the relay" });
  assert.equal(gateway.plane.queues.idle, undefined);
  {
    const wait = globalThis.setTimeout;
    using clock = new FakeClock();
    assert.equal(clock.timers, 0, "nothing watches a whole one");
    await client.closeWrite();
    await halfClosed.promise;
    while (clock.timers === 0) await new Promise((resolve) => wait(resolve, 1));
    clock.advance(HOUR_MS - 1000);
    assert.equal(closed.length, 0);
    clock.advance(HOUR_MS / 4 + 1000);
    assert.equal(await client.read(new Uint8Array(1)), null);
    while (closed.length === 0) await new Promise((resolve) => wait(resolve, 1));
  }
  assert.equal(closed[0]?.result, "idle_timeout");
  goOn.resolve();
});

Deno.test("with idleTimeout 0 a half-closed relay that ends well leaves no timer", async () => {
  await using upstream = serveTcp(async (conn) => void await readToEnd(conn));
  const { gateway, closed } = gatewayTo(upstream, 0);
  await using _gateway = gateway;
  using client = await gateway.connect();
  await writeAll(client, HELLO);
  await client.closeWrite();
  await readToEnd(client);
  await until(() => closed.length === 1, { what: "the end" });
  assert.equal(closed[0]?.result, "ok");
});
