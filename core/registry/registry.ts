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
  /**
   * To whom the holder belongs: several agents with one token are several holders of one party. Its limits are for all
   * of them together.
   */
  readonly party?: string | undefined;
  /** Which run of the holder this is. Sessions of a higher epoch evict those of lower ones. */
  readonly epoch: number;
  /** Which of the parallel connections of one run. A new session evicts the one in its slot. */
  readonly slot: number;
  /** The most sessions there may be in all. */
  readonly maxSessions: number;
  /** The most sessions that its party may have. @default no bound */
  readonly maxSessionsOfParty?: number | undefined;
  /** For how long its leases are kept when it is evicted or its node is lost, in milliseconds. */
  readonly graceMs: number;
}

/**
 * `superseded`: a newer run of the same holder is there. `limit`: there are as many sessions as there may be.
 * `party_limit`: as many of this party.
 */
export type OpenResult = "opened" | "superseded" | "limit" | "party_limit";

/**
 * `held`: somebody else has it, or had it a moment ago. `gone`: the session itself was evicted meanwhile. `limit`: its
 * party has as many keys as it may.
 */
export type ClaimResult = "granted" | "held" | "gone" | "limit";

/** How a key is to be taken. Plain data. */
export interface ClaimOptions {
  /**
   * What those have in common who may hold the key together: whoever claims it with the same text is let in beside those
   * who did so before. It names the party, which alone can know it. Absent: the key is for one holder.
   */
  readonly share?: string | undefined;
  /** The most keys that the party may have. @default no bound */
  readonly maxKeysOfParty?: number | undefined;
}

/** A name or a port that somebody holds. */
export interface Lease {
  /** `name:demo.example.com`, `port:30001`. */
  readonly key: string;
  /** Whoever claimed it last, of several that share it; of one that is only kept for somebody, for whom. */
  readonly holder: string;
  /** Of that holder. */
  readonly epoch: number;
  /** What the last claim said. */
  readonly value: LeaseValue;
  /** What its holders have in common; absent: it is for one of them. See {@link ClaimOptions.share}. */
  readonly share?: string | undefined;
  /** The sessions that serve it, each on its node. Empty while it is only held for a holder who was just lost. */
  readonly sessions: readonly LeaseSession[];
}

/** One of those who serve a lease. */
export interface LeaseSession {
  readonly id: SessionId;
  readonly node: NodeId;
  readonly holder: string;
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
  /**
   * Takes a key, or adds the session to those that serve it already: for the same holder, or for others who share it.
   * A holder that is alone may make it shared or not with each claim.
   */
  claim(session: SessionId, key: string, value: LeaseValue, options?: ClaimOptions): Promise<ClaimResult>;
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
