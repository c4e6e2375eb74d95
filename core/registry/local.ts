import type {
  ClaimResult,
  Lease,
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
  readonly holder: string;
  epoch: number;
  value: LeaseValue;
  /** By its id, which node each session is on. */
  readonly sessions: Map<SessionId, NodeId>;
  /** Ends the lease, while nobody serves it. */
  graceTimer?: ReturnType<typeof setTimeout> | undefined;
}

/** The place where the truth about all leases is kept, for the nodes of one process. Every change is one step. */
export class LocalRegistry implements Disposable {
  readonly #sessions = new Map<SessionId, Session>();
  readonly #holders = new Map<string, Set<SessionId>>();
  readonly #leases = new Map<string, Held>();
  readonly #leasesOf = new Map<string, Set<string>>();
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
    this.#sessions.set(info.id, { info, keys: new Set() });
    setFor(this.#holders, info.holder).add(info.id);
    return "opened";
  }

  claim(id: SessionId, key: string, value: LeaseValue): ClaimResult {
    const session = this.#sessions.get(id);
    if (session === undefined) return "gone";
    const { holder, epoch, node } = session.info;
    const lease = this.#leases.get(key) ?? this.#grant(key, holder, epoch);
    if (lease.holder !== holder) return "held";
    clearTimeout(lease.graceTimer);
    lease.graceTimer = undefined;
    lease.epoch = epoch;
    lease.value = value;
    lease.sessions.set(id, node);
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

  #grant(key: string, holder: string, epoch: number): Held {
    const lease: Held = { key, holder, epoch, value: {}, sessions: new Map() };
    this.#leases.set(key, lease);
    setFor(this.#leasesOf, holder).add(key);
    return lease;
  }

  #evict({ info }: Session, reason: Eviction): void {
    this.close(info.id, info.graceMs);
    this.#tell({ kind: "evicted", session: info.id, node: info.node, reason });
  }

  /** Of the last session's leaving the lease itself is told only when its grace is over. */
  #leave(key: string, id: SessionId, graceMs: number): void {
    const lease = this.#leases.get(key);
    if (!lease?.sessions.delete(id)) return;
    if (lease.sessions.size === 0 && graceMs === 0) return this.#end(lease);
    if (lease.sessions.size === 0) lease.graceTimer = setTimeout(() => this.#end(lease), graceMs);
    this.#tellChanged(lease);
  }

  #end({ key, holder }: Held): void {
    this.#leases.delete(key);
    deleteFrom(this.#leasesOf, holder, key);
    this.#tell({ kind: "changed", key, lease: undefined });
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
  claim = (id: SessionId, key: string, value: LeaseValue) =>
    Promise.resolve(this.#registry.claim(id, key, value));
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

function leaseOf({ key, holder, epoch, value, sessions }: Held): Lease {
  return { key, holder, epoch, value, sessions: [...sessions].map(([id, node]) => ({ id, node })) };
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
