import { LogOnce } from "../../../core/data_plane/log_once.ts";
import {
  type ByteStream,
  type ConnectionInfo,
  type DatagramSocket,
  GatewayError,
  type Log,
} from "../../../core/plugin/mod.ts";
import { canonicalAddress } from "../../../core/net/address.ts";
import type { Clock } from "../clock.ts";
import { HttpRefusal } from "../http/refusal.ts";
import { nextTurn } from "../turn.ts";
import { MAX_DATAGRAM_BYTES, RECEIVE_BYTES } from "./datagram_frames.ts";
import type { QueueMemory } from "./datagram_queue.ts";
import { type FlowCounts, groupOf, type UdpLimits, UnverifiedFlows } from "./flow_limits.ts";
import type { UdpCounters } from "./udp_counters.ts";
import { type FlowEnd, type FlowHost, UdpFlow } from "./udp_flow.ts";

/** A flow without a datagram either way for so long is over. */
export const FLOW_IDLE_MS = 60_000;
/** The same while the gateway drains: it waits for the tunnels that carry flows, and a flow has no other end than silence. */
export const DRAINING_IDLE_MS = 5000;
/** However much a source is sent: one that hears it says something now and then. */
export const SILENT_SOURCE_MS = 300_000;
/** A flow that is over keeps its place for so long from its beginning: refused ones do not come again at the pace of datagrams. */
const REST_MS = 1000;
/** New flows of one port in a second: what an agent's own bounds take, whatever forged sources there are. */
const MAX_NEW_PER_SECOND = 2000;
/** Datagrams that lie ready are taken one after the other; after so many, all others have their turn. */
const MAX_IN_A_ROW = 64;
/** How long to wait after the system has failed to receive. */
const RETRY_MS = 50;

/** What all ports of a data plane share. */
export interface PortTools {
  /** The plugin's word in the config. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: UdpCounters;
  readonly counts: FlowCounts;
  readonly memory: QueueMemory;
  readonly limits: () => UdpLimits;
  readonly nextId: () => string;
  /**
   * Opens a stream to the service. `undefined`: its agent is not there. May reject as `PublicStreams.tryOpen`.
   *
   * @param signal Aborted when the flow is over before it has its stream.
   */
  open(connection: ConnectionInfo, signal: AbortSignal): Promise<ByteStream | undefined>;
}

/** A public UDP port, with the flows that it has. */
export class UdpPort implements FlowHost {
  readonly socket: DatagramSocket;
  readonly memory: QueueMemory;
  readonly counters: UdpCounters;
  readonly #tools: PortTools;
  readonly #address: string;
  readonly #flows = new Map<string, UdpFlow>();
  readonly #unverified = new UnverifiedFlows();
  /** That of the datagram before, and its key: they come in runs. */
  #lastPeer: Deno.NetAddr | undefined;
  #lastFlow: UdpFlow | undefined;
  /** Of the last tick. */
  #now: number;
  #newFlows = 0;
  #isClosed = false;
  #isDraining = false;
  readonly #refusals = new LogOnce();

  constructor(socket: DatagramSocket, address: string, tools: PortTools) {
    this.socket = socket;
    this.memory = tools.memory;
    this.counters = tools.counters;
    this.#address = address;
    this.#tools = tools;
    this.#now = tools.clock.monotonic();
    void this.#receive();
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Flows that are there go on while they have traffic; new ones are not taken. */
  drain(): void {
    this.#isDraining = true;
  }

  /** To be called about once in a second. */
  tick(now: number): void {
    this.#now = now;
    this.#newFlows = 0;
    const idleMs = this.#isDraining ? DRAINING_IDLE_MS : FLOW_IDLE_MS;
    for (const flow of this.#flows.values()) {
      if (flow.isOver) {
        if (now - flow.since >= REST_MS) this.#forget(flow);
        continue;
      }
      if (now - flow.lastActive >= idleMs) this.#expire(flow, "idle_timeout");
      else if (now - flow.lastHeard >= SILENT_SOURCE_MS) this.#expire(flow, "source_silent");
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.socket.close();
    for (const flow of [...this.#flows.values()]) {
      if (!flow.isOver) this.#end(flow, "port_closed");
      this.#forget(flow);
    }
  }

  flowVerified(flow: UdpFlow): void {
    this.#unverified.delete(flow);
    this.#tools.counts.verified(flow);
  }

  flowReplaced(flow: UdpFlow): void {
    if (!flow.isOver) this.#end(flow, "replaced");
    this.#forget(flow);
  }

  flowEnded(flow: UdpFlow, end: FlowEnd): void {
    if (flow.isOver) return;
    this.#end(flow, end);
    if (this.#tools.clock.monotonic() - flow.since >= REST_MS) this.#forget(flow);
  }

  async #receive(): Promise<void> {
    const buffer = new Uint8Array(RECEIVE_BYTES);
    for (let inARow = 1;; inARow++) {
      if (inARow % MAX_IN_A_ROW === 0) await nextTurn();
      try {
        const [datagram, from] = await this.socket.receive(buffer);
        this.#take(datagram, from as Deno.NetAddr);
      } catch {
        if (this.#isClosed) return;
        await new Promise<void>((resolve) => this.#tools.clock.after(RETRY_MS, resolve));
      }
    }
  }

  #take(datagram: Uint8Array, from: Deno.NetAddr): void {
    if (this.#isClosed) return;
    if (datagram.length > MAX_DATAGRAM_BYTES) return this.counters.count("in", "too_large");
    const flow = this.#flowOf(from);
    if (flow === undefined) this.counters.count("in", "over_limit");
    else if (flow.isOver) this.counters.count("in", "no_agent");
    else flow.take(datagram, this.#now);
  }

  #flowOf(from: Deno.NetAddr): UdpFlow | undefined {
    const last = this.#lastPeer;
    if (last !== undefined && last.port === from.port && last.hostname === from.hostname) {
      const flow = this.#lastFlow;
      if (flow !== undefined && !flow.isOver) return flow;
    }
    const key = keyOf(from);
    let flow = this.#flows.get(key);
    if (flow?.isOver && this.#tools.clock.monotonic() - flow.since >= REST_MS) {
      this.#forget(flow);
      flow = undefined;
    }
    flow ??= this.#begin(from, key);
    this.#lastPeer = from;
    this.#lastFlow = flow;
    return flow;
  }

  /** @returns `undefined`: there is no room for it. */
  #begin(from: Deno.NetAddr, key: string): UdpFlow | undefined {
    if (this.#isDraining || this.#newFlows >= MAX_NEW_PER_SECOND) return undefined;
    const source = { address: canonicalAddress(from.hostname), port: from.port };
    const group = groupOf(source.address);
    const now = this.#tools.clock.monotonic();
    if (!this.#makeRoom(group, now)) return undefined;
    this.#newFlows++;
    const flow = new UdpFlow(this, { id: this.#tools.nextId(), key, source, group, peer: from, now });
    this.#flows.set(key, flow);
    this.#unverified.add(flow);
    this.#tools.counts.add(flow);
    void this.#open(flow);
    return flow;
  }

  #makeRoom(group: string, now: number): boolean {
    const { counts, limits } = this.#tools;
    const { udpFlows, udpFlowsPerPort, udpFlowsPerSource } = limits();
    const mine = counts.of(group);
    if (mine !== undefined && mine.flows >= udpFlowsPerSource && !replace(mine.unverified, now)) {
      return this.#refuse(`limits.udpFlowsPerSource ${group}`);
    }
    if (this.#flows.size >= udpFlowsPerPort && !replace(this.#unverified, now)) {
      return this.#refuse("limits.udpFlowsPerPort");
    }
    return counts.flows < udpFlows || replace(counts.unverified, now) || this.#refuse("limits.udpFlows");
  }

  #refuse(what: string): false {
    if (this.#refusals.may(what)) {
      this.#tools.log.warn("udp_flow_refused", { port: this.socket.port, reason: what });
    }
    return false;
  }

  async #open(flow: UdpFlow): Promise<void> {
    const { clock } = this.#tools;
    const { id } = flow;
    try {
      const stream = await this.#openStream(flow);
      if (stream === undefined) return this.flowEnded(flow, "no_agent");
      flow.carry(stream, () => this.#now);
    } catch (error) {
      this.flowEnded(flow, "no_agent");
      if (error instanceof HttpRefusal) this.#refuse(error.message);
      else if (!(error instanceof GatewayError)) {
        this.#tools.log.error("udp_flow_failed", {
          connection: id,
          reason: String(error),
          ms: clock.monotonic() - flow.since,
        });
      }
    }
  }

  /** With a tunnel that carries all that it may, a flow that may be a forged one gives up its stream for this one. */
  async #openStream(flow: UdpFlow): Promise<ByteStream | undefined> {
    const { id, source } = flow;
    const { name, clock, open } = this.#tools;
    const destination = { address: this.#address, port: this.socket.port };
    const connection = { id, listener: name, source, destination, peer: source, protocol: "other" } as const;
    const { signal } = flow;
    try {
      return await open(connection, signal);
    } catch (error) {
      const isFull = error instanceof HttpRefusal && error.status === 503;
      const mayGiveWay = (other: UdpFlow) => other !== flow && !other.isOver;
      if (!isFull || flow.isOver || !replace(this.#unverified, clock.monotonic(), mayGiveWay)) throw error;
      await nextTurn(); // one that still waited for its stream has let go of it by then
      return await open(connection, signal);
    }
  }

  #end(flow: UdpFlow, result: FlowEnd): void {
    flow.close();
    const { log, clock } = this.#tools;
    const { id, source, since, bytesIn, bytesOut, datagramsIn, datagramsOut, dropped } = flow;
    log.info("udp_flow_closed", {
      connection: id,
      source: source.address,
      sourcePort: source.port,
      port: this.socket.port,
      bytesIn,
      bytesOut,
      datagramsIn,
      datagramsOut,
      dropped,
      ms: Math.round(clock.monotonic() - since),
      result,
    });
  }

  #expire(flow: UdpFlow, result: FlowEnd): void {
    this.#end(flow, result);
    this.#forget(flow);
  }

  #forget(flow: UdpFlow): void {
    this.#flows.delete(flow.key);
    this.#unverified.delete(flow);
    this.#tools.counts.delete(flow);
    if (this.#lastFlow === flow) this.#lastFlow = undefined;
  }
}

/** Lets one of these go. @returns False when none may. */
function replace(
  from: UnverifiedFlows,
  now: number,
  isFit?: (flow: UdpFlow) => boolean,
): boolean {
  const flow = from.replaceable(now, isFit);
  flow?.giveWay();
  return flow !== undefined;
}

function keyOf({ hostname, port }: Deno.NetAddr): string {
  return `${hostname} ${port}`;
}
