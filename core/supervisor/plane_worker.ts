import { NO_PERMISSIONS, type WorkerPermissions } from "../config/permissions.ts";
import { openLedger } from "../data_plane/limits.ts";
import type { PlaneMethods, PlaneQuestions } from "../data_plane/methods.ts";
import type { CancelKey } from "../data_plane/preface/postgres.ts";
import type { PlaneIdentity } from "../data_plane/settings.ts";
import type { RegistryHub } from "../registry/hub.ts";
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
      ...registryMethods(state.registries),
    },
    times: state.times,
    setUp: async (rpc) => {
      used = state.prepared;
      ledger = openLedger();
      const identity: PlaneIdentity = {
        index,
        node: name,
        nodes: state.planes.length,
        ...(reusePort && { handoverSecret: state.handoverSecret }),
        idPrefix: `${idPrefix}${index}.${(starts++).toString(36)}-`,
        logLevel: state.config.log.level,
        sharedLimits: state.limits.memory,
        ledger,
      };
      await rpc.call("start", identity, state.settings());
      state.registries.attach(name, (plugin, events) => rpc.notify("registryEvents", plugin, events));
      await rpc.call("usePlugins", state.plugins.map(forPlane), folders);
    },
    begin: async (rpc) => {
      wiring.wireAll();
      if (used !== state.prepared) await rpc.call("usePlugins", state.plugins.map(forPlane), []); // a reload came between
      if (!state.draining) {
        await proof.of(rpc, { lenient: starts > 1 });
        if (reusePort) state.nodePorts.set(name, await rpc.call("listenForPlanes"));
        await listen(rpc, state, reusePort);
      }
      await rpc.call("configure", state.settings()); // now with the ports as bound
      void state.configurePlanes(); // the others, with those of this one; one that hangs holds up nobody
    },
    down: () => {
      state.limits.settle(ledger);
      state.nodePorts.delete(name);
      void state.configurePlanes(); // nobody else on this machine gets shown the secret at its old port
      state.registries.detach(name);
      for (const { worker } of state.pluginUnits.values()) worker.rpc?.notify("planeLost", name);
    },
  }, state.log);
}

/** What a data plane may ask of the place where the truth about leases is kept. */
function registryMethods(
  registries: RegistryHub,
): Pick<PlaneQuestions, "registryOpen" | "registryClaim" | "registryRelease" | "registryClose"> {
  return {
    registryOpen: (plugin, session) => registries.open(plugin, session),
    registryClaim: (...claim) => registries.claim(...claim),
    registryRelease: (plugin, session, key) => registries.release(plugin, session, key),
    registryClose: (plugin, session, graceMs) => registries.close(plugin, session, graceMs),
  };
}

async function listen(rpc: Rpc<PlaneMethods>, state: GatewayState, reusePort: boolean): Promise<void> {
  for (const listener of state.config.listeners) {
    if (state.draining) return;
    const port = state.ports.get(listener.address) ?? listener.port;
    state.ports.set(listener.address, await rpc.call("listen", { ...listener, port, reusePort }));
  }
}
