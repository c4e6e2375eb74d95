import { addressBytes } from "../../../core/net/address.ts";
import type { UdpFlow } from "./udp_flow.ts";

/** How many flows there may be. */
export interface UdpLimits {
  readonly udpFlows: number;
  readonly udpFlowsPerPort: number;
  readonly udpFlowsPerSource: number;
}

/** A flow that may be a forged one keeps its place for so long at least, unless it was answered. */
const YOUNG_MS = 1000;
/** How many of the oldest are looked at for one that may go. */
const MAX_LOOKS = 16;

/** Flows whose source has not shown that it hears us, oldest first: some of them are forged, others are over. */
export class UnverifiedFlows {
  readonly #flows = new Set<UdpFlow>();

  get size(): number {
    return this.#flows.size;
  }

  add(flow: UdpFlow): void {
    this.#flows.add(flow);
  }

  delete(flow: UdpFlow): void {
    this.#flows.delete(flow);
  }

  /**
   * One that may go for another: it has had its answer, as a question to DNS has, or its time for it.
   *
   * @param isFit Which of those will do.
   */
  replaceable(now: number, isFit: (flow: UdpFlow) => boolean = () => true): UdpFlow | undefined {
    let looks = MAX_LOOKS;
    for (const flow of this.#flows) {
      if ((flow.isAnswered || now - flow.since >= YOUNG_MS) && isFit(flow)) return flow;
      if (--looks === 0) return undefined;
    }
    return undefined;
  }
}

interface Group {
  flows: number;
  readonly unverified: UnverifiedFlows;
}

/** The flows of a data plane, those of all ports, and by their sources. */
export class FlowCounts {
  readonly unverified = new UnverifiedFlows();
  readonly #groups = new Map<string, Group>();
  #flows = 0;

  get flows(): number {
    return this.#flows;
  }

  of(group: string): Readonly<Group> | undefined {
    return this.#groups.get(group);
  }

  add(flow: UdpFlow): void {
    let group = this.#groups.get(flow.group);
    if (group === undefined) {
      this.#groups.set(flow.group, group = { flows: 0, unverified: new UnverifiedFlows() });
    }
    group.flows++;
    group.unverified.add(flow);
    this.unverified.add(flow);
    this.#flows++;
  }

  verified(flow: UdpFlow): void {
    this.unverified.delete(flow);
    this.#groups.get(flow.group)?.unverified.delete(flow);
  }

  delete(flow: UdpFlow): void {
    const group = this.#groups.get(flow.group);
    if (group === undefined) return;
    this.#flows--;
    this.unverified.delete(flow);
    group.unverified.delete(flow);
    if (--group.flows === 0) this.#groups.delete(flow.group);
  }
}

/**
 * What counts as one source: an IPv4 address, or a /64 of IPv6, of which one machine has all addresses.
 *
 * @param address Canonical.
 */
export function groupOf(address: string): string {
  return address.includes(":") ? addressBytes(address).subarray(0, 8).toHex() : address;
}
