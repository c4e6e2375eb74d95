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
  assert.deepEqual([ports.take(), ports.take(), ports.take(), ports.take()], [5, 6, 7, undefined]);
  assert.equal(ports.held, 3);
});

Deno.test("a port that was given back is the last to be used again", () => {
  const { ports } = pool();
  ports.giveBack(ports.take() ?? 0);
  assert.deepEqual([ports.take(), ports.take(), ports.take()], [6, 7, 5]);
});

Deno.test("a port that others have is passed over, and not looked at again for a minute", () => {
  const taken = new Set([5, 6]);
  const { ports, checked, clock } = pool(taken);
  assert.equal(ports.take(), 7);
  ports.giveBack(7);
  taken.clear();
  clock.ms = 59_999;
  assert.equal(ports.take(), 7);
  assert.deepEqual(checked, [5, 6, 7, 7]);
  clock.ms = 60_000;
  assert.equal(ports.take(), 5);
});

Deno.test("a port that its holder found taken is put aside", () => {
  const { ports, clock } = pool();
  ports.setAside(ports.take() ?? 0);
  assert.deepEqual([ports.take(), ports.take(), ports.take()], [6, 7, undefined]);
  clock.ms = 60_000;
  assert.equal(ports.take(), 5);
});

Deno.test("a pool with another range gives from that, and takes back the old ports", () => {
  const { ports } = pool();
  assert.equal(ports.take(), 5);
  ports.resize({ first: 9, last: 9 });
  assert.deepEqual([ports.take(), ports.take(), ports.held], [9, undefined, 2]);
  ports.giveBack(5);
  assert.deepEqual([ports.take(), ports.held], [undefined, 1]);
});

Deno.test("a range of one port is enough", () => {
  const ports = new PortPool({ first: 5, last: 5 }, () => true, () => 0);
  assert.deepEqual([ports.take(), ports.take()], [5, undefined]);
});
