import { LogOnce } from "../../../core/data_plane/log_once.ts";
import {
  GatewayError,
  type Lease,
  messageOf,
  type PlaneContext,
  type SessionId,
} from "../../../core/plugin/mod.ts";
import { udpKey, udpPortOfKey } from "../names.ts";
import type { Sessions } from "../session/sessions.ts";
import { QueueMemory } from "./datagram_queue.ts";
import { FlowCounts } from "./flow_limits.ts";
import { SocketDisputes } from "./socket_disputes.ts";
import { socketHolder, withSocket } from "./socket_holder.ts";
import { type PortTools, UdpPort } from "./udp_port.ts";

/** Datagrams that wait for streams, over all flows of a data plane. */
const QUEUE_MEMORY_BYTES = 64 * 1024 * 1024;
const TICK_MS = 1000;
/** While another data plane still has the socket of a port whose agent has come here, or has not yet said that it has it. */
const RETRY_MS = 50;
const RETRIES = 6;
/** The same while another data plane serves the port too, and may be busy with opening it. */
const RETRIES_BESIDE_OTHERS = 20;
/** A port that was left and can be opened by none for so many ticks is worth a line in the log. */
const TICKS_TO_COMPLAIN = 2;

export interface UdpPortsTools extends Omit<PortTools, "counts" | "memory"> {
  readonly plane: Pick<PlaneContext, "listenDatagrams" | "node" | "nodes" | "registry">;
  readonly sessions: Sessions;
}

/**
 * The public ports of udp services. The system can't share one between data planes, so of those in which the agent has a tunnel, the
 * first opens it, says so in the lease, and reaches the others' tunnels through them; another one takes over when its agent has left
 * the first. A port that some other program has is public nowhere, whichever data plane is asked.
 */
export class UdpPorts {
  readonly #tools: UdpPortsTools;
  readonly #counts = new FlowCounts();
  readonly #memory = new QueueMemory(QUEUE_MEMORY_BYTES);
  readonly #ports = new Map<number, UdpPort>();
  /** Ports that are served from here and open in another data plane; for how many ticks none has had them. */
  readonly #elsewhere = new Map<number, number>();
  readonly #disputes = new SocketDisputes();
  readonly #failures = new LogOnce();
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
   * @param session Which has claimed it.
   * @throws {GatewayError} `address-in-use`, `permission-denied` or `listen-failed`.
   */
  async listen(port: number, session: SessionId): Promise<void> {
    for (let tries = 0;; tries++) {
      const lease = this.#lease(port);
      // Its word counts, whether or not the system would refuse the port: after a reload the address may be another one.
      if (!this.#ports.has(port) && this.#isHeldElsewhere(lease)) return this.#leave(port);
      try {
        return this.#open(port, session);
      } catch (error) {
        if (this.#tools.plane.nodes === 1 || !isInUse(error)) throw error;
        const isAlone = lease?.sessions.every(({ node }) => node === this.#tools.plane.node) ?? true;
        if (tries >= (isAlone ? RETRIES : RETRIES_BESIDE_OTHERS)) throw error;
        await new Promise<void>((resolve) => this.#tools.clock.after(RETRY_MS, resolve));
      }
    }
  }

  /** A lease has changed: whether the port is still to be open here follows from it. */
  changed(key: string, lease: Lease | undefined): void {
    const port = udpPortOfKey(key);
    if (port === undefined) return;
    if (this.#ports.has(port)) {
      this.#closeUnlessNeeded(port, lease);
      this.#sayAgain(port, lease);
    } else if (this.#elsewhere.has(port)) this.#takeOver(port);
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

  #open(port: number, session: SessionId): void {
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
    this.#say(port, session);
  }

  #lease(port: number): Lease | undefined {
    return this.#tools.plane.registry.lookup(udpKey(port));
  }

  #isHeldElsewhere(lease: Lease | undefined): boolean {
    const holder = socketHolder(lease);
    return holder !== undefined && holder !== this.#tools.plane.node;
  }

  /** Another data plane has the port, for as long as it says so. */
  #leave(port: number): void {
    this.#elsewhere.set(port, 0);
    this.#tick();
  }

  /**
   * Tells the other data planes who has the socket. A claim is of a whole value: the rest is repeated as it is known here, which may be
   * behind what another has just claimed with (its `balance`, say), until the next claim.
   */
  #say(port: number, session: SessionId): void {
    const { plane: { node, nodes, registry }, log } = this.#tools;
    const lease = this.#lease(port);
    if (nodes === 1 || lease === undefined) return;
    registry.claim(session, lease.key, withSocket(lease.value, node), { share: lease.share }).catch((error) =>
      log.error("udp_port_failed", { port, reason: messageOf(error) })
    );
  }

  /** A claim of another data plane that did not know of the socket, or has one too, has covered up what was said. */
  #sayAgain(port: number, lease: Lease | undefined): void {
    const { plane: { node, nodes }, sessions } = this.#tools;
    const holder = socketHolder(lease);
    if (nodes === 1 || !this.#ports.has(port) || holder === node) return;
    const answer = holder === undefined ? "say-again" : this.#disputes.covered(port, node, holder);
    if (answer === "wait") return;
    if (answer === "give-way") {
      this.#close(port);
      return this.#leave(port);
    }
    const [session] = sessions.serving(udpKey(port))?.keys() ?? []; // of no other: its claim may be about to be given back
    if (session !== undefined) this.#say(port, session.id);
  }

  #closeUnlessNeeded(port: number, lease: Lease | undefined): void {
    const { sessions, plane } = this.#tools;
    if (sessions.serving(udpKey(port))) return;
    // For an agent that was lost here, or one that is about to be served from here.
    const isKept = lease?.sessions.length === 0 || lease?.sessions.some(({ node }) => node === plane.node);
    if (!isKept) this.#close(port);
  }

  #close(port: number): void {
    this.#ports.get(port)?.close();
    this.#ports.delete(port);
    this.#disputes.forget(port);
  }

  /** Opens what another data plane has left, if it has. @returns What keeps it from that. */
  #takeOver(port: number): unknown {
    const [session] = this.#tools.sessions.serving(udpKey(port))?.keys() ?? [];
    if (session === undefined) return void this.#elsewhere.delete(port);
    if (this.#isHeldElsewhere(this.#lease(port))) return void this.#elsewhere.set(port, 0);
    try {
      this.#open(port, session.id);
    } catch (error) {
      return error;
    }
  }

  /** As {@link #takeOver}, time and again: some other program may have been faster. */
  #keepTrying(port: number): void {
    const error = this.#takeOver(port);
    if (error === undefined) return;
    const ticks = (this.#elsewhere.get(port) ?? 0) + 1;
    this.#elsewhere.set(port, ticks);
    if (ticks < TICKS_TO_COMPLAIN || !this.#failures.may(String(port))) return;
    this.#tools.log.warn("tunnel_port_failed", { port, protocol: "udp", reason: messageOf(error) });
  }

  #tick(): void {
    this.#stopTicking ??= this.#tools.clock.every(TICK_MS, () => this.#lookAfterAll());
  }

  #lookAfterAll(): void {
    const now = this.#tools.clock.monotonic();
    this.#disputes.tick();
    for (const [port, open] of this.#ports) {
      open.tick(now);
      const lease = this.#lease(port);
      this.#closeUnlessNeeded(port, lease);
      this.#sayAgain(port, lease);
    }
    for (const port of [...this.#elsewhere.keys()]) this.#keepTrying(port);
    if (this.#ports.size > 0 || this.#elsewhere.size > 0) return;
    this.#stopTicking?.();
    this.#stopTicking = undefined;
  }
}

function isInUse(error: unknown): boolean {
  return error instanceof GatewayError && error.code === "address-in-use";
}
