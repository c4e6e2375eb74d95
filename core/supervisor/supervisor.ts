import type { AdminWorkerMethods } from "../admin/contract.ts";
import { adminPermissions } from "../admin/permissions.ts";
import type { GatewayConfig, ListenerConfig } from "../config/config.ts";
import type { WorkerPermissions } from "../config/permissions.ts";
import type { SharedLimits } from "../data_plane/limits.ts";
import { openListener } from "../data_plane/listen.ts";
import type { PlaneMethods } from "../data_plane/methods.ts";
import type { CertificateRow } from "../data_plane/snapshot.ts";
import type { Log } from "../log.ts";
import { formatHostPort } from "../net/address.ts";
import type { NumberSample } from "../plugin/reports.ts";
import { loadCertificates } from "../tls/certificates.ts";
import { AcmeUnit } from "./acme_unit.ts";
import type { IssueCertificate } from "./issued_certificates.ts";
import { orderSamples } from "./certificate_rows.ts";
import type { LogWriter } from "./log_writer.ts";
import { ManagedWorker, type WorkerTimes } from "./managed_worker.ts";
import { MutualTlsProof } from "./mutual_tls.ts";
import { Overview } from "./overview.ts";
import { planPlane } from "./plane_worker.ts";
import { planPluginUnit } from "./plugin_worker.ts";
import type { CheckedPlugin } from "./plugins.ts";
import type { RecentEvents } from "./recent_events.ts";
import { adminToken, Reloading } from "./reloading.ts";
import { GatewayState, type PluginUnit, type Prepared } from "./state.ts";
import { drainPlane, stopAll, within } from "./stopping.ts";
import { guardChildren, type Watchdog } from "./watchdog.ts";
import { Wiring } from "./wiring.ts";

export { PLANE_PERMISSIONS } from "./plane_worker.ts";
export type { PluginUnit, Prepared };

/** How the gateway is run. */
export interface SupervisorOptions {
  /** Data planes, at least one. */
  readonly threads: number;
  readonly writer: LogWriter;
  /** How every worker is watched. */
  readonly times?: Partial<WorkerTimes>;
  /** Makes a certificate for a name that a plugin's client has come to hold, where there is none. */
  readonly issueCertificate?: IssueCertificate | undefined;
  /** What one is made for from the start. */
  readonly certifiedNames?: readonly string[] | undefined;
}

/**
 * Starts every part of the gateway in a worker with just its permissions, and keeps them going. It is the only part
 * with more permissions than one job needs, and the only one that never touches a byte from the network.
 */
export class Supervisor {
  readonly startedAt = Date.now();
  readonly #state: GatewayState;
  readonly #overview = new Overview(this);
  readonly #admin: ManagedWorker<AdminWorkerMethods>;
  readonly #reloading: Reloading;
  #watchdog: Watchdog | undefined;
  #stopping: Promise<void> | undefined;

  private constructor(
    prepared: Prepared,
    { threads, writer, times = {}, issueCertificate }: SupervisorOptions,
  ) {
    const state = this.#state = new GatewayState(prepared, writer, times, issueCertificate);
    const [wiring, proof] = [new Wiring(state), new MutualTlsProof(state)];
    for (const plugin of prepared.plugins) {
      if (plugin.isolation === "worker") {
        state.pluginUnits.set(plugin.name, planPluginUnit(state, wiring, plugin));
      }
    }
    if (prepared.acme) state.acme = new AcmeUnit(state, prepared.acme);
    const idPrefix = `${this.startedAt.toString(36)}-`;
    const common = { state, wiring, proof, idPrefix, reusePort: threads > 1 };
    state.planes = Array.from({ length: threads }, (_, index) => planPlane({ ...common, index }));
    this.#admin = this.#adminWorker();
    this.#reloading = new Reloading(state, proof, this.#admin);
  }

  /**
   * Brings the whole gateway up: plugins first, then the data planes, the admin side last.
   *
   * @throws {GatewayError} When a part does not come up; nothing is left running then.
   */
  static async start(prepared: Prepared, options: SupervisorOptions): Promise<Supervisor> {
    const supervisor = new Supervisor(prepared, options);
    try {
      await supervisor.#start(options.certifiedNames ?? []);
      return supervisor;
    } catch (error) {
      await supervisor.stop();
      throw error;
    }
  }

  get log(): Log {
    return this.#state.log;
  }

  get config(): GatewayConfig {
    return this.#state.config;
  }

  get plugins(): readonly CheckedPlugin[] {
    return this.#state.plugins;
  }

  get planes(): readonly ManagedWorker<PlaneMethods>[] {
    return this.#state.planes;
  }

  /** Of the worker that asks for certificates, where there is one. */
  get acmePermissions(): WorkerPermissions | undefined {
    return this.#state.prepared.acme?.permissions;
  }

  /** The isolated plugins by name. */
  get pluginUnits(): ReadonlyMap<string, PluginUnit> {
    return this.#state.pluginUnits;
  }

  /** Those of files, and those that were made while it runs. */
  get certificates(): readonly CertificateRow[] {
    return this.#state.certificateRows();
  }

  get limits(): SharedLimits {
    return this.#state.limits;
  }

  /** What happened last. */
  get recent(): RecentEvents {
    return this.#state.recent;
  }

  get draining(): boolean {
    return this.#state.draining;
  }

  /** The admin side's address as bound: `127.0.0.1:9090`. */
  get adminAddress(): string {
    return this.#state.adminAddress;
  }

  /** What the gateway listens on, as bound. */
  get listeners(): { readonly address: string; readonly kind: ListenerConfig["kind"] }[] {
    return this.config.listeners.map((listener) => ({
      address: formatHostPort({
        host: listener.hostname,
        port: this.#state.ports.get(listener.address) ?? listener.port,
      }),
      kind: listener.kind,
    }));
  }

  /** What is counted of orders for certificates. */
  acmeSamples(): NumberSample[] {
    return orderSamples(this.#state.acme?.report.orders);
  }

  /** Whether the admin side is up. */
  get adminUp(): boolean {
    return this.#admin.up;
  }

  /** Why the last reload was refused, if it was. */
  get reloadError(): string | undefined {
    return this.#reloading.error;
  }

  set reloadError(reason: string | undefined) {
    this.#reloading.error = reason;
  }

  async #start(names: readonly string[]): Promise<void> {
    const state = this.#state;
    state.certificates = await loadCertificates(this.config.tls.certificates, this.log);
    for (const name of names) await state.certify(name);
    state.tellMissingCertificates();
    if (this.planes.length > 1) this.config.listeners.forEach(checkFree);
    this.#watchdog = guardChildren(this.plugins, this.log);
    const workers = [...this.pluginUnits.values()].map(({ worker }) => worker);
    await Promise.all(
      [...workers, ...(state.acme ? [state.acme.worker] : [])].map((worker) => worker.start()),
    );
    // To prove that a client certificate is required takes a handshake, and that takes the server's.
    await state.acme?.ahead(this.plugins.flatMap(({ traits }) => traits.mutualTls ?? []));
    for (const plane of this.planes) await plane.start(); // one by one: the first finds the port of a listener with 0
    await this.#admin.start();
    state.acme?.begin();
  }

  #adminWorker(): ManagedWorker<AdminWorkerMethods> {
    const state = this.#state;
    let used = state.prepared;
    return new ManagedWorker<AdminWorkerMethods>({
      name: "admin",
      entry: new URL("../admin/worker.ts", import.meta.url),
      permissions: adminPermissions(this.config.admin),
      methods: { ...state.logMethods(), ...this.#overview.methods() },
      times: state.times,
      setUp: async (rpc) => {
        used = state.prepared;
        const { admin: { hostname, port, hosts }, log: { level: logLevel } } = used.config;
        const bound = await rpc.call("start", {
          hostname,
          port,
          hosts,
          logLevel,
          ...adminToken(used.config),
        });
        state.adminAddress = formatHostPort({ host: bound.hostname, port: bound.port });
      },
      begin: async (rpc) => {
        if (used !== state.prepared) await rpc.call("reload", adminToken(this.config)); // nobody told it meanwhile
        await state.configurePlanes(); // now with the admin side's address as bound
      },
    }, this.log);
  }

  /**
   * Takes a new config that was checked whole, without closing a connection. When one part refuses it, all go back
   * to the old one.
   *
   * @returns What it asks for that needs a restart, one line each; that part is left as it was.
   * @throws {GatewayError} `certificate-invalid`: nothing has changed. `plugin-failed`, `mutual-tls-unproven`: the old
   * config is back.
   */
  reload(next: Prepared): Promise<readonly string[]> {
    return this.#reloading.reload(next);
  }

  /** Loads the certificates anew; when they are bad, the old ones stay and the log says so. */
  reloadCertificates(): Promise<void> {
    return this.#reloading.reloadCertificates();
  }

  /**
   * Stops to accept, waits for open connections to end, at most `drainTimeout`, and stops.
   *
   * @returns Whether every connection ended by itself.
   */
  async drain(): Promise<boolean> {
    this.#state.draining = true;
    const { drainTimeoutMs } = this.config.limits;
    this.log.info("draining", { connections: this.limits.open, drainTimeoutMs });
    const drains = Promise.all(this.planes.map(drainPlane));
    const inTime = await within(drainTimeoutMs, drains);
    if (!inTime) this.log.warn("drain_timeout", { connections: this.limits.open });
    // A stop in between has closed what was left.
    const drained = inTime && this.#stopping === undefined && (await drains).every(Boolean);
    await this.stop();
    return drained;
  }

  /** Ends everything at once, in order. Harmless when repeated. */
  stop(): Promise<void> {
    this.#state.draining = true;
    return this.#stopping ??= this.#stop();
  }

  async #stop(): Promise<void> {
    await stopAll(this.planes);
    await stopAll([...this.pluginUnits.values()].map(({ worker }) => worker));
    this.#state.acme?.stop();
    await stopAll([this.#admin, ...(this.#state.acme ? [this.#state.acme.worker] : [])]);
    await this.#watchdog?.stop();
    this.#state.registries[Symbol.dispose]();
    this.log.info("stopped");
    await this.#state.writer.flush();
  }
}

/**
 * With several data planes on one port, the system would let another gateway share it as well. So it is tried
 * alone first.
 *
 * @throws {GatewayError} `address-in-use`, as for a single data plane.
 */
function checkFree(listener: ListenerConfig): void {
  if (listener.port !== 0) openListener({ ...listener, reusePort: false }).close();
}
