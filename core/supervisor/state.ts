import type { AcmeSettings } from "../acme/contract.ts";
import type { GatewayConfig } from "../config/config.ts";
import type { WorkerPermissions } from "../config/permissions.ts";
import { SharedLimits } from "../data_plane/limits.ts";
import type { PlaneMethods } from "../data_plane/methods.ts";
import type { PlaneSettings } from "../data_plane/settings.ts";
import type { CertificateRow } from "../data_plane/snapshot.ts";
import { messageOf } from "../errors.ts";
import { createLog, type Log, type LogEvent } from "../log.ts";
import type { LogBatchMethods } from "../log_batch.ts";
import { formatHostPort } from "../net/address.ts";
import type { PluginHooks } from "../plugin/host.ts";
import type { PluginWorkerMethods } from "../plugin/worker.ts";
import { RegistryHub } from "../registry/hub.ts";
import type { NodeId } from "../registry/registry.ts";
import type { CertificateMaterial } from "../tls/certificates.ts";
import type { AcmeUnit } from "./acme_unit.ts";
import { certificateRows } from "./certificate_rows.ts";
import { type IssueCertificate, IssuedCertificates } from "./issued_certificates.ts";
import type { LogWriter } from "./log_writer.ts";
import type { ManagedWorker, WorkerTimes } from "./managed_worker.ts";
import { warnOfMissingCertificates } from "./missing_certificates.ts";
import type { CheckedPlugin } from "./plugins.ts";
import { RecentEvents } from "./recent_events.ts";

/** A config that was checked whole, plugins included. */
export interface Prepared {
  readonly config: GatewayConfig;
  readonly plugins: readonly CheckedPlugin[];
  /** Absent: no certificate is asked for. */
  readonly acme?: AcmeUse;
}

/** What the worker that asks for certificates gets. */
export interface AcmeUse {
  readonly settings: AcmeSettings;
  readonly permissions: WorkerPermissions;
}

/** An isolated plugin at work. */
export interface PluginUnit {
  readonly worker: ManagedWorker<PluginWorkerMethods>;
  hooks: PluginHooks;
}

/** What all that starts, reloads and ends the gateway's parts has in common: the config of now, and the parts. */
export class GatewayState {
  readonly log: Log;
  readonly writer: LogWriter;
  readonly recent = new RecentEvents();
  /** How every worker is watched. */
  readonly times: Partial<WorkerTimes>;
  readonly limits = new SharedLimits();
  planes: readonly ManagedWorker<PlaneMethods>[] = [];
  readonly pluginUnits = new Map<string, PluginUnit>();
  /** Listener's address in the config → port as bound, so that a data plane that is started anew finds it again. */
  readonly ports = new Map<string, number>();
  prepared: Prepared;
  /** Those of the config. */
  certificates: readonly CertificateMaterial[] = [];
  /** Absent: no certificate is asked for. */
  acme: AcmeUnit | undefined;
  /** As bound; empty until it is. */
  adminAddress = "";
  /** Nothing is accepted any more. */
  draining = false;
  /** Who holds which name, for the plugins. */
  readonly registries: RegistryHub;
  /** By which data planes know each other; see `handover.ts`. */
  readonly handoverSecret: Uint8Array = crypto.getRandomValues(new Uint8Array(32));
  /** Data plane → where it takes what others hand over. */
  readonly nodePorts = new Map<NodeId, number>();
  readonly #issued: IssuedCertificates;
  readonly #isDevelopment: boolean;

  constructor(
    prepared: Prepared,
    writer: LogWriter,
    times: Partial<WorkerTimes>,
    issueCertificate?: IssueCertificate,
  ) {
    this.#issued = new IssuedCertificates(issueCertificate);
    this.#isDevelopment = issueCertificate !== undefined;
    this.registries = new RegistryHub({
      claimed: async (name, value) => {
        await this.certify(name);
        await this.acme?.claimed(name, value);
      },
      ended: (name) => this.acme?.ended(name),
    });
    this.prepared = prepared;
    this.writer = writer;
    this.times = times;
    this.log = createLog("supervisor", prepared.config.log.level, (event) => this.#tell(event));
  }

  get config(): GatewayConfig {
    return this.prepared.config;
  }

  get plugins(): readonly CheckedPlugin[] {
    return this.prepared.plugins;
  }

  /** What the data planes work by, now. */
  settings(): PlaneSettings {
    const { listeners, limits, admin } = this.config;
    const https = listeners.find((listener) => listener.kind === "stream");
    return {
      limits,
      certificates: [...this.certificates, ...this.acme?.certificates() ?? [], ...this.#issued.all()],
      ...(this.acme && { acme: this.acme.forPlanes() }),
      nodes: Object.fromEntries(this.nodePorts),
      adminAddress: this.adminAddress || formatHostPort({ host: admin.hostname, port: admin.port }),
      httpsPort: (https && (this.ports.get(https.address) ?? https.port)) || 443,
      proxyFrom: Object.fromEntries(listeners.map(({ address, proxyFrom }) => [address, proxyFrom])),
    };
  }

  /** Gives every data plane the settings of now. One that dies meanwhile gets them when it is back. */
  async configurePlanes(): Promise<void> {
    const settings = this.settings();
    await Promise.allSettled(this.planes.map(({ rpc }) => rpc?.call("configure", settings)));
  }

  /** There may be a certificate to be had for this name: somebody holds it now. Never rejects. */
  async certify(name: string): Promise<void> {
    try {
      if (await this.#issued.ensure(name, this.certificates)) await this.configurePlanes();
    } catch (error) {
      this.log.error("certificate_not_issued", { name, reason: messageOf(error) });
    }
  }

  /** Says which names are out of reach for want of one. */
  tellMissingCertificates(): void {
    const { challenges } = this.config.tls.acme ?? {};
    warnOfMissingCertificates(this.plugins, this.settings().certificates, this.log, challenges);
  }

  /** What is told of every certificate. */
  certificateRows(): CertificateRow[] {
    const { certificates: files, acme } = this;
    const issued = this.#issued.all();
    const sources = { files, issued, isDevelopment: this.#isDevelopment, acme: acme?.report };
    return certificateRows(sources, Date.now());
  }

  #tell(event: LogEvent): void {
    this.writer.write(event);
    this.recent.add(event);
  }

  /** What every worker may call: it reports what happens. */
  logMethods(): LogBatchMethods {
    return {
      log: (events: readonly LogEvent[], dropped: number) => {
        for (const event of events) {
          try {
            this.#tell(event);
          } catch { // it is no event at all: the others of its batch are
            this.writer.addDropped(1);
          }
        }
        if (dropped > 0) this.writer.addDropped(dropped);
      },
    };
  }
}
