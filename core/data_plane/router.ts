import { GatewayError } from "../errors.ts";
import type { ConnectionInfo, Decision } from "../plugin/contract.ts";
import type { PluginHandle, RouteScope } from "../plugin/host.ts";
import { Deadlines } from "./deadlines.ts";
import { isDecision } from "./decision.ts";

/** A decision, and whose it is. */
export interface Routed {
  readonly plugin: PluginHandle;
  readonly decision: Decision;
}

/** What waits for a plugin's answer. */
interface Waiting {
  fail(error: GatewayError): void;
}

/** Asks the plugins, in the order of the config, where a connection goes. */
export class Router {
  #plugins: readonly PluginHandle[] = [];
  /** One queue of deadlines for each length of time that a plugin asks for. */
  readonly #deadlines = new Map<number, Deadlines<Waiting>>();
  #held: PromiseWithResolvers<void> | undefined;

  get plugins(): readonly PluginHandle[] {
    return this.#plugins;
  }

  /** Swaps the whole order in one step. Connections that are decided keep their plugin. */
  replace(plugins: readonly PluginHandle[]): void {
    this.#plugins = plugins;
  }

  /** From now on nobody is asked: what comes waits for {@link release}. Harmless when repeated. */
  hold(): void {
    this.#held ??= Promise.withResolvers();
  }

  /** Harmless when nothing is held. */
  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }

  /**
   * The first plugin that takes the connection decides. `undefined`: none does.
   *
   * @param only The one plugin that is to be asked, by its name.
   * @throws {PluginFault} A plugin that might have taken the connection does not work. Nobody else is asked:
   * whoever comes behind it may want less from the client.
   */
  async route(connection: ConnectionInfo, scope: RouteScope, only?: string): Promise<Routed | undefined> {
    if (this.#held) await this.#held.promise;
    for (const plugin of this.#plugins) {
      if (only === undefined ? !plugin.mayTake(connection) : plugin.name !== only) continue;
      const decision = await this.#ask(plugin, connection, scope);
      if (decision !== undefined) return { plugin, decision };
    }
    return undefined;
  }

  /**
   * Asks one plugin.
   *
   * @throws {PluginFault} It failed, answered nonsense, or took longer than it may.
   */
  async ask(
    plugin: PluginHandle,
    connection: ConnectionInfo,
    scope: RouteScope,
  ): Promise<Decision | undefined> {
    if (this.#held) await this.#held.promise;
    return await this.#ask(plugin, connection, scope);
  }

  async #ask(
    plugin: PluginHandle,
    connection: ConnectionInfo,
    scope: RouteScope,
  ): Promise<Decision | undefined> {
    try {
      let answer = plugin.route(connection, scope);
      if (answer instanceof Promise) answer = await this.#inTime(answer, plugin, connection, scope);
      if (answer === undefined || isDecision(answer)) return answer;
    } catch (error) {
      throw new PluginFault(plugin, error);
    }
    throw new PluginFault(plugin, new TypeError("Its answer is not a decision"));
  }

  close(): void {
    for (const deadlines of this.#deadlines.values()) deadlines.close();
  }

  #inTime(
    answer: Promise<unknown>,
    plugin: PluginHandle,
    connection: ConnectionInfo,
    scope: RouteScope,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const deadlines = this.#deadlinesOf(plugin.routeTimeoutMs);
      const settle = () => {
        deadlines.delete(waiting);
        scope.onEnd = undefined;
      };
      const waiting: Waiting = {
        fail(error) {
          settle();
          plugin.cancel?.(connection);
          reject(error);
          answer.then((late) => late === undefined || tellAbandoned(plugin, connection), () => {});
        },
      };
      deadlines.add(waiting);
      scope.onEnd = () => waiting.fail(new GatewayError("plugin-failed", "The connection has ended"));
      answer.finally(settle).then(resolve, reject);
    });
  }

  #deadlinesOf(timeoutMs: number): Deadlines<Waiting> {
    let deadlines = this.#deadlines.get(timeoutMs);
    if (deadlines === undefined) {
      const fault = `No answer in ${timeoutMs} ms`;
      deadlines = new Deadlines(
        timeoutMs,
        (waiting) => waiting.fail(new GatewayError("plugin-timeout", fault)),
      );
      this.#deadlines.set(timeoutMs, deadlines);
    }
    return deadlines;
  }
}

/** A plugin that decided too late still hears that the connection has ended: it may count what it decided on. */
function tellAbandoned(plugin: PluginHandle, { id }: ConnectionInfo): void {
  plugin.closed?.({ connection: id, bytesIn: 0, bytesOut: 0, ms: 0, result: "abandoned" });
}

/** A plugin did not answer as it must. */
export class PluginFault extends Error {
  readonly plugin: PluginHandle;

  constructor(plugin: PluginHandle, cause: unknown) {
    super(`Plugin "${plugin.name}" failed`, { cause });
    this.plugin = plugin;
  }

  get timedOut(): boolean {
    return this.cause instanceof GatewayError && this.cause.code === "plugin-timeout";
  }
}
