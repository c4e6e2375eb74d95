import assert from "node:assert/strict";
import { NO_PERMISSIONS } from "../../../core/config/permissions.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { ManagedWorker, type WorkerPlan } from "../../../core/supervisor/managed_worker.ts";
import { granted } from "../../support/permissions.ts";
import { until } from "../../support/until.ts";
import type { PingableMethods } from "../../testdata/workers/pingable.ts";

const entry = new URL("../../testdata/workers/pingable.ts", import.meta.url);
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** A worker under watch, with times so short that a test can wait for them. */
class Watched implements Disposable {
  readonly worker: ManagedWorker<PingableMethods>;
  readonly events: LogEvent[] = [];
  setUps = 0;
  downs = 0;

  constructor(plan: Partial<WorkerPlan<PingableMethods>> = {}) {
    this.worker = new ManagedWorker<PingableMethods>({
      name: "watched",
      entry,
      permissions: NO_PERMISSIONS,
      methods: {},
      begin: () => {},
      down: () => this.downs++,
      ...plan,
      setUp: async (rpc) => {
        this.setUps++;
        await rpc.call("ping");
        await plan.setUp?.(rpc);
      },
      times: { pingMs: 100, firstBackoffMs: 20, startMs: 10_000, ...plan.times },
    }, createLog("test", "debug", (event) => this.events.push(event)));
  }

  words(): string[] {
    return this.events.map(({ event }) => event);
  }

  async restarted(times = 1): Promise<void> {
    await until(() => this.worker.restarts === times && this.worker.up, { what: `restart ${times}` });
  }

  [Symbol.dispose](): void {
    this.worker.stop();
  }
}

for (const end of ["close", "exit", "crash"] as const) {
  Deno.test({
    name: `a worker that ends by ${end} is missed, its calls fail, and it is started anew`,
    ignore,
    async fn() {
      using watched = new Watched();
      const { worker } = watched;
      await worker.start();
      assert.deepEqual([worker.up, worker.restarts, worker.generation], [true, 0, 1]);
      const hanging = assert.rejects(async () => await worker.rpc?.call("hang"), { code: "rpc-closed" });
      worker.rpc?.notify(end);
      await hanging;
      assert.equal(worker.up, false);
      assert.equal(worker.rpc, undefined);
      await watched.restarted();
      assert.deepEqual([worker.generation, watched.setUps, watched.downs], [2, 2, 1]);
      await until(() => watched.words().includes("worker_restarted"), { what: "the log to say so" });
      assert.deepEqual(watched.words(), ["worker_died", "worker_restarted"]);
    },
  });
}

Deno.test({
  name: "a worker that is busy for a while, and answers in time, is left alone",
  ignore,
  async fn() {
    using watched = new Watched({ times: { pingMs: 200 } });
    await watched.worker.start();
    await watched.worker.rpc?.call("busy", 500);
    await watched.worker.rpc?.call("ping");
    assert.deepEqual([watched.worker.restarts, watched.words()], [0, []]);
  },
});

Deno.test({
  name: "a time in which the whole process stands still is not held against a worker",
  ignore,
  async fn() {
    using watched = new Watched({ times: { pingMs: 20 } });
    await watched.worker.start();
    for (const end = performance.now() + 500; performance.now() < end;); // as after SIGSTOP and SIGCONT
    for (let i = 0; i < 5; i++) await watched.worker.rpc?.call("ping");
    assert.deepEqual([watched.worker.restarts, watched.words()], [0, []]);
  },
});

const failing: Record<string, [Partial<WorkerPlan<PingableMethods>>, RegExp]> = {
  "throws in its set-up": [{ setUp: (rpc) => rpc.call("fail", "no luck") as Promise<never> }, /no luck/],
  "hangs in its set-up": [
    { setUp: (rpc) => rpc.call("hang") as Promise<never>, times: { startMs: 300 } },
    /^Worker "watched" did not start: not ready in 300 ms$/,
  ],
  "ends in its set-up": [
    { setUp: (rpc) => rpc.call("exit") as Promise<never>, times: { startMs: 300 } },
    /^Worker "watched" did not start: not ready in 300 ms$/,
  ],
  "crashes in its set-up": [
    {
      setUp: async (rpc) => {
        rpc.notify("crash");
        await rpc.call("hang");
      },
    },
    /crashed/,
  ],
};

for (const [what, [plan, message]] of Object.entries(failing)) {
  Deno.test({
    name: `start() of a worker that ${what} rejects, and leaves nothing running`,
    ignore,
    async fn() {
      using watched = new Watched(plan);
      const { worker } = watched;
      await assert.rejects(worker.start(), { message });
      assert.deepEqual([worker.up, worker.rpc, worker.restarts], [false, undefined, 0]);
      assert.deepEqual(watched.words(), []);
    },
  });
}

Deno.test({
  name: "a worker that dies while it begins is started once more, and not twice at a time",
  ignore,
  async fn() {
    let begun = 0;
    using watched = new Watched({
      begin: async (rpc) => {
        if (++begun !== 2) return;
        rpc.notify("crash");
        await rpc.call("hang");
      },
    });
    await watched.worker.start();
    watched.worker.rpc?.notify("crash");
    await watched.restarted(2);
    assert.deepEqual([begun, watched.setUps, watched.downs], [3, 3, 2]);
    await until(() => watched.words().length === 3, { what: "the log to say so" });
    assert.deepEqual(watched.words(), ["worker_died", "worker_restart_failed", "worker_restarted"]);
  },
});

Deno.test({
  name: "stop() ends a worker for good: also one that is starting, one that waits for it, and twice",
  ignore,
  async fn() {
    using starting = new Watched({ setUp: (rpc) => rpc.call("hang") as Promise<never> });
    const started = assert.rejects(starting.worker.start());
    await until(() => starting.setUps === 1, { what: "the set-up" });
    starting.worker.stop();
    await started;

    using waiting = new Watched({ times: { firstBackoffMs: 60_000 } });
    await waiting.worker.start();
    waiting.worker.rpc?.notify("crash");
    await until(() => !waiting.worker.up, { what: "the worker to be missed" });
    waiting.worker.stop();
    waiting.worker.stop();
    assert.deepEqual([waiting.worker.up, waiting.worker.restarts], [false, 0]);
  },
});
