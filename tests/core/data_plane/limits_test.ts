import assert from "node:assert/strict";
import { type ConnectionLimits, SharedLimits } from "../../../core/data_plane/limits.ts";
import { forwardAll, TestPlane } from "../../support/plane.ts";
import { startEcho } from "../../support/echo.ts";
import { until } from "../../support/until.ts";
import { FakeClock } from "./fake_clock.ts";

const NO_LIMITS: ConnectionLimits = {
  maxConnections: 1_000_000,
  maxConnectionsPerSource: 0,
  maxAcceptRatePerSource: 0,
};

Deno.test("max_connections counts all that are open, and one that ends makes room for one", () => {
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxConnections: 3 };
  for (const source of ["192.0.2.1", "192.0.2.2", "2001:db8::1"]) {
    assert.equal(shared.admit(source, limits), undefined);
  }
  for (let i = 0; i < 5; i++) assert.equal(shared.admit("192.0.2.4", limits), "max_connections");
  assert.equal(shared.open, 3, "who was refused is not counted");
  shared.release("192.0.2.2", limits);
  assert.equal(shared.admit("192.0.2.4", limits), undefined);
  assert.equal(shared.admit("192.0.2.4", limits), "max_connections");
});

Deno.test("max_connections_per_source holds for each source by itself", () => {
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxConnectionsPerSource: 2 };
  for (const source of ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"]) {
    assert.equal(shared.admit(source, limits), undefined);
  }
  assert.equal(shared.admit("192.0.2.1", limits), "max_connections_per_source");
  assert.equal(shared.open, 4);
  shared.release("192.0.2.1", limits);
  assert.equal(shared.admit("192.0.2.1", limits), undefined);
  assert.equal(shared.admit("192.0.2.2", limits), "max_connections_per_source");
});

Deno.test("who is refused does not use up what it is refused", () => {
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxConnectionsPerSource: 1 };
  assert.equal(shared.admit("192.0.2.1", limits), undefined);
  for (let i = 0; i < 100; i++) assert.equal(shared.admit("192.0.2.1", limits), "max_connections_per_source");
  shared.release("192.0.2.1", limits);
  assert.equal(shared.admit("192.0.2.1", limits), undefined);
});

Deno.test("an IPv6 subscriber is counted by its /64", () => {
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxConnectionsPerSource: 2 };
  assert.equal(shared.admit("2001:db8:0:7::1", limits), undefined);
  assert.equal(shared.admit("2001:db8:0:7:ffff::2", limits), undefined);
  assert.equal(shared.admit("2001:db8:0:7:1:2:3:4", limits), "max_connections_per_source");
  assert.equal(shared.admit("2001:db8:0:8::1", limits), undefined);
});

Deno.test("max_accept_rate_per_source counts a second at a time, refused connections included", () => {
  using clock = new FakeClock();
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxAcceptRatePerSource: 3 };
  const burst = () => [1, 2, 3, 4, 5].map(() => shared.admit("192.0.2.1", limits));
  const expected = [
    undefined,
    undefined,
    undefined,
    "max_accept_rate_per_source",
    "max_accept_rate_per_source",
  ];
  assert.deepEqual(burst(), expected);
  assert.equal(shared.admit("192.0.2.2", limits), undefined, "another source has its own");
  assert.equal(shared.open, 4);
  clock.advance(1000);
  assert.deepEqual(burst(), expected);
});

Deno.test("a release goes by the limits of its admission: a reload in between spoils no count", () => {
  const shared = new SharedLimits();
  const limited = { ...NO_LIMITS, maxConnectionsPerSource: 1 };
  assert.equal(shared.admit("192.0.2.1", NO_LIMITS), undefined);
  assert.equal(shared.admit("192.0.2.1", limited), undefined);
  shared.release("192.0.2.1", NO_LIMITS);
  assert.equal(shared.admit("192.0.2.1", limited), "max_connections_per_source");
  shared.release("192.0.2.1", limited);
  assert.equal(shared.admit("192.0.2.1", limited), undefined);
});

Deno.test("two data planes over the same memory count together", () => {
  const one = new SharedLimits();
  const other = new SharedLimits(one.memory);
  const limits = { maxConnections: 4, maxConnectionsPerSource: 2, maxAcceptRatePerSource: 0 };
  assert.equal(one.admit("192.0.2.1", limits), undefined);
  assert.equal(other.admit("192.0.2.1", limits), undefined);
  assert.equal(one.admit("192.0.2.1", limits), "max_connections_per_source");
  assert.equal(other.admit("192.0.2.1", limits), "max_connections_per_source");
  assert.equal(one.admit("192.0.2.2", limits), undefined);
  assert.equal(other.admit("192.0.2.3", limits), undefined);
  assert.equal(one.admit("192.0.2.4", limits), "max_connections");
  assert.deepEqual([one.open, other.open], [4, 4]);
  other.release("192.0.2.1", limits); // another plane than the one that admitted it: counts are counts
  assert.equal(one.admit("192.0.2.1", limits), undefined);
});

Deno.test("with 10,000 sources, next to nobody is refused for a neighbour's connections", () => {
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxConnectionsPerSource: 1 };
  let refused = 0;
  for (let i = 0; i < 10_000; i++) {
    if (shared.admit(`10.${i >> 16}.${i >> 8 & 255}.${i & 255}`, limits)) refused++;
  }
  assert.ok(refused < 50, `${refused} of 10,000 refused`);
});

Deno.test("a table that was filled and emptied is empty: nothing is forgotten in any row", () => {
  const shared = new SharedLimits();
  const limits = { ...NO_LIMITS, maxConnectionsPerSource: 5 };
  const sources = Array.from({ length: 2000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  for (const source of sources) shared.admit(source, limits);
  for (const source of sources) shared.release(source, limits);
  assert.equal(shared.open, 0);
  assert.ok(new Int32Array(shared.memory).subarray(4).every((count) => count === 0));
});

for (
  const { reason, limits } of [
    { reason: "max_connections", limits: { maxConnections: 2 } },
    { reason: "max_connections_per_source", limits: { maxConnectionsPerSource: 2 } },
  ] as const
) {
  Deno.test(`a client over ${reason} is closed at once, counted and logged by that name, and gets in later`, async () => {
    await using echo = startEcho();
    await using gateway = new TestPlane({ plugins: [forwardAll(echo.address.port)], limits });
    const first = await gateway.connect();
    const second = await gateway.connect();
    await until(() => gateway.plane.size === 2, { what: "both to be accepted" });
    const third = await gateway.connect();
    assert.equal(await third.read(new Uint8Array(1)), null);
    third.close();
    assert.equal(gateway.counted("rejected_total", { reason }), 1);
    assert.equal(gateway.plane.size, 2);
    assert.deepEqual(
      gateway.events.filter(({ event }) => event === "connection_refused").map(({ fields }) => fields.result),
      [reason],
    );
    first.close();
    await until(() => gateway.plane.size === 1, { what: "the first to be gone" });
    const fourth = await gateway.connect();
    await until(() => gateway.plane.size === 2, { what: "the next to be accepted" });
    fourth.close();
    second.close();
  });
}

Deno.test("a source over its accept rate is refused by that name", async () => {
  await using gateway = new TestPlane({ limits: { maxAcceptRatePerSource: 3 } });
  const clients = await Promise.all(Array.from({ length: 12 }, () => gateway.connect()));
  await until(
    () => gateway.plane.size + gateway.counted("rejected_total") === clients.length,
    { what: "all to be accepted or refused" },
  );
  // A new second may begin in the middle of the burst.
  assert.ok(gateway.plane.size >= 3 && gateway.plane.size <= 6, `${gateway.plane.size} were admitted`);
  assert.ok(gateway.counted("rejected_total", { reason: "max_accept_rate_per_source" }) >= 6);
  clients.forEach((client) => client.close());
});
