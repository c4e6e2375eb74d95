import { GatewayError, type Lease, messageOf, type PlaneContext } from "../../../core/plugin/mod.ts";
import { udpKey, udpPortOfKey } from "../names.ts";
import type { Sessions } from "../session/sessions.ts";
import { QueueMemory } from "./datagram_queue.ts";
import { FlowCounts } from "./flow_limits.ts";
import { type PortTools, UdpPort } from "./udp_port.ts";

/** Datagrams that wait for streams, over all flows of a data plane. */
const QUEUE_MEMORY_BYTES = 64 * 1024 * 1024;
const TICK_MS = 1000;
/** While another data plane still has the socket of a port whose agent has come here. */
const RETRY_MS = 50;
const RETRIES = 6;

export interface UdpPortsTools extends Omit<PortTools, "counts" | "memory"> {
  readonly plane: Pick<PlaneContext, "listenDatagrams" | "node" | "nodes" | "registry">;
  readonly sessions: Sessions;
}

/**
 * The public ports of udp services. The system can't share one between data planes, so of those in which the agent has a tunnel, the
 * first opens it, and reaches the others' tunnels through them; another one takes over when its agent has left the first.
 */
export class UdpPorts {
  readonly #tools: UdpPortsTools;
  readonly #counts = new FlowCounts();
  readonly #memory = new QueueMemory(QUEUE_MEMORY_BYTES);
  readonly #ports = new Map<number, UdpPort>();
  /** Ports that are served from here and open in another data plane. */
  readonly #elsewhere = new Set<number>();
  #stopTicking: (() => void) | undefined;
  #isDraining = false;
  /** Where new ones listen; a reload may change it. */
  address: string;

  constructor(tools: UdpPortsTools, address: string) {
    this.#tools = tools;
    this.address = address;
  }

  /** Those that are open, in no order. */
  get open(): number[] {
    return [...this.#ports.keys()];
  }

  get flows(): number {
    return this.#counts.flows;
  }

  /**
   * Opens the port, unless it is open here, or in another data plane where the same agent has a tunnel.
   *
   * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
   */
  async listen(port: number): Promise<void> {
    for (let left = RETRIES;; left--) {
      try {
        return this.#open(port);
      } catch (error) {
        const mayBeOurs = this.#tools.plane.nodes > 1 && error instanceof GatewayError &&
          error.code === "address-in-use";
        if (!mayBeOurs || left === 0) throw error;
        if (this.#isServedElsewhere(port)) {
          this.#elsewhere.add(port);
          this.#tick();
          return;
        }
        await new Promise<void>((resolve) => this.#tools.clock.after(RETRY_MS, resolve));
      }
    }
  }

  /** A lease has changed: whether the port is still to be open here follows from it. */
  changed(key: string, lease: Lease | undefined): void {
    const port = udpPortOfKey(key);
    if (port === undefined) return;
    if (this.#ports.has(port)) this.#closeUnlessNeeded(port, lease);
    else if (this.#elsewhere.has(port)) this.#takeOver(port);
  }

  /** Lets flows go on, and takes no new ones. */
  drain(): void {
    this.#isDraining = true;
    for (const port of this.#ports.values()) port.drain();
  }

  closeAll(): void {
    this.#stopTicking?.();
    this.#stopTicking = undefined;
    this.#elsewhere.clear();
    for (const port of this.open) this.#close(port);
  }

  #open(port: number): void {
    if (this.#ports.has(port)) return;
    const socket = this.#tools.plane.listenDatagrams({ hostname: this.address, port });
    const opened = new UdpPort(socket, this.address, {
      ...this.#tools,
      counts: this.#counts,
      memory: this.#memory,
    });
    if (this.#isDraining) opened.drain();
    this.#ports.set(port, opened);
    this.#elsewhere.delete(port);
    this.#tick();
  }

  #isServedElsewhere(port: number): boolean {
    const { plane } = this.#tools;
    return plane.registry.lookup(udpKey(port))?.sessions.some(({ node }) => node !== plane.node) ?? false;
  }

  #closeUnlessNeeded(port: number, lease: Lease | undefined): void {
    const { sessions, plane } = this.#tools;
    if (sessions.serving(udpKey(port))) return;
    const isKept = lease?.sessions.every(({ node }) => node === plane.node) ?? false;
    if (!isKept) this.#close(port);
  }

  #close(port: number): void {
    this.#ports.get(port)?.close();
    this.#ports.delete(port);
  }

  /** Opens what another data plane has left, if it has. */
  #takeOver(port: number): void {
    if (!this.#tools.sessions.serving(udpKey(port))) return void this.#elsewhere.delete(port);
    try {
      this.#open(port);
    } catch (error) {
      if (error instanceof GatewayError && error.code === "address-in-use") return; // it has not
      this.#elsewhere.delete(port);
      this.#tools.log.warn("tunnel_port_failed", { port, protocol: "udp", reason: messageOf(error) });
    }
  }

  #tick(): void {
    this.#stopTicking ??= this.#tools.clock.every(TICK_MS, () => this.#lookAfterAll());
  }

  #lookAfterAll(): void {
    const now = this.#tools.clock.monotonic();
    for (const [port, open] of this.#ports) {
      open.tick(now);
      this.#closeUnlessNeeded(port, this.#tools.plane.registry.lookup(udpKey(port)));
    }
    for (const port of [...this.#elsewhere]) this.#takeOver(port);
    if (this.#ports.size > 0 || this.#elsewhere.size > 0) return;
    this.#stopTicking?.();
    this.#stopTicking = undefined;
  }
}
