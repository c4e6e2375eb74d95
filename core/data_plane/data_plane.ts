import type { LimitsConfig } from "../config/config.ts";
import { isDeepStrictEqual } from "node:util";
import { type ByteStream, closeQuietly } from "../byte_stream.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { canonicalAddress } from "../net/address.ts";
import type { NodeId } from "../registry/registry.ts";
import { CertificateStore } from "../tls/contexts.ts";
import { createTerminator, type Terminator } from "../tls/terminate.ts";
import type { ConnectionInfo } from "../plugin/contract.ts";
import type { PluginHandle } from "../plugin/host.ts";
import { AdminGuard } from "./admin_guard.ts";
import { AwaitedCertificates } from "./awaited_certificates.ts";
import { Connection } from "./connection.ts";
import type { ConnectionRecord } from "./connection_record.ts";
import { DatagramSockets } from "./datagram_sockets.ts";
import { Deadlines } from "./deadlines.ts";
import { Dialer } from "./dial.ts";
import { Neighbours } from "./handover.ts";
import { HttpChallenges } from "./http_challenge.ts";
import { HttpsRedirects } from "./https_redirects.ts";
import { SharedLimits, type SourceLimits } from "./limits.ts";
import { LogOnce } from "./log_once.ts";
import { DataPlaneMetrics } from "./metrics.ts";
import { type Listener, Listeners } from "./listeners.ts";
import { Router } from "./router.ts";
import { connectionFilter } from "./row_filter.ts";
import { CancelRoutes, type FindCancel } from "./postgres_cancel.ts";
import type { PlaneAcme, PlaneIdentity, PlaneSettings } from "./settings.ts";
import type { ConnectionRow, MetricsSnapshot } from "./snapshot.ts";
import { TimedQueues } from "./timed_queues.ts";
import type { StepAttributes, StepName, Traces } from "./traces.ts";

/** How long a refused client has to take its answer, in milliseconds. */
const GOODBYE_MS = 1000;
/** How long a plugin may take before its client is watched, in milliseconds: nearly every decision comes sooner. */
const PATIENCE_MS = 100;
/** Accepts connections and walks each along the one path. Holds everything that they share. */
export class DataPlane {
  readonly metrics = new DataPlaneMetrics();
  readonly router = new Router();
  readonly dialer = new Dialer();
  /** What a target that is not from the config must not lead to; absent while there is no admin side. */
  adminGuard: AdminGuard | undefined;
  readonly cancels: CancelRoutes;
  readonly certificates = new CertificateStore();
  readonly terminator: Terminator = createTerminator(this.certificates);
  /** Names whose certificate is on its way. */
  readonly awaited = new AwaitedCertificates();
  readonly challenges = new HttpChallenges();
  readonly redirects = new HttpsRedirects();
  /** Strangers cause refusals, and must not fill the log with them. */
  readonly refusals = new LogOnce();
  /** Faults that an operator should hear of, at a stranger's pace too: not crowded out by refusals. */
  readonly faults = new LogOnce();
  /** Refused clients that are taking their answer. */
  readonly goodbyes = new Deadlines<Connection>(GOODBYE_MS, (connection) => connection.end("refused"));
  /** Clients that wait for a plugin's decision. */
  readonly patience = new Deadlines<Connection>(PATIENCE_MS, (connection) => connection.watchClient());
  readonly log: Log;
  /** Told of every connection that is accepted; see `self_test.ts`. */
  onAccepted: ((record: ConnectionRecord) => void) | undefined;
  /** Begins the id of every connection. */
  readonly idPrefix: string;
  readonly limits: SharedLimits;
  /** Absent unless traces are wanted. */
  readonly traces: Traces | undefined;
  /** The other data planes; absent where this is the only one. */
  readonly neighbours: Neighbours | undefined;
  readonly listeners: Listeners;
  readonly datagrams = new DatagramSockets();
  readonly #connections = new Map<string, Connection>();
  readonly #retired: TimedQueues[] = [];
  #queues: TimedQueues;
  #settings: PlaneSettings;
  /** Connections that others handed over: they were counted where they came in. */
  #handedOver = 0;
  #lastId = 0;
  #empty: PromiseWithResolvers<void> | undefined;

  constructor(
    identity:
      & Pick<PlaneIdentity, "idPrefix" | "sharedLimits">
      & Partial<Pick<PlaneIdentity, "ledger" | "node" | "handoverSecret">>,
    settings: PlaneSettings,
    log: Log,
    findCancelElsewhere?: FindCancel,
    traces?: Traces,
  ) {
    this.traces = traces;
    this.idPrefix = identity.idPrefix;
    this.limits = new SharedLimits(identity.sharedLimits, identity.ledger);
    this.log = log;
    const { node, handoverSecret } = identity;
    if (node !== undefined && handoverSecret) this.neighbours = new Neighbours(node, handoverSecret);
    this.listeners = new Listeners({
      accepted: (conn, listener) => this.#admit(conn, listener),
      failed: (error, { address }) => {
        if (!this.faults.may(`accept_failed ${address}`)) return;
        this.log.warn("accept_failed", { listener: address, reason: messageOf(error) });
      },
    }, this.neighbours !== undefined);
    this.cancels = new CancelRoutes(findCancelElsewhere);
    this.#queues = new TimedQueues(settings.limits, 0);
    this.#settings = settings;
    this.#apply(settings);
  }

  get queues(): TimedQueues {
    return this.#queues;
  }

  /** As they are now. */
  get settings(): PlaneSettings {
    return this.#settings;
  }

  /** Takes new settings in one step; open connections keep the times that they began with. */
  configure(settings: PlaneSettings): void {
    if (!isDeepStrictEqual(settings.limits, this.#queues.limits)) {
      this.#replaceQueues(settings.limits, this.#queues.routeTimeoutMs);
    }
    this.#apply(settings);
  }

  /** Takes what there is to do for those who ask for certificates. */
  useAcme(acme: PlaneAcme): void {
    this.#settings = { ...this.#settings, acme };
    this.challenges.replace(acme.challenges);
    this.awaited.replace(acme.awaited);
  }

  /** Swaps the plugins, in the order in which they are asked. Connections that are decided keep theirs. */
  usePlugins(plugins: readonly PluginHandle[]): void {
    this.router.replace(plugins);
    const longest = Math.max(0, ...plugins.map(({ routeTimeoutMs }) => routeTimeoutMs));
    if (longest !== this.#queues.routeTimeoutMs) this.#replaceQueues(this.#queues.limits, longest);
  }

  #replaceQueues(limits: LimitsConfig, routeTimeoutMs: number): void {
    this.#retired.push(this.#queues);
    this.#queues = new TimedQueues(limits, routeTimeoutMs);
  }

  #apply(settings: PlaneSettings): void {
    this.#settings = settings;
    this.certificates.replace(settings.certificates);
    this.useAcme(settings.acme ?? NO_ACME); // behind the certificates, which somebody may be waiting for
    this.redirects.httpsPort = settings.httpsPort;
    this.adminGuard = settings.adminAddress ? new AdminGuard(settings.adminAddress) : undefined;
    if (this.neighbours) this.neighbours.ports = settings.nodes ?? {};
    this.redirects.headersTimeoutMs = settings.limits.prefaceTimeoutMs;
    this.listeners.trust(settings.proxyFrom);
  }

  /** See `PlaneContext.openOn`. */
  openOn(plugin: string, node: NodeId, purpose: string, info: ConnectionInfo): Promise<ByteStream> {
    if (!this.neighbours) throw new GatewayError("dial-failed", "There is no other data plane");
    const service = { plugin, purpose };
    return this.neighbours.open(node, { connection: info.id, sslRequested: false, service }, info);
  }

  /** How many connections are open here. */
  get size(): number {
    return this.#connections.size;
  }

  /** At most `limit` rows, oldest first. */
  rows(limit: number, filter?: string): ConnectionRow[] {
    return this.#connections.values().map((connection) => connection.record.row())
      .filter(connectionFilter(filter)).take(limit).toArray();
  }

  /** Ends one connection. False when there is none with this id. */
  closeConnection(id: string): boolean {
    const connection = this.#connections.get(id);
    connection?.end("closed_by_admin");
    return connection !== undefined;
  }

  /** Ends a connection for the plugin that decided on it, and for no other. */
  endForPlugin(plugin: string, id: string, result: string): void {
    const connection = this.#connections.get(id);
    if (connection?.record.plugin?.name !== plugin) return;
    connection.end(END_WORD.test(result) ? result : "closed_by_plugin");
  }

  /** See `PlaneContext.trace`. */
  trace(id: string, name: StepName, startedAt: number, attributes: StepAttributes, failure?: string): void {
    this.#connections.get(id)?.trace?.step(name, startedAt, attributes, failure);
  }

  /** What is open by the decisions of a plugin that will not be asked about it again. */
  openOf(plugin: string): ConnectionInfo[] {
    return this.#connections.values()
      .map(({ record }) => record)
      .filter((record) => record.plugin?.name === plugin && record.isDecided && record.state !== "refused")
      .flatMap(({ info }) => info ? [info] : [])
      .toArray();
  }

  snapshot(): MetricsSnapshot {
    return this.metrics.snapshot(
      this.#connections.values().map(({ record: { plugin, sent, received } }) => ({
        plugin: plugin?.name,
        bytesIn: sent.bytes,
        bytesOut: received.bytes,
      })),
    );
  }

  /** Resolves when no connection is open any more; call `listeners.stop()` first. */
  whenEmpty(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    this.#empty ??= Promise.withResolvers();
    return this.#empty.promise;
  }

  /** Ends everything at once. Harmless when called twice. */
  async close(): Promise<void> {
    const accepted = this.listeners.stop();
    this.datagrams.close();
    this.router.release();
    await accepted; // what was just being accepted is among the connections then
    for (const connection of this.#connections.values()) connection.end("drained");
    this.awaited.close();
    await this.whenEmpty();
    this.router.close();
    this.terminator.close();
    await this.redirects[Symbol.asyncDispose]();
    await this.challenges[Symbol.asyncDispose]();
    this.goodbyes.close();
    this.patience.close();
    for (const queues of [this.#queues, ...this.#retired]) queues.close();
  }

  #admitHandedOver(): "max_connections" | undefined {
    if (this.#handedOver >= this.#queues.limits.maxConnections) return "max_connections";
    this.#handedOver++;
    return undefined;
  }

  /** Limits first, before a byte is read or anything is allocated for the stranger. */
  #admit(conn: Deno.TcpConn, listener: Listener): void {
    try {
      conn.setNoDelay();
    } catch { // the client has left already
      closeQuietly(conn);
      return;
    }
    const { hostname, port } = conn.remoteAddr;
    const peer = { address: canonicalAddress(hostname), port };
    // Behind a trusted proxy every connection is from the proxy: its clients are counted once they are known.
    const limits = listener.proxyFrom.has(peer.address)
      ? { ...this.#queues.limits, ...NO_SOURCE_LIMITS }
      : this.#queues.limits;
    const broken = listener.kind === "plane"
      ? this.#admitHandedOver()
      : this.limits.admit(peer.address, limits);
    if (broken !== undefined) {
      closeQuietly(conn);
      this.metrics.rejected(broken);
      if (this.refusals.may(`${broken} ${peer.address}`)) {
        this.log.warn("connection_refused", {
          source: peer.address,
          listener: listener.address,
          result: broken,
        });
      }
      return;
    }
    const id = `${this.idPrefix}${(this.#lastId++).toString(36)}`;
    const connection = new Connection(this, listener, conn, peer, id);
    this.#connections.set(id, connection);
    this.onAccepted?.(connection.record);
    void connection.serve().catch((error) => {
      this.log.error("connection_error", { connection: id, reason: messageOf(error) });
    }).then(() => {
      this.#connections.delete(id);
      if (listener.kind === "plane") this.#handedOver--;
      else this.limits.release(peer.address, limits);
      if (this.#connections.size > 0) return;
      this.#empty?.resolve();
      this.#empty = undefined;
    });
  }
}

const NO_ACME: PlaneAcme = { awaited: [], challenges: {} };

/** How a plugin may call the end of a connection: it becomes the label of a metric. */
const END_WORD = /^[a-z][a-z_]{0,39}$/;

const NO_SOURCE_LIMITS: SourceLimits = { maxConnectionsPerSource: 0, maxAcceptRatePerSource: 0 };
