import type { PlaneMethods } from "../data_plane/methods.ts";
import type { CancelTarget } from "../data_plane/postgres_cancel.ts";
import type { CancelKey } from "../data_plane/preface/postgres.ts";
import type { ManagedWorker } from "./managed_worker.ts";

/**
 * Asks data planes for a session that one of them relays. What they are asked, a secret, is written down nowhere.
 *
 * @returns The first that is found. `undefined` once all that are up have answered: whoever asks has a deadline.
 */
export async function findAmong(
  planes: readonly Pick<ManagedWorker<PlaneMethods>, "rpc">[],
  key: CancelKey,
): Promise<CancelTarget | undefined> {
  const answers = planes.map(async ({ rpc }) =>
    await rpc?.call("findCancel", key) ?? Promise.reject(NOT_HERE)
  );
  return await Promise.any(answers).catch(() => undefined);
}

const NOT_HERE = new Error("It is not on this data plane");
