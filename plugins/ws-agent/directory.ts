import type { Lease, NodeId, PlaneContext } from "../../core/plugin/mod.ts";
import { stickyChoice, Turns } from "./balance.ts";
import { protocolOf, type PublicProtocol, type Service } from "./session/service.ts";
import type { TunnelSession } from "./session/session.ts";
import type { Sessions } from "./session/sessions.ts";
import { balanceOf } from "./session/sharing.ts";

/** Who serves a name or a port at this moment. */
export type Found =
  | { readonly kind: "here"; readonly session: TunnelSession; readonly service: Service }
  /** By another data plane. */
  | { readonly kind: "there"; readonly node: NodeId; readonly protocol: PublicProtocol }
  /** Nobody, but it is kept for an agent that was just lost. */
  | { readonly kind: "held"; readonly protocol: PublicProtocol }
  /** Every tunnel to it carries as many streams as it may. */
  | { readonly kind: "full"; readonly protocol: PublicProtocol; readonly limit: StreamLimit }
  | { readonly kind: "nobody" };

/** Which limit keeps further streams out. */
export type StreamLimit = "limits.streamsPerTunnel" | "limits.streams of the token";

export interface FindOptions {
  /** Looks on other data planes too. Without, whoever is served there only is served by nobody. */
  readonly elsewhere: boolean;
}

export interface ChooseOptions extends FindOptions {
  /** The public client's address. */
  readonly source: string;
}

const NOBODY: Found = { kind: "nobody" };

/** The tunnels of one agent that end here, and serve a key. */
interface Candidate {
  /** Of all of them. */
  streams: number;
  /** The one with the fewest. */
  session: TunnelSession;
  service: Service;
}

/** Finds who serves what: by the tunnels of this data plane first, by what the registry says else. */
export class Directory {
  readonly #sessions: Sessions;
  readonly #plane: Pick<PlaneContext, "node" | "registry" | "nodes">;
  /** Turns among all agents that share a key, and among those that are here. */
  readonly #turns = { everywhere: new Turns(), here: new Turns() };
  /** The most streams of one tunnel; a reload may change it. */
  streamsPerTunnel: number;

  constructor(
    sessions: Sessions,
    plane: Pick<PlaneContext, "node" | "registry" | "nodes">,
    streamsPerTunnel: number,
  ) {
    this.#sessions = sessions;
    this.#plane = plane;
    this.streamsPerTunnel = streamsPerTunnel;
  }

  /**
   * Somebody who serves a key, without a stream for it in mind: asking changes nothing. Costs one look-up where the tunnel
   * is here, and two for a name that is none of ours.
   */
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

  /**
   * The one that a stream is to be opened to. Of several agents that share the key it is the one whose turn it is, by the
   * way in which they want to be balanced.
   */
  choose(key: string, options: ChooseOptions): Found {
    const lease = this.#sharedLease(key);
    return lease && this.#balance(lease, options) || this.find(key, options);
  }

  /** A lease has changed: whoever is gone needs no turns. */
  changed(key: string, lease: Lease | undefined): void {
    const holders = new Set(lease?.sessions.map(({ holder }) => holder));
    this.#turns.everywhere.keep(key, holders);
    this.#turns.here.keep(key, holders);
  }

  /** @returns `undefined`: it is not shared. That of an agent here costs no look-up. */
  #sharedLease(key: string): Lease | undefined {
    const [mine] = this.#sessions.serving(key)?.values() ?? [];
    if (mine !== undefined && !mine.asked.shared) return undefined;
    const lease = this.#plane.registry.lookup(key);
    return lease?.share === undefined ? undefined : lease;
  }

  /** @returns `undefined`: none of them can take a stream now. */
  #balance(lease: Lease, { elsewhere, source }: ChooseOptions): Found | undefined {
    const { key } = lease;
    const here = this.#candidates(key);
    const there = new Map<string, NodeId>();
    for (const { holder, node } of elsewhere ? lease.sessions : []) {
      if (node !== this.#plane.node && !here.has(holder)) there.set(holder, node);
    }
    const all = [...here.keys(), ...there.keys()];
    const balance = balanceOf(lease);
    let chosen = balance === "source-hash"
      ? stickyChoice(source, all)
      : this.#turns[elsewhere ? "everywhere" : "here"].next(key, all);
    if (chosen === undefined) return undefined;
    // What those of other data planes have to do is not known here: each gets its turn, and the rest goes by streams.
    if (balance === "least-streams" && here.has(chosen)) chosen = this.#leastLoaded(key, here) ?? chosen;
    const mine = here.get(chosen);
    if (mine !== undefined) return { kind: "here", session: mine.session, service: mine.service };
    const node = there.get(chosen), protocol = protocolOf(lease);
    return node === undefined || protocol === undefined ? undefined : { kind: "there", node, protocol };
  }

  /** Those of this data plane that can take a stream, by their holders. */
  #candidates(key: string): Map<string, Candidate> {
    const found = new Map<string, Candidate>();
    for (const [session, service] of this.#sessions.serving(key) ?? []) {
      if (!session.takesStreams || this.#limitOf(session) !== undefined) continue;
      const { holder } = session.info;
      const known = found.get(holder);
      if (known === undefined) {
        found.set(holder, { streams: session.served, session, service });
        continue;
      }
      known.streams += session.served;
      if (session.served >= known.session.served) continue;
      known.session = session;
      known.service = service;
    }
    return found;
  }

  /** Of several with as few streams, the one that has waited for longest. */
  #leastLoaded(key: string, here: ReadonlyMap<string, Candidate>): string | undefined {
    let fewest = Infinity;
    for (const { streams } of here.values()) fewest = Math.min(fewest, streams);
    return this.#turns.here.next(key, [...here.keys()].filter((who) => here.get(who)?.streams === fewest));
  }

  /** Of several connections, the one with the fewest streams. */
  #leastBusy(serving: ReadonlyMap<TunnelSession, Service>): Found | undefined {
    let best: TunnelSession | undefined;
    let full: Found | undefined;
    for (const [session, service] of serving) {
      if (!session.takesStreams) continue;
      const limit = this.#limitOf(session);
      if (limit !== undefined) full = { kind: "full", protocol: service.protocol, limit };
      else if (best === undefined || session.served < best.served) best = session;
    }
    const service = best && serving.get(best);
    if (best !== undefined && service !== undefined) return { kind: "here", session: best, service };
    return full;
  }

  /** What keeps a tunnel from taking one more stream. */
  #limitOf(session: TunnelSession): StreamLimit | undefined {
    if (session.served >= this.streamsPerTunnel) return "limits.streamsPerTunnel";
    const streams = session.grant.limits?.streams;
    if (streams === undefined) return undefined;
    // Each data plane has its part, as none knows what the others do.
    const part = Math.max(1, Math.floor(streams / this.#plane.nodes));
    return this.#sessions.streamsOf(session.grant.principal) >= part
      ? "limits.streams of the token"
      : undefined;
  }
}

/** What is spoken there; `undefined`: nobody has it. */
export function protocolAt(found: Found): PublicProtocol | undefined {
  if (found.kind === "nobody") return undefined;
  return found.kind === "here" ? found.service.protocol : found.protocol;
}
