import type {
  ClosedEvent,
  ConnectionId,
  ConnectionInfo,
  Decision,
  Forward,
  Log,
  NumberSample,
  Plugin,
  PluginStatus,
  Reject,
  RouteInfo,
} from "../../core/plugin/mod.ts";
import type { Answer } from "./answer.ts";
import type { CloudflaredConfig } from "./config.ts";
import { describeFailure } from "./failure.ts";
import { type Naming, namingOf, serverNameOf } from "./names.ts";
import { metricsOf, routesOf, statusOf } from "./report.ts";
import type { Tools } from "./tools.ts";
import type { Tunnel } from "./tunnel.ts";
import { Tunnels } from "./tunnels.ts";
import type { Scope } from "./waiters.ts";

/** The program says that it is about to listen just before it does: the core tries again until then. */
const RETRY_MS = 1000;

/** Brings connections to tunnels that it starts for them. */
export class CloudflaredPlugin implements Plugin {
  readonly #tunnels: Tunnels;
  /** The connections that were sent to a tunnel and have not ended. */
  readonly #sent = new Map<ConnectionId, Tunnel>();
  #config: CloudflaredConfig;
  #naming: Naming;

  constructor(config: CloudflaredConfig, log: Log, tools: Tools) {
    this.#config = config;
    this.#naming = namingOf(config);
    this.#tunnels = new Tunnels(config, log, tools);
  }

  route(
    connection: ConnectionInfo,
    scope: Scope,
  ): Decision | undefined | Promise<Decision | undefined> {
    const serverName = serverNameOf(connection);
    if (serverName === undefined || this.#naming.patternFor(serverName) === undefined) return undefined;
    const hostname = this.#naming.hostNameFor(serverName);
    if (hostname === undefined) return tooLong(serverName);
    const tunnel = this.#tunnels.get(hostname, serverName);
    const answer = tunnel.acquire(connection.id, scope);
    // A tunnel that is there answers at once, and costs no promise.
    if (!(answer instanceof Promise)) return this.#decide(connection, tunnel, answer, scope);
    return answer.then((answer) => this.#decide(connection, tunnel, answer, scope));
  }

  closed(event: ClosedEvent): void {
    const tunnel = this.#sent.get(event.connection);
    if (tunnel === undefined) return;
    this.#sent.delete(event.connection);
    tunnel.release(event);
  }

  /** Tunnels that the new config would start just the same stay, with their connections. */
  reload(config: unknown): void {
    this.#config = config as CloudflaredConfig;
    const naming = this.#naming = namingOf(this.#config);
    this.#tunnels.reload(
      this.#config,
      ({ serverName, hostname }) =>
        naming.patternFor(serverName) !== undefined && naming.hostNameFor(serverName) === hostname,
    );
  }

  status(): PluginStatus {
    return statusOf(this.#tunnels);
  }

  routes(): RouteInfo[] {
    return routesOf(this.#config, this.#naming, this.#tunnels);
  }

  metrics(): NumberSample[] {
    return metricsOf(this.#tunnels);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tunnels[Symbol.asyncDispose]();
  }

  #decide(
    connection: ConnectionInfo,
    tunnel: Tunnel,
    answer: Answer,
    scope: Scope,
  ): Decision | undefined | Promise<Decision | undefined> {
    if (answer.kind === "moved") return this.route(connection, scope);
    if (answer.kind === "refused") return refusal(tunnel, answer);
    this.#sent.set(connection.id, tunnel);
    return forwardTo(answer.port);
  }
}

/** What a connection for the tunnel at this port gets. */
export function forwardTo(port: number): Forward {
  return { kind: "forward", to: `127.0.0.1:${port}`, proxyProtocol: "pass", retryMs: RETRY_MS };
}

/** What a connection gets whose name makes no host name. */
export function tooLong(serverName: string): Reject {
  return {
    kind: "reject",
    reason: "unknown_name",
    detail: `No host name can be made of ${JSON.stringify(serverName)}: it would be too long`,
  };
}

function refusal({ hostname }: Tunnel, { failure, retryInMs = 0 }: Answer & { kind: "refused" }): Reject {
  const again = retryInMs > 0 ? `; tried again in ${(retryInMs / 1000).toFixed(1)} s` : "";
  return {
    kind: "reject",
    reason: "unavailable",
    detail: `${hostname}: ${describeFailure(failure)}${again}`,
  };
}
