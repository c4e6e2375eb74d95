import { LogOnce } from "../data_plane/log_once.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { ClosedEvent, Plugin, PluginContext, PluginDefinition, PluginFiles } from "./contract.ts";
import type { MetricSample, PluginStatus, RouteInfo, TunnelRow } from "./reports.ts";
import { soundReport } from "./sound_report.ts";

/** What a plugin tells of itself, all at once. */
export interface PluginReport {
  readonly status: PluginStatus;
  readonly routes: readonly RouteInfo[];
  readonly metrics: readonly MetricSample[];
}

/** How long a plugin may take to be ready, in milliseconds: less than its worker may, so that the plugin is named. */
const READY_TIMEOUT_MS = 20_000;
/** How long a plugin may take to tell of itself, in milliseconds: less than whoever adds up the reports waits. */
const REPORT_TIMEOUT_MS = 1500;

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

/**
 * Imports a plugin's module ahead of its start, which then finds it loaded.
 *
 * @throws {GatewayError} `plugin-failed`, naming the plugin.
 */
export async function loadPlugin(name: string, module: string): Promise<void> {
  await inTime(`Plugin "${name}" did not start`, READY_TIMEOUT_MS, () => importDefinition(module));
}

/** How one plugin is started; every time in milliseconds. */
export interface StartOptions {
  /** How long it may take. */
  readonly timeoutMs?: number;
  /** Called between the import and the start, while none of the plugin's work has begun. */
  readonly loaded?: () => Promise<void>;
}

/** A plugin that was started: inline or in its own worker, the code is the same. */
export class RunningPlugin {
  readonly #definition: PluginDefinition;
  readonly #context: PluginContext;
  readonly #faults = new LogOnce();
  #plugin: Plugin;

  private constructor(definition: PluginDefinition, context: PluginContext, plugin: Plugin) {
    this.#definition = definition;
    this.#context = context;
    this.#plugin = plugin;
  }

  /** Changes of the config, one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param config As the definition's schema gave it out.
   * @throws {GatewayError} `plugin-failed`, naming the plugin.
   */
  static async start(
    module: string,
    config: unknown,
    context: PluginContext,
    { timeoutMs = READY_TIMEOUT_MS, loaded }: StartOptions = {},
  ): Promise<RunningPlugin> {
    return await inTime(`Plugin "${context.name}" did not start`, timeoutMs, async () => {
      const definition = await importDefinition(module);
      await loaded?.();
      return new RunningPlugin(definition, context, await definition.start(config, context));
    });
  }

  /** The instance that answers now; {@link reload} may put another in its place. */
  get plugin(): Plugin {
    return this.#plugin;
  }

  /**
   * Gives the plugin a new config and new files. When it fails, the old ones stay at work.
   *
   * @param timeoutMs As for {@link start}.
   * @throws {GatewayError} `plugin-failed`, naming the plugin.
   */
  reload(config: unknown, files: PluginFiles, timeoutMs: number = READY_TIMEOUT_MS): Promise<void> {
    const turn = this.#turn.then(() => this.#reload(config, files, timeoutMs));
    this.#turn = turn.catch(() => {}); // whoever asked is told; the next one has its turn all the same
    return turn;
  }

  async #reload(config: unknown, files: PluginFiles, timeoutMs: number): Promise<void> {
    const failure = `Plugin "${this.#context.name}" did not take its new config`;
    const old = this.#plugin;
    if (old.reload) return await inTime(failure, timeoutMs, async () => await old.reload?.(config, files));
    const context = { ...this.#context, files };
    this.#plugin = await inTime(
      failure,
      timeoutMs,
      async () => await this.#definition.start(config, context),
    );
    await this.#dispose(old);
  }

  /** Never rejects: what a plugin fails to tell is told of it, and hides nobody else's report. */
  async report(timeoutMs: number = REPORT_TIMEOUT_MS): Promise<PluginReport> {
    const plugin = this.#plugin;
    try {
      const [status, routes, metrics] = await inTime("No report", timeoutMs, () =>
        Promise.all([
          plugin.status?.() ?? { ready: true },
          plugin.routes?.() ?? [],
          plugin.metrics?.() ?? [],
        ]));
      return soundReport({ status, routes, metrics }); // else one inline plugin would take its data plane's along
    } catch (error) {
      return { status: { ready: false, reason: messageOf(error) }, routes: [], metrics: [] };
    }
  }

  /** Tells it that a connection has ended. Never rejects: of its failure the log hears, and nobody else. */
  async closed(event: ClosedEvent): Promise<void> {
    try {
      await this.#plugin.closed?.(event);
    } catch (error) {
      this.#fault("closed", error);
    }
  }

  /** The tunnels that it has open. Never throws, as {@link closed}. */
  tunnels(): readonly TunnelRow[] {
    return this.#guarded("tunnels", (plugin) => plugin.tunnels?.()) ?? [];
  }

  /** Whether it had this tunnel, and ended it. Never throws, as {@link closed}. */
  closeTunnel(id: string): boolean {
    return this.#guarded("closeTunnel", (plugin) => plugin.closeTunnel?.(id)) ?? false;
  }

  /** Tells it that the gateway is about to end. Never throws, as {@link closed}. */
  drain(): void {
    this.#guarded("drain", (plugin) => plugin.drain?.());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dispose(this.#plugin);
  }

  #guarded<T>(hook: string, work: (plugin: Plugin) => T): T | undefined {
    try {
      return work(this.#plugin);
    } catch (error) {
      this.#fault(hook, error);
      return undefined;
    }
  }

  #fault(hook: string, error: unknown): void {
    if (!this.#faults.may(hook)) return;
    const { log, name } = this.#context;
    log.error("plugin_fault", { plugin: name, hook, reason: messageOf(error) });
  }

  /** A plugin that cannot end in order keeps nobody else from it. */
  async #dispose(plugin: Plugin): Promise<void> {
    try {
      await plugin[Symbol.asyncDispose]?.();
    } catch (error) {
      this.#context.log.error("plugin_dispose_failed", {
        plugin: this.#context.name,
        reason: messageOf(error),
      });
    }
  }
}

/** @throws {GatewayError} `plugin-failed`, saying `failure` and why. What comes too late is disposed. */
async function inTime<T>(failure: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
  const working = (async () => await work())();
  try {
    return await Promise.race([working, late]);
  } catch (error) {
    working.then(disposeQuietly, () => {});
    throw new GatewayError("plugin-failed", `${failure}: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function disposeQuietly(value: unknown): Promise<void> {
  try {
    await (value as Partial<AsyncDisposable> | undefined)?.[Symbol.asyncDispose]?.();
  } catch {
    // Nobody waits for it any more, and the failure has been told.
  }
}
