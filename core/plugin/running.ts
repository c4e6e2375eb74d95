import type { Log } from "../log.ts";
import type { MetricSample, Plugin, PluginDefinition, PluginStatus, RouteInfo } from "./contract.ts";

/** What a plugin tells of itself, all at once. */
export interface PluginReport {
  readonly status: PluginStatus;
  readonly routes: readonly RouteInfo[];
  readonly metrics: readonly MetricSample[];
}

/** Imports a plugin's module. @throws TypeError when its default export is not a plugin definition. */
export async function importDefinition(module: string): Promise<PluginDefinition> {
  const { default: definition } = await import(module);
  if (typeof definition?.start !== "function" || typeof definition?.config?.safeParse !== "function") {
    throw new TypeError(
      `"${module}" has no plugin as its default export; write "export default definePlugin({ … })"`,
    );
  }
  return definition;
}

/** A plugin that was started: inline or in its own worker, the code is the same. */
export class RunningPlugin {
  readonly #definition: PluginDefinition;
  readonly #name: string;
  readonly #log: Log;
  #plugin: Plugin;

  private constructor(definition: PluginDefinition, name: string, log: Log, plugin: Plugin) {
    this.#definition = definition;
    this.#name = name;
    this.#log = log;
    this.#plugin = plugin;
  }

  /** @param config As the definition's schema gave it out. */
  static async start(module: string, name: string, config: unknown, log: Log): Promise<RunningPlugin> {
    const definition = await importDefinition(module);
    return new RunningPlugin(definition, name, log, await definition.start(config, { name, log }));
  }

  /** The instance that answers now; {@link reload} may put another in its place. */
  get plugin(): Plugin {
    return this.#plugin;
  }

  /** Gives the plugin a new config. When it fails, the old one stays at work. */
  async reload(config: unknown): Promise<void> {
    if (this.#plugin.reload) return await this.#plugin.reload(config);
    const old = this.#plugin;
    this.#plugin = await this.#definition.start(config, { name: this.#name, log: this.#log });
    await old[Symbol.asyncDispose]?.();
  }

  async report(): Promise<PluginReport> {
    const [status, routes, metrics] = await Promise.all([
      this.#plugin.status?.() ?? { ready: true },
      this.#plugin.routes?.() ?? [],
      this.#plugin.metrics?.() ?? [],
    ]);
    return { status, routes, metrics };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#plugin[Symbol.asyncDispose]?.();
  }
}
