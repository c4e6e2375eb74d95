import type { PlaneMethods } from "../data_plane/methods.ts";
import type { ManagedWorker } from "./managed_worker.ts";
import type { GatewayState, PluginUnit } from "./state.ts";

/** Lets data planes and isolated plugins talk to each other directly. */
export class Wiring {
  readonly #state: GatewayState;
  /** Plane/plugin → which starts of the two have a channel. */
  readonly #wired = new Map<string, string>();

  constructor(state: GatewayState) {
    this.#state = state;
  }

  /** Gives every plane that is up a channel to every isolated plugin that is up, and leaves those that have one. */
  wireAll(): void {
    const { planes, pluginUnits } = this.#state;
    for (const plane of planes) {
      for (const [name, unit] of pluginUnits) this.#wire(plane, name, unit);
    }
  }

  /** Waits for neither: what is sent to a worker arrives in order, and one that dies is wired when it is back. */
  #wire(plane: ManagedWorker<PlaneMethods>, name: string, { worker, hooks }: PluginUnit): void {
    const [toPlane, toPlugin] = [plane.rpc, worker.rpc];
    const pair = `${plane.name}/${name}`;
    const starts = `${plane.generation}/${worker.generation}`;
    if (!toPlane || !toPlugin || this.#wired.get(pair) === starts) return;
    this.#wired.set(pair, starts);
    const { port1, port2 } = new MessageChannel();
    toPlugin.callWith([port1], "connect", plane.name, port1).catch(() => {});
    toPlane.callWith([port2], "connectPlugin", name, port2, hooks).catch(() => {});
  }
}
