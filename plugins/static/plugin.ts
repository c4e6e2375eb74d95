import type {
  ClosedEvent,
  ConnectionInfo,
  Decision,
  DialEvent,
  Log,
  NumberSample,
  Plugin,
  PluginStatus,
  RouteInfo,
} from "../../core/plugin/mod.ts";
import type { RouteConfig, StaticConfig } from "./config.ts";
import { decisionMaker } from "./decision_maker.ts";
import { describeAction, describeMatch } from "./explain.ts";
import type { HealthCheckConfig, HealthCheckTools } from "./health_check.ts";
import { RouteTable } from "./route_table.ts";
import type { Target } from "./target.ts";
import { TargetGroup } from "./target_group.ts";
import { TargetPool } from "./target_pool.ts";

/** A route at work. */
interface Route {
  readonly config: RouteConfig;
  readonly sni: RouteConfig["sni"];
  readonly protocol: RouteConfig["protocol"];
  readonly group: TargetGroup;
}

/** Answers from tables that only `reload` and the health checks change: routing never waits for anything. */
export class StaticPlugin implements Plugin {
  readonly #log: Log;
  readonly #pool: TargetPool;
  #routes: readonly Route[] = [];
  #table: RouteTable<Route> = new RouteTable<Route>([]);

  constructor(config: StaticConfig, log: Log, tools: HealthCheckTools) {
    this.#log = log;
    this.#pool = new TargetPool(tools, (target, failure) => this.#healthChanged(target, failure));
    void this.#install(config); // nothing to wait for: no check has ended yet
  }

  route(connection: ConnectionInfo): Decision | undefined {
    const route = this.#table.find(connection);
    if (route === undefined) return undefined;
    const { target, decision } = route.group.choose(connection.source.address);
    this.#pool.opened(connection.id, target);
    return decision;
  }

  dialed(event: DialEvent): void {
    this.#pool.dialed(event);
  }

  closed({ connection }: ClosedEvent): void {
    this.#pool.closed(connection);
  }

  /** Targets that stay keep their health and their connections. */
  async reload(config: unknown): Promise<void> {
    await this.#install(config as StaticConfig);
  }

  status(): PluginStatus {
    const targets = this.#pool.all();
    const unhealthy = targets.filter((target) => !target.healthy).map((target) => target.name);
    return {
      ready: true,
      ...(unhealthy.length > 0 && { reason: `${unhealthy.length} of ${targets.length} targets unhealthy` }),
      details: { routes: this.#routes.length, targets: targets.length, unhealthy },
    };
  }

  routes(): RouteInfo[] {
    return this.#routes.map(({ config, group }) => ({
      match: describeMatch(config),
      action: describeAction(config),
      targets: group.targets.map(({ name, healthy, connections }) => ({
        target: name,
        healthy,
        connections,
      })),
    }));
  }

  metrics(): NumberSample[] {
    return this.#pool.all().flatMap(({ name, healthy, connections, failures }) => [
      {
        ...gauge("static_target_healthy", "0 while a target fails its health checks.", name, healthy ? 1 : 0),
        merge: "min", // unhealthy for one data plane is worth knowing
      },
      gauge("static_target_connections", "Open connections to a target.", name, connections),
      {
        name: "static_target_failures_total",
        help: "Attempts to connect to a target that failed.",
        type: "counter",
        labels: { target: name },
        value: failures,
      },
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]();
  }

  /** Swaps everything in one step, before the first wait. */
  #install({ routes }: StaticConfig): Promise<unknown> {
    const ended = this.#pool.use(targetsOf(routes));
    this.#routes = routes.map((config) => ({
      config,
      sni: config.sni,
      protocol: config.protocol,
      group: new TargetGroup(
        config.to.map((name) => this.#pool.get(name)),
        config.balance,
        decisionMaker(config),
      ),
    }));
    this.#table = new RouteTable(this.#routes);
    return ended;
  }

  #healthChanged(target: Target, failure: string | undefined): void {
    for (const { group } of this.#routes) if (group.targets.includes(target)) group.healthChanged();
    if (failure === undefined) this.#log.info("target_healthy", { target: target.name });
    else this.#log.warn("target_unhealthy", { target: target.name, reason: failure });
  }
}

/** Every target with its check; one that several routes name is checked if any of them says so. */
function targetsOf(routes: readonly RouteConfig[]): Map<string, HealthCheckConfig | undefined> {
  const targets = new Map<string, HealthCheckConfig | undefined>();
  for (const { to, healthCheck } of routes) {
    for (const target of to) targets.set(target, healthCheck ?? targets.get(target));
  }
  return targets;
}

function gauge(name: string, help: string, target: string, value: number): NumberSample {
  return { name, help, type: "gauge", labels: { target }, value };
}
