import type {
  ClosedEvent,
  ConnectionId,
  ConnectionInfo,
  Decision,
  NumberSample,
  Plugin,
  PluginContext,
  PluginFiles,
  PluginStatus,
  RouteInfo,
} from "../../core/plugin/mod.ts";
import type { DatabaseState } from "./access.ts";
import { AccessSource, type OpenDatabase } from "./access_source.ts";
import { Admission, type Scope } from "./admission.ts";
import { type Attempt, Audit } from "./audit.ts";
import type { Clock } from "./clock.ts";
import type { MtlsConfig } from "./config.ts";
import { Counters } from "./counters.ts";
import { Guard, type Verdicted } from "./guard.ts";
import { IdentityFault, type IdentityFaultCode } from "./identity.ts";
import { connectIdOf } from "./names.ts";
import type { OpenConnection } from "./open_connections.ts";
import type { Ending } from "./outcome.ts";
import { makePolicy, type Policy } from "./policy.ts";
import { metricsOf, routesOf, statusOf } from "./report.ts";
import { parseTarget } from "./target.ts";

/** What the plugin needs from outside; tests hand in their own. */
export interface MtlsTools {
  readonly clock: Clock;
  readonly openDatabase: OpenDatabase;
}

/** Lets in who shows a certificate of somebody that the database knows, and sees to it that they may stay. */
export class MtlsPlugin implements Plugin {
  readonly #context: PluginContext;
  readonly #clock: Clock;
  readonly #audit: Audit;
  readonly #counters: Counters;
  readonly #source: AccessSource;
  readonly #guard: Guard;
  readonly #admission: Admission;
  /** Taken over from an instance that has crashed, and not looked at yet. */
  readonly #adopted = new Map<ConnectionId, ConnectionInfo>();
  #policy: Policy;

  private constructor(policy: Policy, source: AccessSource, context: PluginContext, clock: Clock) {
    const { log } = context;
    this.#context = context;
    this.#clock = clock;
    this.#policy = policy;
    this.#source = source;
    this.#audit = new Audit(log);
    this.#counters = new Counters(context.name);
    this.#guard = new Guard({
      clock,
      log,
      database: () => this.#source.database,
      targetOf: (address) => parseTarget(address, this.#policy.config.defaultPort),
      endConnection: (connection, ending) => context.endConnection(connection, ending),
      ended: (connection, why) => {
        source.forget(); // or who is turned out would come back by an older answer
        this.#ended(connection, connection.target, why);
      },
    }, policy.config.recheckIntervalMs);
    this.#admission = new Admission({
      clock,
      log,
      source,
      audit: this.#audit,
      counters: this.#counters,
      guard: this.#guard,
      policy: () => this.#policy,
    });
  }

  /** @throws {GatewayError} `certificate-invalid`, naming the file. A database that is down is no reason not to start. */
  static async start(config: MtlsConfig, context: PluginContext, tools: MtlsTools): Promise<MtlsPlugin> {
    const policy = await makePolicy(config, context.files);
    const told: { guard?: Guard } = {}; // until it is there, nobody was let in
    const events = {
      changed: () => told.guard?.databaseChanged(),
      stateChanged: ({ up }: DatabaseState) => void (up && told.guard?.databaseUp()),
    };
    const { clock, openDatabase } = tools;
    const source = await AccessSource.open(config, context.files, openDatabase, {
      events,
      log: context.log,
      clock,
    });
    const plugin = new MtlsPlugin(policy, source, context, clock);
    told.guard = plugin.#guard;
    return plugin;
  }

  route(connection: ConnectionInfo, scope: Scope): Decision | undefined | Promise<Decision> {
    const connectId = connectIdOf(connection, this.#policy.config.domain);
    if (connectId === undefined) return undefined;
    const { terminated } = connection;
    return terminated === undefined
      ? this.#admission.ask(connection, connectId)
      : this.#admission.decide(connection, connectId, terminated, scope);
  }

  closed(event: ClosedEvent): void {
    this.#admission.closed(event);
    this.#adopted.delete(event.connection);
    this.#guard.closed(event.connection);
  }

  adopt(connections: readonly ConnectionInfo[]): void {
    for (const connection of connections) this.#adopted.set(connection.id, connection);
    this.#guard.inTurn(() => connections, ({ id }) => this.#takeOver(id));
  }

  async reload(config: unknown, files: PluginFiles): Promise<void> {
    const checked = config as MtlsConfig;
    const policy = await makePolicy(checked, files);
    await this.#source.reload(checked, files);
    const { trust, config: { defaultPort } } = this.#policy;
    this.#policy = policy;
    this.#admission.failuresPerMinute = checked.failuresPerMinute;
    this.#guard.recheckIntervalMs = checked.recheckIntervalMs;
    if (defaultPort !== checked.defaultPort) this.#guard.databaseChanged(); // targets without a port have moved
    const isCovered = policy.trust.includes(trust); // spares signatures when there are new lists only
    this.#guard.lookAgain((connection) => this.#faultOf(connection, isCovered));
  }

  status(): PluginStatus {
    return statusOf(this.#policy, this.#source, this.#guard);
  }

  routes(): RouteInfo[] {
    return routesOf(this.#policy.config);
  }

  metrics(): NumberSample[] {
    return metricsOf(this.#counters, this.#source, this.#guard);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#guard[Symbol.asyncDispose](), this.#source[Symbol.asyncDispose]()]);
  }

  /** What is wrong with the certificate of somebody who was let in, by the CAs and lists of now. */
  #faultOf({ chain }: OpenConnection, isCovered: boolean): Verdicted | undefined {
    const { trust } = this.#policy;
    if (!isCovered && !trust.covers(chain)) return CA_REMOVED;
    try {
      trust.identify(chain, this.#clock.wall());
      return undefined;
    } catch (error) {
      if (!(error instanceof IdentityFault)) throw error;
      // Without a current list nothing new is known of anybody: nobody gets in, and nobody has to go.
      return error.code === "crl_unusable" ? undefined : verdictOf(error);
    }
  }

  /** Where it went is for the database to say, at the recheck that this asks for. */
  #takeOver(id: ConnectionId): void {
    const connection = this.#adopted.get(id);
    if (!this.#adopted.delete(id) || connection === undefined) return; // it has ended already
    const { terminated, source, tls } = connection;
    const chain = terminated?.clientCertificates;
    if (chain === undefined) return; // not let in yet: it will be asked about
    const { config: { domain }, trust } = this.#policy;
    const connectId = connectIdOf(connection, domain) ?? tls?.serverName ?? "";
    const attempt = { connection: id, source, connectId };
    try {
      if (!trust.covers(chain)) return this.#turnOut(attempt, CA_REMOVED);
      const now = this.#clock.wall();
      const open = {
        ...attempt,
        identity: trust.identify(chain, now),
        chain,
        expiresAt: trust.expiryOf(chain, now),
      };
      this.#guard.admit({ ...open, target: undefined, ending: undefined }, undefined);
    } catch (error) {
      if (!(error instanceof IdentityFault)) throw error;
      this.#turnOut(attempt, verdictOf(error));
    }
  }

  #turnOut(attempt: Attempt, why: Verdicted): void {
    this.#ended(attempt, undefined, why);
    this.#context.endConnection(attempt.connection, why.ending);
  }

  #ended(attempt: Attempt, target: string | undefined, { ending, detail }: Verdicted): void {
    this.#counters.ended(ending);
    this.#audit.ended(attempt, target, ending, detail);
  }
}

const CA_REMOVED: Verdicted = { ending: "ca_removed", detail: "Its CA is no longer configured" };

const ENDING_BY_FAULT: Partial<Record<IdentityFaultCode, Ending>> = {
  revoked: "certificate_revoked",
  ca_expired: "certificate_expired",
};

function verdictOf({ code, message }: IdentityFault): Verdicted {
  return { ending: ENDING_BY_FAULT[code] ?? "identity_refused", detail: message };
}
