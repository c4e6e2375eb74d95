import type { Lease, PlaneContext, PluginListener } from "../../core/plugin/mod.ts";
import { portOfKey } from "./names.ts";
import type { Sessions } from "./session/sessions.ts";

/**
 * The public ports of tcp services, as far as their tunnels end in this data plane. A listener stays while the lease has
 * a session here, and while it is only kept for an agent that was just lost: whoever connects then waits for it.
 */
export class TunnelPorts {
  readonly #plane: Pick<PlaneContext, "listen" | "node">;
  readonly #sessions: Sessions;
  readonly #listeners = new Map<number, PluginListener>();
  /** Where new ones listen; a reload may change it. */
  address: string;

  constructor(plane: Pick<PlaneContext, "listen" | "node">, sessions: Sessions, address: string) {
    this.#plane = plane;
    this.#sessions = sessions;
    this.address = address;
  }

  /** Those that are open, in no order. */
  get open(): number[] {
    return [...this.#listeners.keys()];
  }

  /**
   * Listens, unless it does so already.
   *
   * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
   */
  listen(port: number): void {
    if (this.#listeners.has(port)) return;
    this.#listeners.set(port, this.#plane.listen({ hostname: this.address, port }));
  }

  /** A lease has changed: whether the port is still to be open here follows from it. */
  changed(key: string, lease: Lease | undefined): void {
    const port = portOfKey(key);
    if (port === undefined || !this.#listeners.has(port) || this.#sessions.serving(key)) return;
    const isKept = lease?.sessions.every(({ node }) => node === this.#plane.node) ?? false;
    if (!isKept) this.close(port);
  }

  close(port: number): void {
    this.#listeners.get(port)?.close();
    this.#listeners.delete(port);
  }

  closeAll(): void {
    for (const port of this.open) this.close(port);
  }
}
