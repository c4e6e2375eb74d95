import assert from "node:assert/strict";
import { CancelKeys, CancelRoutes, type CancelTarget } from "../../../core/data_plane/postgres_cancel.ts";
import type { CancelKey } from "../../../core/data_plane/preface/postgres.ts";
import { FakeClock } from "./fake_clock.ts";

function key(processId: number, ...secret: number[]): CancelKey {
  return { processId, secret: Uint8Array.from(secret) };
}

function target(to: string): CancelTarget {
  return { forward: { kind: "forward", to } };
}

Deno.test("a session is found by its process id and its whole key, and by nothing less", () => {
  const keys = new CancelKeys();
  keys.remember(key(1, 1, 2, 3, 4), target("a:1"));
  keys.remember(key(1, 5, 6, 7, 8), target("b:1"));
  keys.remember(key(2, 1, 2, 3, 4), target("c:1"));
  const cases: [CancelKey, string | undefined][] = [
    [key(1, 1, 2, 3, 4), "a:1"],
    [key(1, 5, 6, 7, 8), "b:1"],
    [key(2, 1, 2, 3, 4), "c:1"],
    [key(2, 5, 6, 7, 8), undefined],
    [key(3, 1, 2, 3, 4), undefined],
    [key(1, 1, 2, 3, 5), undefined],
    [key(1, 1, 2, 3), undefined],
    [key(1, 1, 2, 3, 4, 0), undefined],
    [key(1), undefined],
  ];
  for (const [asked, to] of cases) assert.equal(keys.find(asked)?.forward.to, to);
});

Deno.test("a session that was forgotten is found no more, and others of its process id are", () => {
  const keys = new CancelKeys();
  const forget = keys.remember(key(1, 1, 2, 3, 4), target("a:1"));
  keys.remember(key(1, 5, 6, 7, 8), target("b:1"));
  forget();
  forget();
  assert.equal(keys.find(key(1, 1, 2, 3, 4)), undefined);
  assert.equal(keys.find(key(1, 5, 6, 7, 8))?.forward.to, "b:1");
  assert.equal(keys.size, 1);
});

Deno.test("of one process id 64 sessions are remembered, and of all 100,000; there is room again when one ends", () => {
  const keys = new CancelKeys();
  const forgets = Array.from({ length: 65 }, (_, i) => keys.remember(key(1, 0, 0, 0, i), target("a:1")));
  assert.equal(keys.size, 64);
  assert.equal(keys.find(key(1, 0, 0, 0, 64)), undefined);
  forgets.at(-1)?.();
  assert.equal(keys.size, 64, "one that was not remembered is not forgotten either");
  forgets[0]?.();
  keys.remember(key(1, 9, 9, 9, 9), target("b:1"));
  assert.ok(keys.find(key(1, 9, 9, 9, 9)));
  for (let id = 2; id < 100_100; id++) keys.remember(key(id, 1, 2, 3, 4), target("c:1"));
  assert.equal(keys.size, 100_000);
});

Deno.test("the others are asked about what is not known here, and only then", async () => {
  const asked: number[] = [];
  const routes = new CancelRoutes((one) => {
    asked.push(one.processId);
    return Promise.resolve(one.processId === 2 ? target("there:1") : undefined);
  });
  routes.keys.remember(key(1, 1, 2, 3, 4), target("here:1"));
  assert.equal((await routes.find(key(1, 1, 2, 3, 4)))?.forward.to, "here:1");
  assert.equal((await routes.find(key(2, 1, 2, 3, 4)))?.forward.to, "there:1");
  assert.equal(await routes.find(key(3, 1, 2, 3, 4)), undefined);
  assert.deepEqual(asked, [2, 3]);
});

Deno.test("others that fail know nothing", async () => {
  const routes = new CancelRoutes(() => Promise.reject(new Error("gone")));
  assert.equal(await routes.find(key(1, 1, 2, 3, 4)), undefined);
});

Deno.test("others that do not answer know nothing after a second, and are asked 100 questions and no more", async () => {
  const { promise: never, resolve } = Promise.withResolvers<undefined>();
  let asked = 0;
  const routes = new CancelRoutes(() => {
    asked++;
    return never;
  });
  {
    using clock = new FakeClock();
    const finds = Array.from({ length: 150 }, () => routes.find(key(1, 1, 2, 3, 4)));
    assert.equal(asked, 100);
    clock.advance(1000);
    assert.deepEqual(new Set(await Promise.all(finds)), new Set([undefined]));
    assert.equal(clock.timers, 0);
    await routes.find(key(1, 1, 2, 3, 4));
    assert.equal(asked, 100, "nobody waits for them any more, but they are not answered either");
  }
  resolve(undefined);
  await never;
  await Promise.resolve();
  await routes.find(key(1, 1, 2, 3, 4));
  assert.equal(asked, 101);
});

Deno.test("what is usual follows what was delivered, and no single one makes it long", () => {
  const routes = new CancelRoutes();
  for (let i = 0; i < 50; i++) routes.delivered(2);
  assert.ok(Math.abs(routes.usualMs - 2) < 0.1);
  routes.delivered(60_000);
  assert.ok(routes.usualMs < 20);
});
