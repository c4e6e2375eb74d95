import { LogOnce } from "../../core/data_plane/log_once.ts";
import type {
  ByteStream,
  ConnectionInfo,
  Decision,
  Log,
  MetricSample,
  PlaneContext,
  Plugin,
  PluginFiles,
  PluginStatus,
  RouteInfo,
  TunnelRow,
} from "../../core/plugin/mod.ts";
import type { AgentAuthenticator } from "./auth/mod.ts";
import type { Clock } from "./clock.ts";
import type { WsAgentConfig } from "./config.ts";
import type { Uuid } from "./control/messages.ts";
import { Counters } from "./counters.ts";
import { Directory } from "./directory.ts";
import { AgentEndpoint } from "./endpoint.ts";
import { nameKey, portKey, udpKey, udpPortOfKey } from "./names.ts";
import { NodeTunnelManager } from "./nodes/manager.ts";
import { type OwnPorts, refuseCircles } from "./nodes/own_ports.ts";
import { nodeTunnelsOf } from "./nodes/config.ts";
import { DATA_PURPOSE } from "./plain/data_endpoint.ts";
import { PlainHttp } from "./plain_http.ts";
import { TunnelPorts } from "./ports.ts";
import { PublicHttp, type ServeHttp } from "./public_http.ts";
import { isPrivateKey } from "./private_name.ts";
import { PublicStreams } from "./public_streams.ts";
import { PublicTls } from "./public_tls.ts";
import { metricsOf, type Reported, routesOf, statusOf, tunnelsOf } from "./report.ts";
import { TunnelRouter } from "./router.ts";
import { Accesses } from "./session/accesses.ts";
import { Admission } from "./session/admission.ts";
import { Presence, PRESENCE_PURPOSE } from "./session/presence.ts";
import { Registrar } from "./session/registrar.ts";
import { Sessions } from "./session/sessions.ts";
import { Tunnels } from "./session/tunnels.ts";
import { Throttles } from "./throttle/throttles.ts";
import { UdpCounters } from "./udp/udp_counters.ts";
import { UdpPorts } from "./udp/udp_ports.ts";
import { Waiting } from "./waiting.ts";
import type { YamuxOptions, YamuxSession } from "./yamux/yamux.ts";

/** What the plugin needs from outside; tests hand in their own. */
export interface WsAgentTools {
  /** The plugin's word in the config. */
  readonly name: string;
  readonly log: Log;
  readonly plane: PlaneContext;
  readonly clock: Clock;
  readonly authenticator: Pick<
    AgentAuthenticator,
    "authenticate" | "failures" | "reload" | typeof Symbol.dispose
  >;
  readonly openYamux: (transport: ByteStream, options: YamuxOptions) => YamuxSession;
  readonly serveHttp: ServeHttp;
  readonly newId: () => Uuid;
  /** Those of the config. @default none, so far */
  readonly files?: PluginFiles;
}

/** How long connections that come out of node tunnels may take to finish when the gateway is about to end. */
const NODE_DRAIN_MS = 30_000;

/** Lets agents in, and brings the public to their services. One in each data plane; what they share is the registry. */
export class WsAgentPlugin implements Plugin {
  readonly #tools: WsAgentTools;
  readonly #sessions = new Sessions();
  readonly #counters: Counters;
  readonly #waiting: Waiting;
  readonly #directory: Directory;
  readonly #ports: TunnelPorts;
  readonly #throttles: Throttles;
  readonly #udp: UdpPorts;
  readonly #udpCounters = new UdpCounters();
  readonly #tunnels: Tunnels;
  readonly #streams: PublicStreams;
  readonly #accesses: Accesses;
  readonly #router: TunnelRouter;
  readonly #presence: Presence;
  readonly #endpoint: AgentEndpoint;
  readonly #http: PublicHttp;
  readonly #plainHttp: PlainHttp;
  /** One for all data planes: a second one would be another agent to the far gateways, and the names have one holder. */
  readonly #nodeTunnels: NodeTunnelManager | undefined;
  readonly #publicTls: PublicTls;
  readonly #unwatch: () => void;
  #config: WsAgentConfig;

  constructor(initial: WsAgentConfig, tools: WsAgentTools) {
    const { plane, clock, name, serveHttp } = tools;
    const { registry } = plane;
    const sessions = this.#sessions;
    const counters = this.#counters = new Counters(name);
    const waiting = this.#waiting = new Waiting(clock);
    const config = () => this.#config;
    const shared = { ...tools, config, sessions, registry, counters };
    this.#tools = tools;
    this.#config = initial;
    const directory = this.#directory = new Directory(sessions, plane, initial.limits.streamsPerTunnel);
    const ports = this.#ports = new TunnelPorts(plane, sessions, initial.portsAddress);
    const throttles = this.#throttles = new Throttles({ sessions, clock, nodes: plane.nodes });
    const tunnels = this.#tunnels = new Tunnels({
      ...shared,
      ended: (keys, session, reason) => {
        throttles.ended(session);
        this.#accesses.sessionEnded(session, reason);
        keys.forEach((key) => waiting.wake(key));
      },
      hasAccesses: (session) => this.#accesses.has(session),
    });
    const streams = this.#streams = new PublicStreams({
      directory,
      waiting,
      plane,
      clock,
      reconnectGraceMs: () => this.#config.reconnectGraceMs,
      mayServe: (session) => tunnels.mayServe(session),
      throttle: (stream, session) => throttles.throttle(stream, session),
    });
    const accesses = this.#accesses = new Accesses({
      ...tools,
      config,
      directory,
      streams,
      mayServe: (session) => tunnels.mayServe(session),
    });
    this.#router = new TunnelRouter({ name, config, directory, streams });
    const flowPrefix = `u${tools.newId().slice(0, 8)}-`;
    let flowsBegun = 0;
    const udp = this.#udp = new UdpPorts({
      ...shared,
      counters: this.#udpCounters,
      limits: () => this.#config.limits,
      nextId: () => `${flowPrefix}${(flowsBegun++).toString(36)}`,
      open: (connection, signal) =>
        streams.tryOpen({ key: udpKey(connection.destination.port), protocol: "udp", connection, signal }),
    }, initial.portsAddress);
    const registrar = new Registrar({
      ...shared,
      listen: (port, protocol, session) =>
        protocol === "tcp" ? ports.listen(port) : udp.listen(port, session),
      served: (key) => waiting.wake(key),
    });
    const presence = this.#presence = new Presence(shared);
    const admission = new Admission({
      ...shared,
      presence,
      node: plane.node,
      authenticator: () => tools.authenticator,
    });
    const endpoint = this.#endpoint = new AgentEndpoint({
      ...shared,
      admission,
      registrar,
      tunnels,
      accesses,
    });
    const http = this.#http = new PublicHttp({ ...shared, serveHttp, streams });
    this.#plainHttp = new PlainHttp({ ...shared, directory, endpoint, http });
    this.#publicTls = new PublicTls({ directory, streams, endpoint, http, clock });
    this.#unwatch = registry.watch({
      changed: (key, lease) => {
        ports.changed(key, lease);
        directory.changed(key, lease);
        udp.changed(key, lease);
        waiting.wake(key);
        http.changed(key);
        // An agent that a draining gateway has sent away serves what is open to its end.
        if (lease === undefined && isPrivateKey(key) && !tunnels.draining) accesses.gone(key);
      },
      evicted: (session, reason) => tunnels.evicted(session, reason),
    });
    if (plane.isFirst) this.#nodeTunnels = this.#startNodeTunnels(tools.files ?? {});
  }

  route(
    connection: ConnectionInfo,
    options: { readonly signal: AbortSignal },
  ): Decision | undefined | Promise<Decision | undefined> {
    return this.#router.route(connection, options);
  }

  handle(
    stream: ByteStream,
    connection: ConnectionInfo,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    switch (connection.handedOver?.purpose) {
      case DATA_PURPOSE:
        return this.#endpoint.serve(stream, connection, signal);
      case PRESENCE_PURPOSE:
        return this.#presence.answer(stream);
    }
    const hostname = connection.tls?.serverName;
    if (hostname === undefined) return this.#plainHttp.serve(stream, connection, signal);
    if (hostname === this.#config.endpoint) return this.#endpoint.serve(stream, connection, signal);
    return this.#publicTls.serve(stream, connection, { hostname, signal });
  }

  open(connection: ConnectionInfo, { signal }: { readonly signal: AbortSignal }): Promise<ByteStream> {
    const { handedOver, listener, destination, tls } = connection;
    if (handedOver?.purpose !== undefined) {
      const wanted = { key: handedOver.purpose, connection, signal };
      return udpPortOfKey(wanted.key) === undefined
        ? this.#streams.open(wanted)
        : this.#streams.openNow(wanted);
    }
    return listener === this.#tools.name
      ? this.#streams.open({ key: portKey(destination.port), protocol: "tcp", connection, signal })
      : this.#streams.open({ key: nameKey(tls?.serverName ?? ""), protocol: "tls", connection, signal });
  }

  /** What is registered stays; whoever may no longer be here goes. */
  reload(config: unknown, files: PluginFiles): void {
    const checked = config as WsAgentConfig;
    const nodeTunnels = nodeTunnelsOf(checked.nodeTunnels, files);
    refuseCircles(nodeTunnels, this.#ownPorts(checked));
    this.#tools.authenticator.reload(checked, files); // throws before anything has changed
    this.#config = checked;
    this.#directory.streamsPerTunnel = checked.limits.streamsPerTunnel;
    this.#ports.address = this.#udp.address = checked.portsAddress;
    this.#tunnels.retime();
    this.#tunnels.recheck();
    this.#throttles.refresh();
    void this.#nodeTunnels?.replaceAll(nodeTunnels);
    this.#accesses.recheck();
  }

  status(): PluginStatus {
    return statusOf(this.#reported());
  }

  tunnels(): TunnelRow[] {
    return tunnelsOf(this.#sessions);
  }

  closeTunnel(id: string): boolean {
    const session = this.#sessions.get(id);
    if (!session?.opened) return false;
    this.#tunnels.end(session, "closed_by_admin");
    return true;
  }

  routes(): RouteInfo[] {
    return routesOf(this.#sessions);
  }

  metrics(): MetricSample[] {
    return metricsOf(this.#reported());
  }

  drain(): void {
    void this.#nodeTunnels?.stopAll(NODE_DRAIN_MS);
    this.#udp.drain();
    this.#tunnels.drain();
    this.#http.drain();
    this.#endpoint.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unwatch();
    this.#waiting.endAll();
    this.#endpoint.close();
    this.#ports.closeAll();
    this.#udp.closeAll();
    this.#tools.authenticator[Symbol.dispose]();
    await this.#nodeTunnels?.[Symbol.asyncDispose]();
    this.#accesses.close();
    await this.#tunnels[Symbol.asyncDispose]();
    this.#throttles[Symbol.dispose]();
  }

  #ownPorts({ ports, portsAddress }: WsAgentConfig): OwnPorts {
    return { open: this.#tools.plane.ports, tunnels: ports, address: portsAddress };
  }

  #startNodeTunnels(files: PluginFiles): NodeTunnelManager {
    const { log, plane } = this.#tools;
    const failures = new LogOnce();
    const manager = new NodeTunnelManager({
      node: this.#config.node,
      ownPorts: () => ({
        open: plane.ports,
        tunnels: this.#config.ports,
        address: this.#config.portsAddress,
      }),
      onChange: ({ name, to, state, remotePort, reason }) =>
        log.info("node_tunnel", { name, to, state, remotePort, ...(reason !== undefined && { reason }) }),
      onTargetFailed: (name, reason) => {
        if (failures.may(`${name} ${reason}`)) log.warn("node_tunnel_target_failed", { name, reason });
      },
    });
    const tunnels = nodeTunnelsOf(this.#config.nodeTunnels, files);
    refuseCircles(tunnels, this.#ownPorts(this.#config));
    void manager.replaceAll(tunnels);
    return manager;
  }

  #reported(): Reported {
    return {
      sessions: this.#sessions,
      counters: this.#counters,
      authFailures: this.#tools.authenticator.failures,
      arrivals: this.#endpoint.arrivals,
      waiting: this.#waiting.size,
      accesses: this.#accesses.size,
      openPorts: this.#ports.open,
      udpPorts: this.#udp.open,
      udpFlows: this.#udp.flows,
      udpCounters: this.#udpCounters,
      nodeTunnels: this.#nodeTunnels?.list() ?? [],
    };
  }
}
