import type { TunnelSession } from "./session.ts";
import type { Service } from "./service.ts";

/** The tunnels that end in this very data plane, and what each of them serves. */
export class Sessions {
  readonly #byId = new Map<string, TunnelSession>();
  readonly #byKey = new Map<string, Map<TunnelSession, Service>>();

  get size(): number {
    return this.#byId.size;
  }

  all(): IterableIterator<TunnelSession> {
    return this.#byId.values();
  }

  get(id: string): TunnelSession | undefined {
    return this.#byId.get(id);
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
  }

  /** @returns The keys that it served. */
  remove(session: TunnelSession): string[] {
    this.#byId.delete(session.id);
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
