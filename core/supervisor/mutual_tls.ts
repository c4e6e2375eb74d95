import type { PlaneMethods } from "../data_plane/methods.ts";
import type { ProofFault } from "../data_plane/self_test.ts";
import { GatewayError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Rpc } from "../rpc.ts";
import { createRogueCertificate, type RogueCertificate } from "../tls/rogue.ts";
import type { CheckedPlugin } from "./plugins.ts";
import type { PluginUnit } from "./state.ts";

/** What a proof needs to know of those who are proved. */
export interface Proved {
  readonly log: Log;
  /** In the order in which they are asked. */
  readonly plugins: readonly CheckedPlugin[];
  /** The isolated ones. */
  readonly pluginUnits: ReadonlyMap<string, { readonly worker: Living }>;
}

/** A plugin's worker, as far as this goes. */
type Living = Pick<PluginUnit["worker"], "up" | "generation">;

/** How strict a proof is. */
export interface Strictness {
  /**
   * Whether it is enough that nobody gets in: for a data plane that is started anew, on which more depends than a
   * name that nobody can reach anyway.
   */
  readonly lenient: boolean;
}

/** Has data planes prove that nobody gets past client certificates where a plugin requires them. */
export class MutualTlsProof {
  readonly #proved: Proved;
  #rogue: Promise<RogueCertificate> | undefined;

  constructor(proved: Proved) {
    this.#proved = proved;
  }

  /** Whether there is anything to prove for these plugins. */
  static concerns(plugins: readonly CheckedPlugin[]): boolean {
    return plugins.some(({ traits }) => (traits.mutualTls ?? []).length > 0);
  }

  /**
   * Asks one data plane for the proof, for every plugin that names what is to be proved.
   *
   * A plugin that is down lets nobody in, and keeps nobody else from being served: the log says that nothing is proved.
   *
   * @throws {GatewayError} `mutual-tls-unproven`.
   */
  async of(plane: Rpc<PlaneMethods>, { lenient }: Strictness): Promise<void> {
    const { plugins, log } = this.#proved;
    for (const plugin of plugins) {
      const names = plugin.traits.mutualTls ?? [];
      if (names.length === 0) continue;
      const life = this.#lifeOf(plugin);
      const fault = await plane.call("proveMutualTls", plugin.name, names, await this.#certificate());
      if (fault === undefined) {
        log.debug("mutual_tls_proved", { plugin: plugin.name, names: names.length });
        continue;
      }
      const down = life === undefined || this.#lifeOf(plugin) !== life;
      if (fault.kind === "open" || !(down || lenient)) throw unproven(plugin.name, fault);
      const reason = down ? "the plugin is down" : fault.reason;
      log.warn("mutual_tls_unproven", { plugin: plugin.name, name: fault.name, reason });
    }
  }

  /** Tells one life of an isolated plugin's worker from the next; `undefined` while it is down. */
  #lifeOf({ name }: CheckedPlugin): number | undefined {
    const unit = this.#proved.pluginUnits.get(name);
    if (unit === undefined) return 0; // it lives as long as the data plane
    return unit.worker.up ? unit.worker.generation : undefined;
  }

  /** Made once, and only where it is needed. */
  #certificate(): Promise<RogueCertificate> {
    return this.#rogue ??= createRogueCertificate();
  }
}

function unproven(plugin: string, { kind, name, reason }: ProofFault): GatewayError {
  const message = kind === "open"
    ? `Plugin "${plugin}" must let nobody in at "${name}" without a good client certificate, but ${reason}`
    : `Plugin "${plugin}" must let nobody in at "${name}" without a good client certificate, ` +
      `and that cannot be proved: ${reason}`;
  return new GatewayError("mutual-tls-unproven", message);
}
