import { NO_PERMISSIONS, type WorkerPermissions } from "../config/permissions.ts";
import { openLedger } from "../data_plane/limits.ts";
import type { PlaneMethods } from "../data_plane/methods.ts";
import type { CancelKey } from "../data_plane/preface/postgres.ts";
import type { Rpc } from "../rpc.ts";
import { codeFolders } from "./code_folders.ts";
import { findAmong } from "./find_cancel.ts";
import { ManagedWorker } from "./managed_worker.ts";
import type { MutualTlsProof } from "./mutual_tls.ts";
import { forPlane } from "./plugins.ts";
import type { GatewayState } from "./state.ts";
import type { Wiring } from "./wiring.ts";

/** What a data plane may do: move bytes. It reads no file, runs nothing, and sees no environment. */
export const PLANE_PERMISSIONS: WorkerPermissions = { ...NO_PERMISSIONS, net: true };

/** What goes into a data plane's worker. */
export interface PlanePlan {
  readonly state: GatewayState;
  readonly wiring: Wiring;
  readonly proof: MutualTlsProof;
  /** Counts from 0. */
  readonly index: number;
  /** Begins the id of every connection; no other run of the gateway has the same. */
  readonly idPrefix: string;
  /** Whether it shares its ports with other planes. */
  readonly reusePort: boolean;
}

/** Plans a data plane's worker. It listens once it knows the plugins, and has proved what is to be proved. */
export function planPlane(plan: PlanePlan): ManagedWorker<PlaneMethods> {
  const { state, wiring, proof, index, idPrefix, reusePort } = plan;
  const inline = state.plugins.filter(({ isolation }) => isolation === "inline").map(({ module }) => module);
  const folders = codeFolders(...inline);
  let starts = 0;
  let used = state.prepared;
  let ledger = openLedger();
  const name = `data-plane-${index}`;
  return new ManagedWorker<PlaneMethods>({
    name,
    entry: new URL("../data_plane/worker.ts", import.meta.url),
    permissions: { ...PLANE_PERMISSIONS, read: folders },
    methods: {
      ...state.logMethods(),
      findCancel: (key: CancelKey) => findAmong(state.planes.toSpliced(index, 1), key),
    },
    times: state.times,
    setUp: async (rpc) => {
      used = state.prepared;
      ledger = openLedger();
      const identity = {
        index,
        idPrefix: `${idPrefix}${index}.${(starts++).toString(36)}-`,
        logLevel: state.config.log.level,
        sharedLimits: state.limits.memory,
        ledger,
      };
      await rpc.call("start", identity, state.settings());
      await rpc.call("usePlugins", state.plugins.map(forPlane), folders);
    },
    begin: async (rpc) => {
      wiring.wireAll();
      if (used !== state.prepared) await rpc.call("usePlugins", state.plugins.map(forPlane), []); // a reload came between
      if (!state.draining) {
        await proof.of(rpc, { lenient: starts > 1 });
        await listen(rpc, state, reusePort);
      }
      await rpc.call("configure", state.settings()); // now with the ports as bound
    },
    down: () => {
      state.limits.settle(ledger);
      for (const { worker } of state.pluginUnits.values()) worker.rpc?.notify("planeLost", name);
    },
  }, state.log);
}

async function listen(rpc: Rpc<PlaneMethods>, state: GatewayState, reusePort: boolean): Promise<void> {
  for (const listener of state.config.listeners) {
    if (state.draining) return;
    const port = state.ports.get(listener.address) ?? listener.port;
    state.ports.set(listener.address, await rpc.call("listen", { ...listener, port, reusePort }));
  }
}
