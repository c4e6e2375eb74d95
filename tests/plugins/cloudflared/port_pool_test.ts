import assert from "node:assert/strict";
import { PortPool } from "../../../plugins/cloudflared/port_pool.ts";

const RANGE = { first: 5, last: 7 };

function pool(taken: ReadonlySet<number> = new Set()) {
  const clock = { ms: 0 };
  const checked: number[] = [];
  const isFree = (port: number) => {
    checked.push(port);
    return !taken.has(port);
  };
  return { clock, checked, ports: new PortPool(RANGE, isFree, () => clock.ms) };
}

Deno.test("a port pool gives each port once, and then none", () => {
  const { ports } = pool();
  assert.deepEqual([ports.take("a"), ports.take("a"), ports.take("a"), ports.take("a")], [
    5,
    6,
    7,
    undefined,
  ]);
  assert.equal(ports.held, 3);
});

Deno.test("a port that was given back is the last to be used again", () => {
  const { ports } = pool();
  ports.giveBack(ports.take("a") ?? 0);
  assert.deepEqual([ports.take("a"), ports.take("a"), ports.take("a")], [6, 7, 5]);
});

Deno.test("a port that others have is passed over, and not looked at again for a minute", () => {
  const taken = new Set([5, 6]);
  const { ports, checked, clock } = pool(taken);
  assert.equal(ports.take("a"), 7);
  ports.giveBack(7);
  taken.clear();
  clock.ms = 59_999;
  assert.equal(ports.take("a"), 7);
  assert.deepEqual(checked, [5, 6, 7, 7]);
  clock.ms = 60_000;
  assert.equal(ports.take("a"), 5);
});

Deno.test("a port that its holder found taken is put aside", () => {
  const { ports, clock } = pool();
  ports.setAside(ports.take("a") ?? 0);
  assert.deepEqual([ports.take("a"), ports.take("a"), ports.take("a")], [6, 7, undefined]);
  clock.ms = 60_000;
  assert.equal(ports.take("a"), 5);
});

Deno.test("a pool with another range gives from that, and takes back the old ports", () => {
  const { ports } = pool();
  assert.equal(ports.take("a"), 5);
  ports.resize({ first: 9, last: 9 });
  assert.deepEqual([ports.take("a"), ports.take("a"), ports.held], [9, undefined, 2]);
  ports.giveBack(5);
  assert.deepEqual([ports.take("a"), ports.held], [undefined, 1]);
});

Deno.test("a port on which connections may still arrive is for nobody but its last holder, for a while", () => {
  const { ports, clock } = pool();
  assert.deepEqual([ports.take("a"), ports.take("b"), ports.take("b")], [5, 6, 7]);
  ports.giveBack(5, "a");
  assert.deepEqual([ports.take("c"), ports.take(""), ports.take("a")], [undefined, undefined, 5]);
  ports.giveBack(5, "a");
  clock.ms = 1999;
  assert.equal(ports.take("c"), undefined);
  clock.ms = 2000;
  assert.equal(ports.take("c"), 5);
  ports.setAside(5);
  assert.equal(ports.take("a"), undefined, "what a stranger has is for nobody");
});

Deno.test("a search may begin anywhere in the range, and goes through all of it", () => {
  for (const [start, first] of [[0, 5], [0.34, 6], [0.999, 7]] as const) {
    const ports = new PortPool({ first: 5, last: 7 }, () => true, () => 0, start);
    assert.equal(ports.take("a"), first);
    assert.deepEqual(new Set([first, ports.take("a"), ports.take("a")]), new Set([5, 6, 7]));
    assert.equal(ports.take("a"), undefined);
  }
});

Deno.test("a range of one port is enough", () => {
  const ports = new PortPool({ first: 5, last: 5 }, () => true, () => 0);
  assert.deepEqual([ports.take("a"), ports.take("a")], [5, undefined]);
});
