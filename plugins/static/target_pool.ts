import type { ConnectionId, DialEvent } from "../../core/plugin/mod.ts";
import {
  type HealthChanged,
  HealthCheck,
  type HealthCheckConfig,
  type HealthCheckTools,
} from "./health_check.ts";
import { Target } from "./target.ts";

/**
 * Every target of the plugin: who is connected to which, and the checks. It outlives a reload, so that a target
 * that stays keeps its connections and its health.
 */
export class TargetPool implements AsyncDisposable {
  readonly #targets = new Map<string, Target>();
  readonly #checks = new Map<Target, HealthCheck>();
  /** Where each open connection went. */
  readonly #open = new Map<ConnectionId, Target | undefined>();
  readonly #tools: HealthCheckTools;
  readonly #changed: HealthChanged;
  #wanted: ReadonlySet<string> = new Set();

  constructor(tools: HealthCheckTools, changed: HealthChanged) {
    this.#tools = tools;
    this.#changed = changed;
  }

  /**
   * Names the targets that routes lead to from now on, each with its check if it has one. A target that is left out
   * stays until its last connection has ended.
   *
   * @returns When the checks that ended are over; the new set is in force at once.
   */
  use(wanted: ReadonlyMap<string, HealthCheckConfig | undefined>): Promise<unknown> {
    this.#wanted = new Set(wanted.keys());
    const ended: Promise<void>[] = [];
    for (const [target, check] of this.#checks) {
      if (sameCheck(check.config, wanted.get(target.name))) continue;
      this.#checks.delete(target);
      if (wanted.get(target.name) === undefined) target.assumeHealthy();
      ended.push(check[Symbol.asyncDispose]());
    }
    for (const target of this.#targets.values()) this.#forgetUnused(target);
    for (const [name, config] of wanted) this.#add(name, config);
    return Promise.all(ended);
  }

  /** @throws {RangeError} when `use` did not name it. */
  get(name: string): Target {
    const target = this.#targets.get(name);
    if (target === undefined) throw new RangeError(`No target "${name}"`);
    return target;
  }

  /** The targets that routes lead to, and those that are left only for the connections that they still have. */
  all(): Target[] {
    return [...this.#targets.values()];
  }

  /** The targets that fail their checks. */
  unhealthy(): Target[] {
    return this.all().filter((target) => !target.healthy);
  }

  /** A connection was told to go to `target` first. Counted before it is dialed: many may be decided in one turn. */
  opened(connection: ConnectionId, target: Target): void {
    target.connections++;
    this.#open.set(connection, target);
  }

  /** Moves the connection to the target that was really reached. */
  dialed({ connection, target: name, failure }: DialEvent): void {
    const target = this.#targets.get(name);
    if (target === undefined) return;
    if (failure !== undefined) target.failures++;
    const check = this.#checks.get(target);
    if (failure === undefined) check?.connected();
    else check?.suspect();
    this.#move(connection, target, failure === undefined);
  }

  closed(connection: ConnectionId): void {
    this.#release(this.#open.get(connection));
    this.#open.delete(connection);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const checks = [...this.#checks.values()];
    this.#checks.clear();
    await Promise.all(checks.map((check) => check[Symbol.asyncDispose]()));
  }

  #move(connection: ConnectionId, target: Target, connected: boolean): void {
    if (!this.#open.has(connection)) return;
    const counted = this.#open.get(connection);
    if (connected) {
      if (counted === target) return;
      this.#release(counted);
      this.opened(connection, target);
    } else if (counted === target) {
      this.#release(target);
      this.#open.set(connection, undefined);
    }
  }

  #add(name: string, config: HealthCheckConfig | undefined): void {
    let target = this.#targets.get(name);
    if (target === undefined) this.#targets.set(name, target = new Target(name));
    if (config !== undefined && !this.#checks.has(target)) {
      this.#checks.set(target, new HealthCheck(target, config, this.#tools, this.#changed));
    }
  }

  #release(target: Target | undefined): void {
    if (target === undefined) return;
    target.connections--;
    this.#forgetUnused(target);
  }

  #forgetUnused(target: Target): void {
    if (target.connections === 0 && !this.#wanted.has(target.name)) this.#targets.delete(target.name);
  }
}

function sameCheck(a: HealthCheckConfig, b: HealthCheckConfig | undefined): boolean {
  return b !== undefined && a.intervalMs === b.intervalMs && a.timeoutMs === b.timeoutMs &&
    a.unhealthyAfter === b.unhealthyAfter && a.healthyAfter === b.healthyAfter;
}
