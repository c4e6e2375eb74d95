import type { TunnelSession } from "./session.ts";
import type { Service } from "./service.ts";

const NONE: ReadonlySet<TunnelSession> = new Set();

/** The tunnels that end in this very data plane, and what each of them serves. */
export class Sessions {
  readonly #byId = new Map<string, TunnelSession>();
  readonly #byKey = new Map<string, Map<TunnelSession, Service>>();
  readonly #byPrincipal = new Map<string, Set<TunnelSession>>();

  get size(): number {
    return this.#byId.size;
  }

  all(): IterableIterator<TunnelSession> {
    return this.#byId.values();
  }

  get(id: string): TunnelSession | undefined {
    return this.#byId.get(id);
  }

  /** Those of one party: see `Grant.principal`. */
  of(principal: string): ReadonlySet<TunnelSession> {
    return this.#byPrincipal.get(principal) ?? NONE;
  }

  /** How many streams they carry. */
  streamsOf(principal: string): number {
    let streams = 0;
    for (const session of this.of(principal)) streams += session.served;
    return streams;
  }

  /** Whoever serves `key` from here, and as what. */
  serving(key: string): ReadonlyMap<TunnelSession, Service> | undefined {
    return this.#byKey.get(key);
  }

  /** Names and ports that are served from here. */
  keys(): IterableIterator<[string, ReadonlyMap<TunnelSession, Service>]> {
    return this.#byKey.entries();
  }

  add(session: TunnelSession): void {
    this.#byId.set(session.id, session);
    const { principal } = session.grant;
    this.#byPrincipal.set(principal, (this.#byPrincipal.get(principal) ?? new Set()).add(session));
  }

  /** @returns The keys that it served. */
  remove(session: TunnelSession): string[] {
    this.#byId.delete(session.id);
    const { principal } = session.grant;
    const party = this.#byPrincipal.get(principal);
    party?.delete(session);
    if (party?.size === 0) this.#byPrincipal.delete(principal);
    const keys = [...session.services.values()].map(({ key }) => key);
    for (const key of keys) this.#leave(session, key);
    return keys;
  }

  addService(session: TunnelSession, service: Service): void {
    session.add(service);
    const all = this.#byKey.get(service.key) ?? new Map<TunnelSession, Service>();
    this.#byKey.set(service.key, all.set(session, service));
  }

  removeService(session: TunnelSession, service: Service): void {
    if (session.remove(service)) this.#leave(session, service.key);
  }

  #leave(session: TunnelSession, key: string): void {
    const all = this.#byKey.get(key);
    all?.delete(session);
    if (all?.size === 0) this.#byKey.delete(key);
  }
}
