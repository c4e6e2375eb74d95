import type { PluginFiles } from "../plugin/contract.ts";
import type { PluginHooks, PluginTraits } from "../plugin/host.ts";
import type { PluginReport } from "../plugin/running.ts";
import type { RegistryEvent } from "../registry/local.ts";
import type {
  ClaimOptions,
  ClaimResult,
  LeaseValue,
  OpenResult,
  SessionId,
  SessionInfo,
} from "../registry/registry.ts";
import type { Methods } from "../rpc.ts";
import type { RogueCertificate } from "../tls/rogue.ts";
import type { CancelTarget, FindCancel } from "./postgres_cancel.ts";
import type { CancelKey } from "./preface/postgres.ts";
import type { ProofFault } from "./self_test.ts";
import type { PlaneAcme, PlaneIdentity, PlaneListener, PlaneSettings } from "./settings.ts";
import type { ConnectionRow, GatewayTunnel, MetricsSnapshot } from "./snapshot.ts";

/** A plugin whose config is checked, as a data plane gets it. */
export type PlanePlugin =
  & { readonly name: string; readonly traits: PluginTraits }
  & (
    | {
      readonly isolation: "inline";
      readonly module: string;
      readonly config: unknown;
      readonly files: PluginFiles;
    }
    | { readonly isolation: "worker" }
  );

/** What the supervisor asks of a data plane's worker. */
export interface PlaneMethods extends Methods {
  start(identity: PlaneIdentity, settings: PlaneSettings): void;
  /**
   * Loads and starts the inline plugins, and keeps a place for the isolated ones.
   *
   * @param plugins In the order in which they are asked.
   * @param codeFolders Folders that may be read until the modules are loaded, and not by any `start`; see `sealCode`.
   */
  usePlugins(plugins: readonly PlanePlugin[], codeFolders: readonly string[]): Promise<void>;
  /** Takes a port to an isolated plugin's worker. */
  connectPlugin(name: string, port: MessagePort, hooks: PluginHooks): void;
  /** The plugin's worker has ended. */
  disconnectPlugin(name: string): void;
  configure(settings: PlaneSettings): void;
  /** Changes this part of the settings alone: the rest is large, and this changes with each name. */
  useAcme(acme: PlaneAcme): void;
  /** See `self_test.ts`. To be asked when the plugins are connected; `undefined`: nobody gets in. */
  proveMutualTls(
    plugin: string,
    names: readonly string[],
    rogue: RogueCertificate,
  ): Promise<ProofFault | undefined>;
  /** Resolves to the port as bound. */
  listen(listener: PlaneListener): number;
  /** See `handover.ts`. Resolves to the port on loopback. */
  listenForPlanes(): number;
  /** What happened to the leases of a plugin, in order. */
  registryEvents(plugin: string, events: readonly RegistryEvent[]): void;
  /** Nobody is let in or turned away by a plugin until `releaseDecisions`; who comes meanwhile waits. */
  holdDecisions(): void;
  releaseDecisions(): void;
  report(): Promise<PlaneReport>;
  /** @param filter See `row_filter.ts`. */
  rows(limit: number, filter?: string): ConnectionRow[];
  closeConnection(id: string): boolean;
  /** Of the inline plugins. @param limit Rows at most. @param filter See `row_filter.ts`. */
  tunnels(limit: number, filter?: string): PlaneTunnels;
  /** Whether one of the inline plugins had this tunnel, and ended it. */
  closeTunnel(id: string): boolean;
  /** Where the session is that this key cancels, if it runs through this plane. */
  findCancel(key: CancelKey): CancelTarget | undefined;
  /** Takes no more connections, and tells the inline plugins that the end is near. */
  stopAccepting(): void;
  /** Resolves when no connection is open any more. */
  whenEmpty(): Promise<void>;
  /** Ends every connection and disposes the inline plugins. */
  stop(): Promise<void>;
  ping(): void;
}

/** What a data plane's worker asks of the supervisor, beside what all workers do. */
export interface PlaneQuestions extends Methods {
  /** As `findCancel` of {@link PlaneMethods}, for all other planes. */
  findCancel: FindCancel;
  // The methods of `RegistryTruth`, for one plugin.
  registryOpen(plugin: string, session: SessionInfo): OpenResult;
  registryClaim(
    plugin: string,
    session: SessionId,
    key: string,
    value: LeaseValue,
    options?: ClaimOptions,
  ): Promise<ClaimResult>;
  registryRelease(plugin: string, session: SessionId, key: string): void;
  registryClose(plugin: string, session: SessionId, graceMs: number): void;
}

export interface PlaneTunnels {
  readonly active: number;
  /** Oldest first. */
  readonly rows: readonly GatewayTunnel[];
}

export interface PlaneReport {
  readonly open: number;
  readonly metrics: MetricsSnapshot;
  /** Of the inline plugins, by name. */
  readonly plugins: Readonly<Record<string, PluginReport>>;
}
