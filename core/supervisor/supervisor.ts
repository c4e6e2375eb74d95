import type { AdminWorkerMethods } from "../admin/contract.ts";
import { adminPermissions } from "../admin/permissions.ts";
import type { GatewayConfig, ListenerConfig } from "../config/config.ts";
import { NO_PERMISSIONS, type WorkerPermissions } from "../config/permissions.ts";
import { openLedger, SharedLimits } from "../data_plane/limits.ts";
import { openListener } from "../data_plane/listen.ts";
import type { PlaneMethods } from "../data_plane/methods.ts";
import type { PlaneSettings } from "../data_plane/settings.ts";
import { messageOf } from "../errors.ts";
import { createLog, type Log, type LogEvent } from "../log.ts";
import type { LogBatchMethods } from "../log_batch.ts";
import { formatHostPort } from "../net/address.ts";
import type { PluginHooks } from "../plugin/host.ts";
import type { PluginWorkerMethods } from "../plugin/worker.ts";
import type { Rpc } from "../rpc.ts";
import { type CertificateMaterial, loadCertificates } from "../tls/certificates.ts";
import { codeFolders, foldersToSeal } from "./code_folders.ts";
import type { LogWriter } from "./log_writer.ts";
import { ManagedWorker, type WorkerTimes } from "./managed_worker.ts";
import { Overview } from "./overview.ts";
import { type CheckedPlugin, forPlane } from "./plugins.ts";
import { planReload } from "./reload.ts";

/** How long a worker may take to end in good order, in milliseconds. */
const STOP_TIMEOUT_MS = 5000;

/** A config that was checked whole, plugins included. */
export interface Prepared {
  readonly config: GatewayConfig;
  readonly plugins: readonly CheckedPlugin[];
}

/** How the gateway is run. */
export interface SupervisorOptions {
  /** Data planes, at least one. */
  readonly threads: number;
  readonly writer: LogWriter;
  /** How every worker is watched. */
  readonly times?: Partial<WorkerTimes>;
}

/** What a reload swaps in one step. */
interface Swapped {
  readonly prepared: Prepared;
  readonly certificates: readonly CertificateMaterial[];
}

/** An isolated plugin at work. */
export interface PluginUnit {
  readonly worker: ManagedWorker<PluginWorkerMethods>;
  hooks: PluginHooks;
}

/** What a data plane may do: move bytes. It reads no file, runs nothing, and sees no environment. */
export const PLANE_PERMISSIONS: WorkerPermissions = { ...NO_PERMISSIONS, net: true };

/**
 * Starts every part of the gateway in a worker with just its permissions, and keeps them going. It is the only part
 * with more permissions than one job needs, and the only one that never touches a byte from the network.
 */
export class Supervisor {
  readonly log: Log;
  readonly startedAt = Date.now();
  readonly planes: readonly ManagedWorker<PlaneMethods>[];
  readonly pluginUnits = new Map<string, PluginUnit>();
  readonly limits = new SharedLimits();
  readonly #writer: LogWriter;
  readonly #times: Partial<WorkerTimes>;
  readonly #overview = new Overview(this);
  readonly #admin: ManagedWorker<AdminWorkerMethods>;
  /** Listener's address in the config → port as bound, so that a data plane that is started anew finds it again. */
  readonly #ports = new Map<string, number>();
  /** Plane/plugin → which starts of the two have a channel. */
  readonly #wired = new Map<string, string>();
  #prepared: Prepared;
  #certificates: readonly CertificateMaterial[] = [];
  #adminAddress = "";
  #draining = false;
  #stopping: Promise<void> | undefined;
  /** Settles when the last reload that was asked for is over: one runs at a time. */
  #reloading: Promise<unknown> = Promise.resolve();
  /** Why certificates that changed by themselves were refused. */
  #certificateError: string | undefined;
  /** Why the last reload was refused, if it was. */
  reloadError: string | undefined;

  private constructor(prepared: Prepared, { threads, writer, times = {} }: SupervisorOptions) {
    this.#prepared = prepared;
    this.#writer = writer;
    this.#times = times;
    this.log = createLog("supervisor", prepared.config.log.level, (event) => writer.write(event));
    for (const plugin of prepared.plugins) {
      if (plugin.isolation === "worker") this.pluginUnits.set(plugin.name, this.#pluginUnit(plugin));
    }
    const prefix = `${this.startedAt.toString(36)}-`;
    this.planes = Array.from({ length: threads }, (_, index) => this.#plane(index, prefix, threads > 1));
    this.#admin = this.#adminWorker();
  }

  /**
   * Brings the whole gateway up: plugins first, then the data planes, the admin side last.
   *
   * @throws {GatewayError} When a part does not come up; nothing is left running then.
   */
  static async start(prepared: Prepared, options: SupervisorOptions): Promise<Supervisor> {
    const supervisor = new Supervisor(prepared, options);
    try {
      await supervisor.#start();
      return supervisor;
    } catch (error) {
      await supervisor.stop();
      throw error;
    }
  }

  get config(): GatewayConfig {
    return this.#prepared.config;
  }

  get plugins(): readonly CheckedPlugin[] {
    return this.#prepared.plugins;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** The admin side's address as bound: `127.0.0.1:9090`. */
  get adminAddress(): string {
    return this.#adminAddress;
  }

  /** What the gateway listens on, as bound. */
  get listeners(): { readonly address: string; readonly kind: ListenerConfig["kind"] }[] {
    return this.config.listeners.map((listener) => ({
      address: formatHostPort({
        host: listener.hostname,
        port: this.#ports.get(listener.address) ?? listener.port,
      }),
      kind: listener.kind,
    }));
  }

  /** Whether the admin side is up. */
  get adminUp(): boolean {
    return this.#admin.up;
  }

  async #start(): Promise<void> {
    this.#certificates = await loadCertificates(this.config.tls.certificates, this.log);
    if (this.planes.length > 1) this.config.listeners.forEach(checkFree);
    await Promise.all([...this.pluginUnits.values()].map(({ worker }) => worker.start()));
    for (const plane of this.planes) await plane.start(); // one by one: the first finds the port of a listener with 0
    await this.#admin.start();
  }

  #settings(): PlaneSettings {
    const https = this.config.listeners.find((listener) => listener.kind === "stream");
    return {
      limits: this.config.limits,
      certificates: this.#certificates,
      httpsPort: (https && (this.#ports.get(https.address) ?? https.port)) || 443,
      proxyFrom: Object.fromEntries(
        this.config.listeners.map(({ address, proxyFrom }) => [address, proxyFrom]),
      ),
    };
  }

  #plane(index: number, prefix: string, reusePort: boolean): ManagedWorker<PlaneMethods> {
    const inline = this.plugins.filter(({ isolation }) => isolation === "inline").map(({ module }) => module);
    const folders = codeFolders(...inline);
    let starts = 0;
    let used = this.#prepared;
    let ledger = openLedger();
    const name = `data-plane-${index}`;
    return new ManagedWorker<PlaneMethods>({
      name,
      entry: new URL("../data_plane/worker.ts", import.meta.url),
      permissions: { ...PLANE_PERMISSIONS, read: folders },
      methods: this.#logMethods(),
      times: this.#times,
      setUp: async (rpc) => {
        used = this.#prepared;
        ledger = openLedger();
        const identity = {
          index,
          idPrefix: `${prefix}${index}.${(starts++).toString(36)}-`,
          logLevel: this.config.log.level,
          sharedLimits: this.limits.memory,
          ledger,
        };
        await rpc.call("start", identity, this.#settings());
        await rpc.call("usePlugins", this.plugins.map(forPlane), folders);
      },
      begin: async (rpc) => {
        this.#wireAll();
        if (used !== this.#prepared) await rpc.call("usePlugins", this.plugins.map(forPlane), []); // a reload came between
        if (!this.#draining) await this.#listen(rpc, reusePort);
        await rpc.call("configure", this.#settings()); // now with the ports as bound
      },
      down: () => {
        this.limits.settle(ledger);
        for (const { worker } of this.pluginUnits.values()) worker.rpc?.notify("planeLost", name);
      },
    }, this.log);
  }

  async #listen(rpc: Rpc<PlaneMethods>, reusePort: boolean): Promise<void> {
    for (const listener of this.config.listeners) {
      if (this.#draining) return;
      const port = this.#ports.get(listener.address) ?? listener.port;
      this.#ports.set(listener.address, await rpc.call("listen", { ...listener, port, reusePort }));
    }
  }

  #pluginUnit(plugin: CheckedPlugin): PluginUnit {
    const folders = codeFolders(plugin.module);
    const granted = plugin.permissions.read;
    let used = this.#prepared;
    const unit: PluginUnit = {
      hooks: { dialed: false, closed: false, adopt: false },
      worker: new ManagedWorker({
        name: `plugin:${plugin.name}`,
        entry: new URL("../plugin/worker.ts", import.meta.url),
        permissions: {
          ...plugin.permissions,
          read: granted === true ? true : [...folders, ...(Array.isArray(granted) ? granted : [])],
        },
        methods: this.#logMethods(),
        times: this.#times,
        setUp: async (rpc) => {
          used = this.#prepared;
          unit.hooks = await rpc.call("start", {
            name: plugin.name,
            module: plugin.module,
            ...this.#sectionOf(plugin),
            logLevel: this.config.log.level,
            codeFolders: foldersToSeal(folders, granted),
          });
        },
        begin: async (rpc) => {
          if (used !== this.#prepared) { // a reload came between
            const { config, files } = this.#sectionOf(plugin);
            await rpc.call("reload", config, files);
          }
          this.#wireAll();
        },
        down: () => {
          for (const plane of this.planes) plane.rpc?.notify("disconnectPlugin", plugin.name);
        },
      }, this.log),
    };
    return unit;
  }

  /** As it is now: a reload may have changed it. */
  #sectionOf(plugin: CheckedPlugin): Pick<CheckedPlugin, "config" | "files"> {
    const { config, files } = this.plugins.find(({ name }) => name === plugin.name) ?? plugin;
    return { config, files };
  }

  #adminWorker(): ManagedWorker<AdminWorkerMethods> {
    return new ManagedWorker<AdminWorkerMethods>({
      name: "admin",
      entry: new URL("../admin/worker.ts", import.meta.url),
      permissions: adminPermissions(this.config.admin),
      methods: { ...this.#logMethods(), ...this.#overview.methods() },
      times: this.#times,
      setUp: async (rpc) => {
        const { hostname, port, token, hosts } = this.config.admin;
        const bound = await rpc.call("start", {
          hostname,
          port,
          hosts,
          logLevel: this.config.log.level,
          ...(token !== undefined && { token }),
        });
        this.#adminAddress = formatHostPort({ host: bound.hostname, port: bound.port });
      },
    }, this.log);
  }

  #logMethods(): LogBatchMethods {
    return {
      log: (events: readonly LogEvent[], dropped: number) => {
        for (const event of events) this.#writer.write(event);
        if (dropped > 0) this.#writer.addDropped(dropped);
      },
    };
  }

  /** Gives every plane that is up a channel to every isolated plugin that is up, and leaves those that have one. */
  #wireAll(): void {
    for (const plane of this.planes) {
      for (const [name, unit] of this.pluginUnits) this.#wire(plane, name, unit);
    }
  }

  /** Waits for neither: what is sent to a worker arrives in order, and one that dies is wired when it is back. */
  #wire(plane: ManagedWorker<PlaneMethods>, name: string, { worker, hooks }: PluginUnit): void {
    const [toPlane, toPlugin] = [plane.rpc, worker.rpc];
    const pair = `${plane.name}/${name}`;
    const starts = `${plane.generation}/${worker.generation}`;
    if (!toPlane || !toPlugin || this.#wired.get(pair) === starts) return;
    this.#wired.set(pair, starts);
    const { port1, port2 } = new MessageChannel();
    toPlugin.callWith([port1], "connect", plane.name, port1).catch(() => {});
    toPlane.callWith([port2], "connectPlugin", name, port2, hooks).catch(() => {});
  }

  /**
   * Takes a new config that was checked whole, without closing a connection. When one part refuses it, all go back
   * to the old one.
   *
   * @returns What it asks for that needs a restart, one line each; that part is left as it was.
   * @throws {GatewayError} `certificate-invalid`: nothing has changed. `plugin-failed`: the old config is back.
   */
  reload(next: Prepared): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const certificates = await loadCertificates(next.config.tls.certificates, this.log);
      const { prepared, needRestart } = planReload(this.#prepared, next);
      await this.#swap({ prepared, certificates });
      this.reloadError = this.#certificateError = undefined;
      this.log.info("reloaded", { needRestart: needRestart.join("; ") || undefined });
      return needRestart;
    });
  }

  /** Loads the certificates anew; when they are bad, the old ones stay and the log says so. */
  reloadCertificates(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        this.#certificates = await loadCertificates(this.config.tls.certificates, this.log);
        await Promise.all(this.planes.map(({ rpc }) => rpc?.call("configure", this.#settings())));
        if (this.reloadError === this.#certificateError) this.reloadError = undefined;
        this.#certificateError = undefined;
        this.log.info("certificates_reloaded", { count: this.#certificates.length });
      } catch (error) {
        this.reloadError = this.#certificateError = messageOf(error);
        this.log.error("certificates_refused", { reason: this.reloadError });
      }
    });
  }

  /** Runs the work once all that was asked for before is over. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#reloading.then(work);
    this.#reloading = turn.catch(() => {}); // told to whoever asked
    return turn;
  }

  /** All or nothing: rejects with the first fault, when every part has the old again. */
  async #swap(next: Swapped): Promise<void> {
    const old: Swapped = { prepared: this.#prepared, certificates: this.#certificates };
    const [fault] = await this.#use(next);
    if (fault === undefined) return;
    for (const left of await this.#use(old)) {
      this.log.error("reload_undo_failed", { reason: messageOf(left) });
    }
    throw fault;
  }

  /** Tells every part that is up. Resolves when all have answered, to what went wrong. */
  async #use({ prepared, certificates }: Swapped): Promise<unknown[]> {
    this.#prepared = prepared;
    this.#certificates = certificates;
    const told = await Promise.allSettled([
      ...this.planes.map(async ({ rpc }) => {
        await rpc?.call("usePlugins", prepared.plugins.map(forPlane), []);
        await rpc?.call("configure", this.#settings());
      }),
      ...prepared.plugins.map(({ name, config, files }) =>
        this.pluginUnits.get(name)?.worker.rpc?.call("reload", config, files)
      ),
      this.#admin.rpc?.call("reload", adminToken(prepared.config)),
    ]);
    return told.flatMap((one) => one.status === "rejected" ? [one.reason] : []);
  }

  /**
   * Stops to accept, waits for open connections to end, at most `drainTimeout`, and stops.
   *
   * @returns Whether every connection ended by itself.
   */
  async drain(): Promise<boolean> {
    this.#draining = true;
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
    this.#draining = true;
    return this.#stopping ??= this.#stop();
  }

  async #stop(): Promise<void> {
    await stopAll(this.planes);
    await stopAll([...this.pluginUnits.values()].map(({ worker }) => worker));
    await stopAll([this.#admin]);
    this.log.info("stopped");
    await this.#writer.flush();
  }
}

/** Any worker, as far as ending it goes. */
type Stoppable = Pick<ManagedWorker<{ ping(): void; stop(): unknown }>, "rpc" | "stop">;

async function stopAll(workers: readonly Stoppable[]): Promise<void> {
  await Promise.all(workers.map(async (worker) => {
    const stopped = worker.rpc?.call("stop").catch(() => {}); // it may have died on the way: that ends it as well
    if (stopped) await within(STOP_TIMEOUT_MS, stopped);
    worker.stop();
  }));
}

/** Whether every connection of the plane ended by itself: not when it dies. One that is down has none. */
async function drainPlane({ rpc }: ManagedWorker<PlaneMethods>): Promise<boolean> {
  try {
    await rpc?.call("stopAccepting");
    await rpc?.call("whenEmpty");
    return true;
  } catch {
    return false;
  }
}

/** Whether the work succeeds within the time. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer;
  const late = new Promise<false>((resolve) => timer = setTimeout(resolve, ms, false));
  try {
    return await Promise.race([work.then(() => true, () => false), late]);
  } finally {
    clearTimeout(timer);
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

function adminToken({ admin: { token } }: GatewayConfig): { token?: string } {
  return token === undefined ? {} : { token };
}
