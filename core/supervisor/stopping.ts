import type { PlaneMethods } from "../data_plane/methods.ts";
import type { ManagedWorker } from "./managed_worker.ts";

/** How long a worker may take to end in good order, in milliseconds. */
const STOP_TIMEOUT_MS = 5000;

/** Any worker, as far as ending it goes. */
type Stoppable = Pick<ManagedWorker<{ ping(): void; stop(): unknown }>, "rpc" | "stop">;

/** Ends workers for good, those that do not end in time as well. */
export async function stopAll(workers: readonly Stoppable[]): Promise<void> {
  await Promise.all(workers.map(async (worker) => {
    const stopped = worker.rpc?.call("stop").catch(() => {}); // it may have died on the way: that ends it as well
    if (stopped) await within(STOP_TIMEOUT_MS, stopped);
    worker.stop();
  }));
}

/** Whether every connection of the plane ended by itself: not when it dies. One that is down has none. */
export async function drainPlane({ rpc }: ManagedWorker<PlaneMethods>): Promise<boolean> {
  try {
    await rpc?.call("stopAccepting");
    await rpc?.call("whenEmpty");
    return true;
  } catch {
    return false;
  }
}

/** Whether the work succeeds within the time. */
export async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer;
  const late = new Promise<false>((resolve) => timer = setTimeout(resolve, ms, false));
  try {
    return await Promise.race([work.then(() => true, () => false), late]);
  } finally {
    clearTimeout(timer);
  }
}
