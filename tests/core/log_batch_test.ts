import assert from "node:assert/strict";
import { type LogBatchMethods, openLogBatch } from "../../core/log_batch.ts";
import type { LogEvent } from "../../core/log.ts";
import { type MessageChannelEnd, openRpc, type Rpc } from "../../core/rpc.ts";
import { FakeClock } from "./data_plane/fake_clock.ts";

interface Batch {
  readonly events: readonly LogEvent[];
  readonly dropped: number;
}

function recorder(): { readonly batches: Batch[]; readonly rpc: Rpc<LogBatchMethods> } {
  const batches: Batch[] = [];
  const notify = (_method: string, events: readonly LogEvent[], dropped: number) => {
    batches.push({ events, dropped });
  };
  return { batches, rpc: { notify } as unknown as Rpc<LogBatchMethods> };
}

Deno.test("events go together, in order, with who says them and when", () => {
  using clock = new FakeClock();
  const { batches, rpc } = recorder();
  const log = openLogBatch("data-plane-0", "info", rpc);
  log.info("one", { connection: "a" });
  clock.advance(5);
  log.error("two");
  assert.equal(batches.length, 0);
  clock.advance(100);
  assert.deepEqual(batches, [{
    dropped: 0,
    events: [
      { time: 1000, level: "info", from: "data-plane-0", event: "one", fields: { connection: "a" } },
      { time: 1005, level: "error", from: "data-plane-0", event: "two", fields: {} },
    ],
  }]);
  assert.equal(clock.timers, 0, "an idle log needs no timer");
  log.warn("three");
  clock.advance(100);
  assert.deepEqual(batches[1]?.events.map(({ event }) => event), ["three"]);
});

Deno.test("what is below the level is not sent, and costs its caller no fields", () => {
  using clock = new FakeClock();
  const { batches, rpc } = recorder();
  const log = openLogBatch("x", "warn", rpc);
  log.debug("a");
  log.info("b");
  assert.deepEqual([log.enabled("debug"), log.enabled("info"), log.enabled("warn")], [false, false, true]);
  assert.equal(clock.timers, 0);
  clock.advance(100);
  assert.equal(batches.length, 0);
});

Deno.test("a storm of events is bounded; what was dropped is counted once", () => {
  using clock = new FakeClock();
  const { batches, rpc } = recorder();
  const log = openLogBatch("x", "info", rpc);
  for (let i = 0; i < 12_000; i++) log.info("storm", { i });
  clock.advance(100);
  log.info("after");
  clock.advance(100);
  assert.deepEqual(batches.map(({ events, dropped }) => [events.length, dropped]), [[5000, 7000], [1, 0]]);
});

Deno.test("a field that is not plain data, against its type, costs neither the worker nor the other lines", async () => {
  const { port1, port2 } = new MessageChannel();
  const received = Promise.withResolvers<readonly LogEvent[]>();
  const writer = openRpc(port1 as MessageChannelEnd, { log: (events) => received.resolve(events) });
  const supervisor = openRpc<LogBatchMethods>(port2 as MessageChannelEnd, {});
  const log = openLogBatch("plugin:odd", "info", supervisor);
  log.info("fine", { n: 1 });
  log.info("odd", { cause: (() => {}) as unknown as string });
  assert.deepEqual((await received.promise).map(({ event }) => event), ["fine", "odd"]);
  writer.close("done");
  supervisor.close("done");
  port1.close();
  port2.close();
});
