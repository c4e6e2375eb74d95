import type {
  ClaimOptions,
  ClaimResult,
  Lease,
  LeaseSession,
  LeaseValue,
  NodeId,
  OpenResult,
  Registry,
  RegistryWatcher,
  SessionId,
  SessionInfo,
} from "./registry.ts";

/** What happened, in the order in which it did. Plain data: nodes in other threads are told of it. */
export type RegistryEvent =
  | { readonly kind: "changed"; readonly key: string; readonly lease: Lease | undefined }
  | {
    readonly kind: "evicted";
    readonly session: SessionId;
    /** Where it is. */
    readonly node: NodeId;
    readonly reason: Eviction;
  };

/** `replaced` in its own slot, or `superseded` by a newer run. */
export type Eviction = Parameters<NonNullable<RegistryWatcher["evicted"]>>[1];

interface Session {
  readonly info: SessionInfo;
  readonly keys: Set<string>;
}

interface Held {
  readonly key: string;
  readonly party: string;
  /** One of those whose sessions serve it, or the last one whose session did. */
  holder: string;
  epoch: number;
  value: LeaseValue;
  share: string | undefined;
  /** Those that serve it. Whoever has none of them does not hold it, unless nobody has. */
  readonly sessions: Map<SessionId, SessionInfo>;
  /** Ends the lease, while nobody serves it. */
  graceTimer?: ReturnType<typeof setTimeout> | undefined;
}

/** What several holders have in all. */
interface Party {
  sessions: number;
  keys: number;
}

/** The place where the truth about all leases is kept, for the nodes of one process. Every change is one step. */
export class LocalRegistry implements Disposable {
  readonly #sessions = new Map<SessionId, Session>();
  readonly #holders = new Map<string, Set<SessionId>>();
  readonly #leases = new Map<string, Held>();
  readonly #leasesOf = new Map<string, Set<string>>();
  readonly #parties = new Map<string, Party>();
  readonly #listeners = new Set<(event: RegistryEvent) => void>();

  /** How many sessions there are. */
  get size(): number {
    return this.#sessions.size;
  }

  /** @returns Ends it. */
  listen(listener: (event: RegistryEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  open(info: SessionInfo): OpenResult {
    const others = [...this.#holders.get(info.holder) ?? []].flatMap((id) => this.#sessions.get(id) ?? []);
    if (others.some((other) => other.info.epoch > info.epoch)) return "superseded";
    for (const other of others) {
      if (other.info.epoch < info.epoch) this.#evict(other, "superseded");
      else if (other.info.slot === info.slot) this.#evict(other, "replaced");
    }
    if (this.#sessions.size >= info.maxSessions) return "limit";
    const { sessions = 0 } = this.#parties.get(partyOf(info)) ?? {};
    if (sessions >= (info.maxSessionsOfParty ?? Infinity)) return "party_limit";
    this.#count(partyOf(info), "sessions", 1);
    this.#sessions.set(info.id, { info, keys: new Set() });
    setFor(this.#holders, info.holder).add(info.id);
    return "opened";
  }

  claim(
    id: SessionId,
    key: string,
    value: LeaseValue,
    { share, maxKeysOfParty = Infinity }: ClaimOptions = {},
  ): ClaimResult {
    const session = this.#sessions.get(id);
    if (session === undefined) return "gone";
    const { info } = session;
    const known = this.#leases.get(key);
    if (known !== undefined && !mayHold(known, info.holder, share)) return "held";
    if (known === undefined && (this.#parties.get(partyOf(info))?.keys ?? 0) >= maxKeysOfParty) {
      return "limit";
    }
    const lease = known ?? this.#grant(key, info);
    clearTimeout(lease.graceTimer);
    lease.graceTimer = undefined;
    lease.share = share;
    lease.value = value;
    lease.sessions.set(id, info);
    this.#setHolder(lease, info);
    session.keys.add(key);
    this.#tellChanged(lease);
    return "granted";
  }

  release(id: SessionId, key: string): void {
    const session = this.#sessions.get(id);
    if (session?.keys.delete(key)) this.#leave(key, id, 0);
  }

  close(id: SessionId, graceMs: number): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    this.#count(partyOf(session.info), "sessions", -1);
    deleteFrom(this.#holders, session.info.holder, id);
    for (const key of session.keys) this.#leave(key, id, graceMs);
  }

  /** Everything of a node has ended, and nobody there can say so. */
  closeNode(node: NodeId): void {
    for (const { info } of [...this.#sessions.values()]) {
      if (info.node === node) this.close(info.id, info.graceMs);
    }
  }

  lookup(key: string): Lease | undefined {
    const lease = this.#leases.get(key);
    return lease && leaseOf(lease);
  }

  leasesOf(holder: string): Lease[] {
    return [...this.#leasesOf.get(holder) ?? []].flatMap((key) => this.lookup(key) ?? []);
  }

  /** All of them, for a node that has just come. */
  leases(): Lease[] {
    return [...this.#leases.values()].map(leaseOf);
  }

  /** As one node sees it. */
  at(node: NodeId): Registry {
    return new LocalView(this, node);
  }

  [Symbol.dispose](): void {
    for (const lease of this.#leases.values()) clearTimeout(lease.graceTimer);
    this.#listeners.clear();
  }

  #grant(key: string, info: SessionInfo): Held {
    const { holder, epoch } = info;
    const lease = {
      key,
      party: partyOf(info),
      holder,
      epoch,
      value: {},
      share: undefined,
      sessions: new Map(),
    };
    this.#leases.set(key, lease);
    this.#count(lease.party, "keys", 1);
    setFor(this.#leasesOf, holder).add(key);
    return lease;
  }

  /** Makes one of those who serve a lease the one that it is told to be of. Who held it without a session, holds it no more. */
  #setHolder(lease: Held, { holder, epoch }: SessionInfo): void {
    const before = lease.holder;
    lease.holder = holder;
    lease.epoch = epoch;
    setFor(this.#leasesOf, holder).add(lease.key);
    if (before !== holder && !serves(lease, before)) deleteFrom(this.#leasesOf, before, lease.key);
  }

  #evict({ info }: Session, reason: Eviction): void {
    this.close(info.id, info.graceMs);
    this.#tell({ kind: "evicted", session: info.id, node: info.node, reason });
  }

  /** Of the last session's leaving the lease itself is told only when its grace is over. */
  #leave(key: string, id: SessionId, graceMs: number): void {
    const lease = this.#leases.get(key);
    const left = lease?.sessions.get(id);
    if (lease === undefined || left === undefined) return;
    lease.sessions.delete(id);
    const [other] = lease.sessions.values();
    if (other === undefined) {
      this.#setHolder(lease, left);
      if (graceMs === 0) return this.#end(lease);
      lease.graceTimer = setTimeout(() => this.#end(lease), graceMs);
    } else if (!serves(lease, left.holder)) {
      // Those who are left serve on, and nothing is kept for one that may take its part again at any time.
      deleteFrom(this.#leasesOf, left.holder, key);
      if (lease.holder === left.holder) this.#setHolder(lease, other);
    }
    this.#tellChanged(lease);
  }

  #end({ key, holder, party }: Held): void {
    this.#leases.delete(key);
    this.#count(party, "keys", -1);
    deleteFrom(this.#leasesOf, holder, key);
    this.#tell({ kind: "changed", key, lease: undefined });
  }

  #count(name: string, what: keyof Party, by: 1 | -1): void {
    const party = this.#parties.get(name) ?? { sessions: 0, keys: 0 };
    party[what] += by;
    if (party.sessions + party.keys > 0) this.#parties.set(name, party);
    else this.#parties.delete(name);
  }

  #tellChanged(lease: Held): void {
    this.#tell({ kind: "changed", key: lease.key, lease: leaseOf(lease) });
  }

  #tell(event: RegistryEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** The registry for a node that lives in the same thread. */
class LocalView implements Registry {
  readonly #registry: LocalRegistry;
  readonly #node: NodeId;

  constructor(registry: LocalRegistry, node: NodeId) {
    this.#registry = registry;
    this.#node = node;
  }

  open = (session: SessionInfo) => Promise.resolve(this.#registry.open(session));
  claim = (id: SessionId, key: string, value: LeaseValue, options?: ClaimOptions) =>
    Promise.resolve(this.#registry.claim(id, key, value, options));
  release = (id: SessionId, key: string) => Promise.resolve(this.#registry.release(id, key));
  close = (id: SessionId, graceMs: number) => Promise.resolve(this.#registry.close(id, graceMs));
  lookup = (key: string) => this.#registry.lookup(key);
  leasesOf = (holder: string) => this.#registry.leasesOf(holder);
  watch = (watcher: RegistryWatcher) =>
    this.#registry.listen((event) => tellWatcher(watcher, event, this.#node));
}

/** Tells a watcher on `node` what concerns it. */
export function tellWatcher(watcher: RegistryWatcher, event: RegistryEvent, node: NodeId): void {
  if (event.kind === "changed") watcher.changed?.(event.key, event.lease);
  else if (event.node === node) watcher.evicted?.(event.session, event.reason);
}

function leaseOf({ key, holder, epoch, value, share, sessions }: Held): Lease {
  return {
    key,
    holder,
    epoch,
    value,
    ...(share !== undefined && { share }),
    sessions: [...sessions.values()].map(({ id, node, holder }): LeaseSession => ({ id, node, holder })),
  };
}

function partyOf({ party, holder }: SessionInfo): string {
  return party ?? holder;
}

/** Whether `holder` may take a lease, or has it and may keep it on these terms: the others have to share it likewise. */
function mayHold(lease: Held, holder: string, share: string | undefined): boolean {
  if (share !== undefined && share === lease.share) return true;
  if (lease.sessions.size === 0) return lease.holder === holder;
  for (const other of lease.sessions.values()) if (other.holder !== holder) return false;
  return true;
}

function serves({ sessions }: Held, holder: string): boolean {
  for (const session of sessions.values()) if (session.holder === holder) return true;
  return false;
}

function setFor(map: Map<string, Set<string>>, key: string): Set<string> {
  const known = map.get(key);
  if (known !== undefined) return known;
  const fresh = new Set<string>();
  map.set(key, fresh);
  return fresh;
}

function deleteFrom(map: Map<string, Set<string>>, key: string, value: string): void {
  const set = map.get(key);
  set?.delete(value);
  if (set?.size === 0) map.delete(key);
}
