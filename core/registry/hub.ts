import type {
  ClaimOptions,
  ClaimResult,
  LeaseValue,
  NodeId,
  OpenResult,
  SessionId,
  SessionInfo,
} from "./registry.ts";
import { LocalRegistry, type RegistryEvent } from "./local.ts";

/** Tells a node what happened to the leases of one plugin. */
export type TellNode = (plugin: string, events: readonly RegistryEvent[]) => void;

/** Told of host names that come and go. */
export interface NameWatcher {
  /** A name was claimed; whoever claimed it is answered behind this. */
  claimed(name: string, value: LeaseValue): Promise<void>;
  /** Nobody holds it any more. */
  ended(name: string): void;
}

/** What a key of a host name begins with. */
export const NAME_KEY = "name:";

/** The registries of all plugins, and the nodes that have copies of them. */
export class RegistryHub implements Disposable {
  readonly #registries = new Map<string, LocalRegistry>();
  readonly #nodes = new Map<NodeId, TellNode>();
  readonly #names: NameWatcher | undefined;

  constructor(names?: NameWatcher) {
    this.#names = names;
  }

  /** A node is there, and knows nothing: whatever it had before is over. */
  attach(node: NodeId, tell: TellNode): void {
    this.detach(node);
    this.#nodes.set(node, tell);
    for (const [plugin, registry] of this.#registries) {
      const leases = registry.leases();
      if (leases.length > 0) {
        tell(plugin, leases.map((lease) => ({ kind: "changed", key: lease.key, lease })));
      }
    }
  }

  /** A node has ended, by itself or not, and its sessions with it. */
  detach(node: NodeId): void {
    this.#nodes.delete(node);
    for (const registry of this.#registries.values()) registry.closeNode(node);
  }

  open(plugin: string, session: SessionInfo): OpenResult {
    return this.#of(plugin).open(session);
  }

  async claim(
    plugin: string,
    id: SessionId,
    key: string,
    value: LeaseValue,
    options?: ClaimOptions,
  ): Promise<ClaimResult> {
    const result = this.#of(plugin).claim(id, key, value, options);
    if (result === "granted" && key.startsWith(NAME_KEY)) {
      await this.#names?.claimed(key.slice(NAME_KEY.length), value);
    }
    return result;
  }

  release(plugin: string, id: SessionId, key: string): void {
    this.#of(plugin).release(id, key);
  }

  close(plugin: string, id: SessionId, graceMs: number): void {
    this.#of(plugin).close(id, graceMs);
  }

  [Symbol.dispose](): void {
    for (const registry of this.#registries.values()) registry[Symbol.dispose]();
  }

  #of(plugin: string): LocalRegistry {
    const known = this.#registries.get(plugin);
    if (known !== undefined) return known;
    const fresh = new LocalRegistry();
    fresh.listen((event) => {
      for (const tell of this.#nodes.values()) tell(plugin, [event]);
      if (event.kind === "changed" && event.lease === undefined && event.key.startsWith(NAME_KEY)) {
        this.#names?.ended(event.key.slice(NAME_KEY.length));
      }
    });
    this.#registries.set(plugin, fresh);
    return fresh;
  }
}
