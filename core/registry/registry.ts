/** A data plane, by its name: `data-plane-0`. Later also one of another machine. */
export type NodeId = string;

/** Unique among all sessions of all nodes since the gateway started. */
export type SessionId = string;

/** What stands behind a lease for whoever looks it up; plain data. */
export type LeaseValue = Readonly<Record<string, string | number | boolean | undefined>>;

/** A session of somebody who may hold names: an agent's connection. */
export interface SessionInfo {
  readonly id: SessionId;
  readonly node: NodeId;
  /**
   * Who this is, for good: the same in every session of one agent, and known to nobody else, because it is derived from
   * what it proved. Whoever comes with the same holder may take its names back; nobody else can.
   */
  readonly holder: string;
  /** Which run of the holder this is. Sessions of a higher epoch evict those of lower ones. */
  readonly epoch: number;
  /** Which of the parallel connections of one run. A new session evicts the one in its slot. */
  readonly slot: number;
  /** The most sessions there may be in all. */
  readonly maxSessions: number;
  /** For how long its leases are kept when it is evicted or its node is lost, in milliseconds. */
  readonly graceMs: number;
}

/** `superseded`: a newer run of the same holder is there. `limit`: there are as many sessions as there may be. */
export type OpenResult = "opened" | "superseded" | "limit";

/** `held`: somebody else has it, or had it a moment ago. `gone`: the session itself was evicted meanwhile. */
export type ClaimResult = "granted" | "held" | "gone";

/** A name or a port that somebody holds. */
export interface Lease {
  /** `name:demo.example.com`, `port:30001`. */
  readonly key: string;
  readonly holder: string;
  readonly epoch: number;
  readonly value: LeaseValue;
  /** The sessions that serve it, each on its node. Empty while it is only held for a holder who was just lost. */
  readonly sessions: readonly { readonly id: SessionId; readonly node: NodeId }[];
}

/** Who is told of changes. Called on this node, after {@link Registry.lookup} answers by the change. */
export interface RegistryWatcher {
  /** @param lease Absent: nobody holds it any more. */
  changed?(key: string, lease: Lease | undefined): void;
  /** A session of this node was evicted: it holds nothing any more, and must be closed. */
  evicted?(session: SessionId, reason: "replaced" | "superseded"): void;
}

/**
 * Who holds which name, over all nodes.
 *
 * Every change is one step at the one place that keeps the truth; lookups are answered from memory and may be behind
 * by a message. A lease without sessions stays its holder's until its grace is over.
 */
export interface Registry {
  /** Announces a session, and evicts those that it replaces at once, whether or not they seem alive. */
  open(session: SessionInfo): Promise<OpenResult>;
  /** Takes a key, or adds the session to those that serve it already for the same holder. */
  claim(session: SessionId, key: string, value: LeaseValue): Promise<ClaimResult>;
  /** Gives a key back at once; harmless when the session does not have it. */
  release(session: SessionId, key: string): Promise<void>;
  /**
   * Ends a session. What only it served is kept for its holder for `graceMs`. Harmless when it has ended already.
   */
  close(session: SessionId, graceMs: number): Promise<void>;
  lookup(key: string): Lease | undefined;
  /** Every lease of a holder, in no order. */
  leasesOf(holder: string): readonly Lease[];
  /** @returns Ends the watch. */
  watch(watcher: RegistryWatcher): () => void;
}
