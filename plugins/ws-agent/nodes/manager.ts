import { isDeepStrictEqual } from "node:util";
import { GatewayError } from "../../../core/plugin/mod.ts";
import { Agent } from "../agent/agent.ts";
import type { AgentEvent } from "../agent/events.ts";
import { formatGateway } from "../agent/gateway_address.ts";
import { type AgentNetwork, systemNetwork } from "../agent/network.ts";
import type { AgentSettings } from "../agent/settings.ts";
import { formatTarget } from "../agent/target.ts";
import { printable } from "../auth/printable.ts";
import { isServiceName } from "../names.ts";
import type { NodeTunnel, NodeTunnelState, NodeTunnelStatus } from "./node_tunnel.ts";
import { keepingOut, type OwnPorts, refuseCircles } from "./own_ports.ts";

export interface NodeTunnelManagerOptions {
  /** What this node is called: two nodes that show the same token must not have the same name. */
  readonly node: string;
  /** Ports that this node itself listens on. @default none */
  readonly ownPorts?: (() => OwnPorts) | undefined;
  /** The bounds of the wait between two attempts to connect. @default 500 ms to 60 s */
  readonly reconnect?: AgentSettings["reconnect"] | undefined;
  /** Told whenever a tunnel's state changes. Must not throw. */
  readonly onChange?: ((status: NodeTunnelStatus) => void) | undefined;
  /** Told of each connection that came from the far gateway and did not reach its place here. Must not throw. */
  readonly onTargetFailed?: ((name: string, reason: string) => void) | undefined;
  /** @default the machine's */
  readonly network?: AgentNetwork | undefined;
}

const RECONNECT = { minMs: 500, maxMs: 60_000 };
const MAX_REASON = 200;

/** One tunnel, and the agent that carries it while it is wanted. */
interface Entry {
  readonly tunnel: NodeTunnel;
  agent: Agent | undefined;
  state: NodeTunnelState;
  reason: string | undefined;
  /** What the far gateway has said of the port last: it says so again only when something is other than before. */
  answer: Pick<NodeTunnelStatus, "state" | "reason"> | undefined;
  remotePort: number;
}

/**
 * Tunnels from this node to other gateways: each opens a port there whose connections come out here. A tunnel is an agent of the far
 * gateway with one service, so that gateway's policy decides who may connect and which port there is; what is lost is
 * connected again.
 */
export class NodeTunnelManager implements AsyncDisposable {
  readonly #options: NodeTunnelManagerOptions;
  readonly #entries = new Map<string, Entry>();
  #changing: Promise<void> = Promise.resolve();
  /** Nothing new is to be started. */
  #isOver = false;

  constructor(options: NodeTunnelManagerOptions) {
    this.#options = options;
  }

  /**
   * Takes a tunnel in, without starting it.
   *
   * @throws {GatewayError} `config-invalid`: another one has its name, or it would lead back into this gateway.
   */
  add(tunnel: NodeTunnel): void {
    const { name, ports } = tunnel;
    if (!isServiceName(name)) {
      throw invalid("A node tunnel's name has 1 to 63 letters, digits, dots, hyphens and underscores");
    }
    if (this.#entries.has(name)) throw invalid(`There is a node tunnel "${name}" already`);
    this.#refuseCircle(tunnel);
    this.#entries.set(name, {
      tunnel,
      agent: undefined,
      state: "stopped",
      reason: undefined,
      answer: undefined,
      remotePort: ports.remote,
    });
  }

  /**
   * Connects a tunnel to its far gateway, and keeps it so. Harmless when it has been started.
   *
   * @throws {GatewayError} `config-invalid`: there is none of this name, or it would lead back into this gateway.
   */
  startOutbound(name: string): void {
    const entry = this.#entry(name);
    if (entry.agent !== undefined) return;
    this.#refuseCircle(entry.tunnel);
    const { network = systemNetwork(), ownPorts } = this.#options;
    const agent = new Agent(settingsOf(entry.tunnel, this.#options), {
      network: ownPorts ? keepingOut(network, ownPorts) : network,
      onEvent: (event) => this.#heard(entry, event),
    });
    entry.agent = agent;
    entry.answer = undefined;
    this.#become(entry, "connecting");
    agent.start();
    void agent.ended.then((end) => {
      if (entry.agent !== agent) return;
      entry.agent = undefined;
      if (end.kind === "lost") this.#become(entry, "failed", end.reason);
      else this.#become(entry, "stopped");
    });
  }

  /**
   * Gives the far port back, and lets connections finish for `graceMs`. It can be started again.
   *
   * @throws {GatewayError} `config-invalid`: there is none of this name.
   */
  async stop(name: string, graceMs = 0): Promise<void> {
    const { agent } = this.#entry(name);
    await agent?.stop(graceMs);
    await agent?.ended;
  }

  /** {@link stop}, and forgets it. Harmless when there is none of this name. */
  async remove(name: string): Promise<void> {
    if (!this.#entries.has(name)) return;
    await this.stop(name);
    this.#entries.delete(name);
  }

  /** How a tunnel is; `undefined`: there is none of this name. */
  status(name: string): NodeTunnelStatus | undefined {
    const entry = this.#entries.get(name);
    return entry && this.#statusOf(entry);
  }

  /** How all of them are, in the order in which they were added. */
  list(): NodeTunnelStatus[] {
    return [...this.#entries.values()].map((entry) => this.#statusOf(entry));
  }

  /**
   * Makes the tunnels these, all of them started. Those that stay as they are go on undisturbed. One change at a time; those
   * that would lead back into this gateway are left out: see {@link refuseCircles}.
   */
  replaceAll(tunnels: readonly NodeTunnel[]): Promise<void> {
    this.#changing = this.#changing.then(() => this.#replaceAll(tunnels));
    return this.#changing;
  }

  async #replaceAll(tunnels: readonly NodeTunnel[]): Promise<void> {
    const stays = ({ tunnel }: Entry) => tunnels.some((other) => isDeepStrictEqual(other, tunnel));
    const gone = [...this.#entries.values()].filter((entry) => !stays(entry));
    await Promise.all(gone.map(({ tunnel: { name } }) => this.remove(name)));
    for (const tunnel of this.#isOver ? [] : tunnels) {
      try {
        if (!this.#entries.has(tunnel.name)) this.add(tunnel);
        this.startOutbound(tunnel.name);
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error; // the ports have changed since they were checked
      }
    }
  }

  /** Stops all of them, for good: a {@link replaceAll} that is under way starts none any more. */
  async stopAll(graceMs = 0): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#entries.keys()].map((name) => this.stop(name, graceMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#changing;
    for (const { agent } of this.#entries.values()) agent?.stopNow();
    await Promise.all([...this.#entries.values()].map(({ agent }) => agent?.ended));
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw invalid(`There is no node tunnel ${JSON.stringify(name)}`);
    return entry;
  }

  #refuseCircle(tunnel: NodeTunnel): void {
    const { ownPorts } = this.#options;
    if (ownPorts) refuseCircles([tunnel], ownPorts());
  }

  #heard(entry: Entry, event: AgentEvent): void {
    switch (event.kind) {
      case "public":
        entry.remotePort = event.remotePort ?? entry.remotePort;
        return this.#answered(entry, { state: "connected" });
      case "refused":
        return this.#answered(entry, { state: "refused", reason: event.reason });
      case "connected":
        return entry.answer && this.#answered(entry, entry.answer);
      case "disconnected":
        return this.#become(entry, "connecting", event.reason);
      case "target_failed":
        return this.#options.onTargetFailed?.(entry.tunnel.name, printable(event.reason, MAX_REASON));
    }
  }

  #answered(entry: Entry, answer: NonNullable<Entry["answer"]>): void {
    entry.answer = answer;
    this.#become(entry, answer.state, answer.reason);
  }

  #become(entry: Entry, state: NodeTunnelState, reason?: string): void {
    const told = reason === undefined ? undefined : printable(reason, MAX_REASON);
    if (entry.state === state && entry.reason === told) return;
    entry.state = state;
    entry.reason = told;
    this.#options.onChange?.(this.#statusOf(entry));
  }

  #statusOf({ tunnel, agent, state, reason, remotePort }: Entry): NodeTunnelStatus {
    const status = agent?.status;
    return {
      name: tunnel.name,
      from: this.#options.node,
      to: formatGateway(tunnel.to),
      local: formatTarget(tunnel.ports.local),
      remotePort,
      state,
      ...(reason !== undefined && { reason }),
      ...(status?.roundTripMs !== undefined && { latencyMs: Math.round(status.roundTripMs * 10) / 10 }),
      connections: status?.streams ?? 0,
      bytesIn: status?.bytesIn ?? 0,
      bytesOut: status?.bytesOut ?? 0,
    };
  }
}

/** One connection to the far gateway: a second would double what a lost one costs, and two nodes seldom need it. */
function settingsOf(
  { name, to, ports: { local, remote }, token, ca }: NodeTunnel,
  { node, reconnect = RECONNECT }: NodeTunnelManagerOptions,
): AgentSettings {
  return {
    gateway: to,
    name: `node ${node} ${name}`,
    credentials: { token },
    tls: { insecure: false, ...(ca !== undefined && { extraCa: ca }) },
    connections: 1,
    reconnect,
    services: [{ name, protocol: "tcp", target: local, remotePort: remote, proxyProtocol: "off" }],
  };
}

function invalid(message: string): GatewayError {
  return new GatewayError("config-invalid", message);
}
