import assert from "node:assert/strict";
import type { IdleKeeper } from "../../../../plugins/ws-agent/http/backend.ts";
import { UpstreamPool } from "../../../../plugins/ws-agent/http/upstream.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";

function poolOfPipes() {
  const services: PipeEnd[] = [];
  const keepers = new Set<IdleKeeper>();
  const open = () => {
    const [near, far] = pipe();
    services.push(far);
    return Promise.resolve(near);
  };
  return { services, keepers, pool: new UpstreamPool({ hostname: "demo.example.com", open, keepers }, 1) };
}

Deno.test("a keeper that is asked lets go of the stream that nobody uses, and opens another when one is needed", async () => {
  const { services, keepers, pool } = poolOfPipes();
  pool.give(await pool.take(true));
  const leaving = [...keepers].map((keeper) => keeper.leave());
  assert.equal(await services[0]?.read(new Uint8Array(1)), null, "the service sees FIN");
  services[0]?.close();
  await Promise.all(leaving);
  const fresh = await pool.take(true);
  assert.equal(services.length, 2);
  pool.drop(fresh);
  services[1]?.close();
  pool.close();
});

Deno.test("a stream that is in use stays when its keeper is asked", async () => {
  const { services, keepers, pool } = poolOfPipes();
  const used = await pool.take(true);
  await Promise.all([...keepers].map((keeper) => keeper.leave()));
  await used.stream.write(new Uint8Array(1));
  assert.equal(await services[0]?.read(new Uint8Array(1)), 1);
  assert.equal(used.closed, false);
  pool.drop(used);
  services[0]?.close();
  pool.close();
});

Deno.test("whose connection is over keeps nothing", () => {
  const { keepers, pool } = poolOfPipes();
  assert.equal(keepers.size, 1);
  pool.close();
  assert.equal(keepers.size, 0);
});
