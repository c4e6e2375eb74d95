import type { NodeId, PlaneContext } from "../../core/plugin/mod.ts";
import { protocolOf, type PublicProtocol, type Service } from "./session/service.ts";
import type { TunnelSession } from "./session/session.ts";
import type { Sessions } from "./session/sessions.ts";

/** Who serves a name or a port at this moment. */
export type Found =
  | { readonly kind: "here"; readonly session: TunnelSession; readonly service: Service }
  /** By another data plane. */
  | { readonly kind: "there"; readonly node: NodeId; readonly protocol: PublicProtocol }
  /** Nobody, but it is kept for an agent that was just lost. */
  | { readonly kind: "held"; readonly protocol: PublicProtocol }
  /** Every tunnel of its agent carries as many streams as it may. */
  | { readonly kind: "full"; readonly protocol: PublicProtocol }
  | { readonly kind: "nobody" };

export interface FindOptions {
  /** Looks on other data planes too. Without, whoever is served there only is served by nobody. */
  readonly elsewhere: boolean;
}

const NOBODY: Found = { kind: "nobody" };

/** Finds who serves what: by the tunnels of this data plane first, by what the registry says else. */
export class Directory {
  readonly #sessions: Sessions;
  readonly #plane: Pick<PlaneContext, "node" | "registry">;
  /** The most streams of one tunnel; a reload may change it. */
  streamsPerTunnel: number;

  constructor(
    sessions: Sessions,
    plane: Pick<PlaneContext, "node" | "registry">,
    streamsPerTunnel: number,
  ) {
    this.#sessions = sessions;
    this.#plane = plane;
    this.streamsPerTunnel = streamsPerTunnel;
  }

  /** Costs one look-up where the tunnel is here, and two for a name that is none of ours. */
  find(key: string, { elsewhere }: FindOptions): Found {
    const serving = this.#sessions.serving(key);
    const here = serving && this.#leastBusy(serving);
    if (here?.kind === "here") return here;
    const lease = this.#plane.registry.lookup(key);
    const protocol = lease && protocolOf(lease);
    if (protocol === undefined) return here ?? NOBODY;
    const there = lease?.sessions.find(({ node }) => node !== this.#plane.node);
    if (there === undefined) return here ?? { kind: "held", protocol };
    return elsewhere ? { kind: "there", node: there.node, protocol } : here ?? NOBODY;
  }

  /** Of several connections of one agent, the one with the fewest streams. */
  #leastBusy(serving: ReadonlyMap<TunnelSession, Service>): Found | undefined {
    let best: TunnelSession | undefined;
    let full: Service | undefined;
    for (const [session, service] of serving) {
      if (!session.takesStreams) continue;
      if (session.streams >= this.streamsPerTunnel) full = service;
      else if (best === undefined || session.streams < best.streams) best = session;
    }
    const service = best && serving.get(best);
    if (best !== undefined && service !== undefined) return { kind: "here", session: best, service };
    return full && { kind: "full", protocol: full.protocol };
  }
}
