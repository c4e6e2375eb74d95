import assert from "node:assert/strict";
import { Upstream, UpstreamPool } from "../../../../plugins/ws-agent/http/upstream.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { until } from "../../../support/until.ts";

/** A pool, and the service's ends of the streams that it opened. */
function poolOf(maxIdle = 1) {
  const services: PipeEnd[] = [];
  const pool = new UpstreamPool({
    hostname: "demo.localhost",
    open() {
      const [near, far] = pipe();
      services.push(far);
      return Promise.resolve(near);
    },
  }, maxIdle);
  return { pool, services };
}

Deno.test("UpstreamPool keeps what is given back, up to its limit, and hands it out again", async () => {
  const { pool, services } = poolOf(1);
  const [one, other] = [await pool.take(true), await pool.take(true)];
  pool.give(one);
  pool.give(other);
  assert.equal(other.closed, true);
  assert.equal(pool.take(true), one);
  assert.equal(services.length, 2);
  pool.close();
  assert.equal(one.closed, true);
  pool.drop(one);
});

Deno.test("UpstreamPool does not trust what was idle for long with what cannot be repeated", async () => {
  const { pool, services } = poolOf();
  const old = await pool.take(true);
  pool.give(old);
  old.idleSince -= 10_000;
  const fresh = await pool.take(false);
  assert.notEqual(fresh, old);
  assert.equal(old.closed, true);
  pool.give(fresh);
  fresh.idleSince -= 10_000;
  assert.equal(pool.take(true), fresh);
  assert.equal(services.length, 2);
  pool.drop(fresh);
  pool.close();
});

Deno.test("UpstreamPool lets go of a stream at once that ends, dies or speaks while nobody uses it", async () => {
  const spoilers: readonly ((service: PipeEnd) => unknown)[] = [
    (service) => service.closeWrite(),
    (service) => service.abort(),
    (service) => service.write(new Uint8Array(1)),
  ];
  for (const spoil of spoilers) {
    const { pool, services } = poolOf();
    const upstream = await pool.take(true);
    pool.give(upstream);
    const [service] = services;
    assert(service !== undefined);
    await spoil(service);
    await until(() => upstream.closed, { what: "the end of the stream" });
    assert((await pool.take(true)) instanceof Upstream);
    assert.equal(services.length, 2);
    pool.close();
  }
});

Deno.test("UpstreamPool leaves by FIN, and waits for the service's", async () => {
  const { pool, services } = poolOf();
  const upstream = await pool.take(true);
  pool.give(upstream);
  const [service] = services;
  assert(service !== undefined);
  const left = pool.leave();
  assert.equal(await service.read(new Uint8Array(1)), null);
  assert.equal(upstream.closed, false);
  await service.closeWrite();
  await left;
  assert.equal(upstream.closed, true);
});

Deno.test("UpstreamPool does not wait any more for a service that stays, once it is closed", async () => {
  const { pool } = poolOf();
  const upstream = await pool.take(true);
  pool.give(upstream);
  const left = pool.leave();
  pool.close();
  await left;
  assert.equal(upstream.closed, true);
});

Deno.test("UpstreamPool ends a wait for a stream when it is closed, and closes one that comes too late", async () => {
  const [near] = pipe();
  const opening = Promise.withResolvers<PipeEnd>();
  const pool = new UpstreamPool({ hostname: "demo.localhost", open: () => opening.promise }, 1);
  const taken = Promise.resolve(pool.take(true));
  pool.close();
  opening.resolve(near);
  await assert.rejects(taken, { name: "AbortError" });
  assert.equal(near.closed, true);
});
