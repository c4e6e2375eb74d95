import { type RegistryEvent, tellWatcher } from "./local.ts";
import type {
  ClaimOptions,
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

/** The way to where the truth is kept. Every change that it brings about comes back as an event before its answer. */
export interface RegistryTruth {
  open(session: SessionInfo): Promise<OpenResult>;
  claim(session: SessionId, key: string, value: LeaseValue, options?: ClaimOptions): Promise<ClaimResult>;
  release(session: SessionId, key: string): Promise<void>;
  close(session: SessionId, graceMs: number): Promise<void>;
}

/** A copy of all leases on a node, kept up to date by events; what it changes, it changes where the truth is. */
export class RegistryReplica implements Registry {
  readonly #truth: RegistryTruth;
  readonly #node: NodeId;
  readonly #leases = new Map<string, Lease>();
  readonly #keysOf = new Map<string, Set<string>>();
  readonly #watchers = new Set<RegistryWatcher>();

  constructor(node: NodeId, truth: RegistryTruth) {
    this.#node = node;
    this.#truth = truth;
  }

  /** Takes what has happened, in order. */
  apply(events: readonly RegistryEvent[]): void {
    for (const event of events) {
      if (event.kind === "changed") this.#set(event.key, event.lease);
      for (const watcher of this.#watchers) tellWatcher(watcher, event, this.#node);
    }
  }

  #set(key: string, lease: Lease | undefined): void {
    const before = this.#leases.get(key);
    if (before !== undefined) this.#forget(before);
    if (lease === undefined) return;
    this.#leases.set(key, lease);
    for (const holder of holdersOf(lease)) {
      const keys = this.#keysOf.get(holder) ?? new Set();
      this.#keysOf.set(holder, keys.add(key));
    }
  }

  #forget(lease: Lease): void {
    this.#leases.delete(lease.key);
    for (const holder of holdersOf(lease)) {
      const keys = this.#keysOf.get(holder);
      keys?.delete(lease.key);
      if (keys?.size === 0) this.#keysOf.delete(holder);
    }
  }

  open(session: SessionInfo): Promise<OpenResult> {
    return this.#truth.open(session);
  }

  claim(session: SessionId, key: string, value: LeaseValue, options?: ClaimOptions): Promise<ClaimResult> {
    return this.#truth.claim(session, key, value, options);
  }

  release(session: SessionId, key: string): Promise<void> {
    return this.#truth.release(session, key);
  }

  close(session: SessionId, graceMs: number): Promise<void> {
    return this.#truth.close(session, graceMs);
  }

  lookup(key: string): Lease | undefined {
    return this.#leases.get(key);
  }

  leasesOf(holder: string): readonly Lease[] {
    return [...this.#keysOf.get(holder) ?? []].flatMap((key) => this.#leases.get(key) ?? []);
  }

  watch(watcher: RegistryWatcher): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }
}

/** Everyone who holds a lease, each once. */
function holdersOf({ holder, sessions }: Lease): Iterable<string> {
  return sessions.length < 2 ? [holder] : new Set(sessions.map((session) => session.holder));
}
