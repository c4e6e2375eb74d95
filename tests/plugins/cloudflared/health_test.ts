import assert from "node:assert/strict";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { Counters } from "../../../plugins/cloudflared/counters.ts";
import type { Failure } from "../../../plugins/cloudflared/failure.ts";
import { Health } from "../../../plugins/cloudflared/health.ts";
import { systemTools } from "../../../plugins/cloudflared/tools.ts";

const REFUSED: Failure = { reason: "edge_refused", detail: "bad handshake" };
const EXITED: Failure = { reason: "exited", detail: "exit code 1" };

function start(max = 2) {
  const clock = { ms: 1_000_000 };
  const events: LogEvent[] = [];
  const counters = new Counters();
  const health = new Health("cft.example.com", {
    tools: { ...systemTools(), now: () => clock.ms },
    log: createLog("test", "debug", (event) => events.push(event)),
    counters,
    settings: { restart: { backoffMs: 1000, max } },
  });
  let connections = 0;
  return {
    clock,
    health,
    /** A connection that is sent, and ends a millisecond later. @returns Whether that opened the breaker. */
    use(result: string, bytesOut = 0, isCurrent = true): boolean {
      const connection = `c${++connections}`;
      assert.equal(health.admit(connection, false), undefined);
      health.sent(connection);
      const sentAt = clock.ms++;
      return health.closed({ connection, bytesIn: 0, bytesOut, ms: 1, result }, sentAt, isCurrent);
    },
    failures: () => counters.samples().flatMap(({ labels, value }) => labels?.["reason"] ? value : []),
    told: () => events.map(({ event, fields }) => [event, fields["cause"], fields["waitMs"]]),
  };
}

function times(count: number, act: () => boolean): boolean[] {
  return Array.from({ length: count }, act);
}

const FALSE_9 = Array(9).fill(false);

for (
  const { name, result, bytesOut, isCurrent, opens } of [
    { name: "hung up without a byte", result: "no_answer", opens: true },
    { name: "could not be dialed", result: "connect_failed", opens: true },
    { name: "were reset by the tunnel", result: "upstream_reset", opens: true },
    { name: "were reset by the client", result: "client_reset", opens: false },
    { name: "brought an answer before their reset", result: "upstream_reset", bytesOut: 1, opens: false },
    { name: "went through a former process", result: "no_answer", isCurrent: false, opens: false },
  ]
) {
  Deno.test(`ten connections in a row that ${name} ${opens ? "open" : "do not open"} the breaker`, () => {
    const { health, use } = start();
    assert.deepEqual(times(10, () => use(result, bytesOut, isCurrent)), [...FALSE_9, opens]);
    assert.deepEqual([health.isOpen, health.isFailing], [opens, opens]);
    assert.equal(health.lastFailure?.reason, opens ? "dropped_connections" : undefined);
  });
}

Deno.test("connections that were sent before the last one was dropped count as that one", () => {
  const { health, clock } = start();
  const dropped = (connection: string, sentAt: number) =>
    health.closed({ connection, bytesIn: 0, bytesOut: 0, ms: 1, result: "no_answer" }, sentAt, true);
  const sentAt = clock.ms++;
  assert.ok(!times(30, () => dropped("a", sentAt)).includes(true));
});

Deno.test("three complaints in a row open the breaker; an answer in between starts the count anew", () => {
  const { health, use, told } = start();
  const complained = () => health.complained(REFUSED, true);
  assert.deepEqual(times(2, complained), [false, false]);
  assert.equal(health.isUseless, true);
  use("ok", 5);
  assert.deepEqual([health.isUseless, health.hasWorked], [false, true]);
  assert.deepEqual(times(3, complained), [false, false, true]);
  assert.deepEqual(told(), [["cloudflared_failed", "edge_refused", 1000]]);
});

Deno.test("complaints of a program that is not ready, or kept away from already, are counted and open nothing", () => {
  const { health, failures } = start();
  assert.ok(!times(5, () => health.complained(REFUSED, false)).includes(true));
  health.fatal(EXITED);
  assert.ok(!times(5, () => health.complained(REFUSED, true)).includes(true));
  assert.equal(health.lastFailure, EXITED);
  assert.deepEqual(failures().filter((value) => value > 0).toSorted(), [1, 10]);
});

Deno.test("what the program says is the better reason for dropped connections, before and after", () => {
  const before = start();
  before.health.complained(REFUSED, true);
  times(10, () => before.use("no_answer"));
  const after = start();
  times(10, () => after.use("no_answer"));
  after.health.complained(REFUSED, true);
  for (const { health } of [before, after]) {
    assert.deepEqual([health.lastFailure, health.isOpen], [REFUSED, true]);
  }
});

Deno.test("a trial that is dropped opens the breaker for longer, and one that works closes it", () => {
  const { health, clock, use, told } = start();
  health.fatal(REFUSED);
  assert.deepEqual(health.admit("x", false), { kind: "refused", failure: REFUSED, retryInMs: 1000 });
  clock.ms += 1000;
  assert.equal(use("no_answer"), true);
  clock.ms += 2000;
  assert.equal(use("ok", 1), false);
  assert.equal(health.isFailing, false);
  assert.deepEqual(told(), [
    ["cloudflared_failed", "edge_refused", 1000],
    ["cloudflared_failed", "dropped_connections", 2000],
    ["cloudflared_recovered", undefined, undefined],
  ]);
});

Deno.test("starts that fail are held off for longer each time; without a port nothing is held off", () => {
  const { health, clock } = start();
  assert.deepEqual([health.startFailed(EXITED), health.startFailed(EXITED)], [1000, 2000]);
  assert.deepEqual(health.admit("a", true), { kind: "refused", failure: EXITED, retryInMs: 2000 });
  assert.equal(health.admit("a", false), undefined, "one that runs need not be started");
  clock.ms += 2000;
  assert.equal(health.admit("a", true), undefined);
  assert.equal(health.startFailed({ reason: "no_free_port", detail: "" }), 0);
  health.stopped();
  assert.deepEqual([health.isFailing, health.startFailed(EXITED)], [false, 1000]);
});

for (
  const { name, ranMs, works, heldOff } of [
    { name: "carried nothing", ranMs: 59_999, works: false, heldOff: true },
    { name: "ran for a minute", ranMs: 60_000, works: false, heldOff: false },
    { name: "worked", ranMs: 10, works: true, heldOff: false },
  ]
) {
  Deno.test(`a process that nobody needed when it ended ${heldOff ? "holds off" : "holds off no"} start if it ${name}`, () => {
    const { health, use } = start();
    health.begun();
    if (works) use("ok", 1);
    health.endedUnneeded(EXITED, health.exited(ranMs));
    assert.equal(health.admit("a", true) !== undefined, heldOff);
  });
}

Deno.test("restarts wait for longer each time, up to their number; one that ran for a minute has them all again", () => {
  const { health } = start(2);
  assert.deepEqual([health.crashed(EXITED), health.crashed(EXITED), health.mayRestart], [1000, 2000, false]);
  assert.equal(health.exited(60_000), true);
  assert.deepEqual([health.mayRestart, health.crashed(EXITED), health.crashed(EXITED)], [true, 1000, 2000]);
  assert.equal(health.gaveUp(EXITED), 0);
  assert.deepEqual([health.isFailing, health.mayRestart], [true, true]);
  assert.equal(health.admit("a", true), undefined, "the next connection tries anew");
});

Deno.test("without restarts a program that ends at once is held off, and one that has worked is not", () => {
  const { health, use } = start(0);
  assert.deepEqual([health.mayRestart, health.gaveUp(EXITED), health.gaveUp(EXITED)], [false, 1000, 2000]);
  use("ok", 1);
  assert.equal(health.gaveUp(EXITED), 0);
});

Deno.test("a process is judged by what it has done itself", () => {
  const { health, use } = start();
  use("ok", 1, false);
  assert.equal(health.hasWorked, false, "that was a former one");
  use("ok", 1);
  health.complained(REFUSED, true);
  health.complained(REFUSED, true);
  health.exited(10);
  health.begun();
  assert.deepEqual([health.hasWorked, health.isUseless], [false, false]);
  assert.equal(health.complained(REFUSED, true), false);
});

Deno.test("a trial that ends without telling anything makes room for another", () => {
  const { health, clock, use } = start();
  health.fatal(REFUSED);
  clock.ms += 1000;
  assert.equal(use("client_reset"), false);
  assert.equal(health.admit("b", false), undefined);
  assert.ok(health.admit("c", false), "while that one tries");
  health.left("b");
  assert.equal(health.admit("c", false), undefined);
});
