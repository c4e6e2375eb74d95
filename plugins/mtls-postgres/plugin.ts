import type {
  ClosedEvent,
  ConnectionId,
  ConnectionInfo,
  Decision,
  MetricSample,
  Plugin,
  PluginContext,
  PluginFiles,
  PluginStatus,
  Reject,
  RouteInfo,
  TerminatedTls,
} from "../../core/plugin/mod.ts";
import type { DatabaseState } from "./access.ts";
import { AccessSource, type OpenDatabase } from "./access_source.ts";
import { type Attempt, Audit } from "./audit.ts";
import type { Clock } from "./clock.ts";
import type { MtlsConfig } from "./config.ts";
import { Counters } from "./counters.ts";
import { FailureLimits } from "./failure_limits.ts";
import { Guard, type Verdicted } from "./guard.ts";
import { type Identity, IdentityFault } from "./identity.ts";
import { connectIdOf, SELF_TEST_LISTENER } from "./names.ts";
import { type OpenConnection, requestOf } from "./open_connections.ts";
import { countsAgainstSource, rejectReasonOf } from "./outcome.ts";
import { makePolicy, type Policy } from "./policy.ts";
import { Refused } from "./refused.ts";
import { metricsOf, routesOf, statusOf } from "./report.ts";
import { parseTarget } from "./target.ts";
import { expiryOf, type Trust } from "./trust.ts";

/** What the plugin needs from outside; tests hand in their own. */
export interface MtlsTools {
  readonly clock: Clock;
  readonly openDatabase: OpenDatabase;
}

/** Somebody between the first question and the decision. */
interface Pending extends Attempt {
  /** Under which the gateway verifies the certificate; unknown when another instance of the plugin was asked first. */
  readonly trust: Trust | undefined;
}

/** Lets in who shows a certificate of somebody that the database knows, and sees to it that they may stay. */
export class MtlsPlugin implements Plugin {
  readonly #context: PluginContext;
  readonly #clock: Clock;
  readonly #audit: Audit;
  readonly #counters: Counters;
  readonly #limits: FailureLimits;
  readonly #source: AccessSource;
  readonly #guard: Guard;
  readonly #pending = new Map<ConnectionId, Pending>();
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
    this.#limits = new FailureLimits(policy.config.failuresPerMinute);
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

  route(connection: ConnectionInfo): Decision | undefined | Promise<Decision> {
    const connectId = connectIdOf(connection, this.#policy.config.domain);
    if (connectId === undefined) return undefined;
    const { terminated } = connection;
    return terminated === undefined
      ? this.#ask(connection, connectId)
      : this.#decide(connection, connectId, terminated);
  }

  closed({ connection, result }: ClosedEvent): void {
    const pending = this.#pending.get(connection);
    if (pending !== undefined) {
      this.#pending.delete(connection);
      if (result === "tls_no_certificate" || result === "tls_bad_certificate") {
        this.#refuse(pending, new Refused(result, ""), {});
      }
    }
    this.#adopted.delete(connection);
    this.#guard.closed(connection);
  }

  adopt(connections: readonly ConnectionInfo[]): void {
    for (const connection of connections) this.#adopted.set(connection.id, connection);
    this.#guard.inTurn(() => connections, ({ id }) => this.#takeOver(id));
  }

  async reload(config: unknown, files: PluginFiles): Promise<void> {
    const checked = config as MtlsConfig;
    const policy = await makePolicy(checked, files);
    await this.#source.reload(checked, files);
    const { defaultPort } = this.#policy.config;
    this.#policy = policy;
    this.#limits.perMinute = checked.failuresPerMinute;
    this.#guard.recheckIntervalMs = checked.recheckIntervalMs;
    if (defaultPort !== checked.defaultPort) this.#guard.databaseChanged(); // targets without a port have moved
    this.#guard.lookAgain((connection) => this.#faultOf(connection));
  }

  status(): PluginStatus {
    return statusOf(this.#policy, this.#source, this.#guard);
  }

  routes(): RouteInfo[] {
    return routesOf(this.#policy.config);
  }

  metrics(): MetricSample[] {
    return metricsOf(this.#counters, this.#source, this.#guard);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#guard[Symbol.asyncDispose](), this.#source[Symbol.asyncDispose]()]);
  }

  /** The first question: what a client must show, unless it has failed too often. */
  #ask(connection: ConnectionInfo, connectId: string): Decision {
    const { id, source, listener } = connection;
    if (listener === SELF_TEST_LISTENER) return this.#policy.terminate(connection);
    const pending: Pending = { connection: id, source, connectId, trust: this.#policy.trust };
    if (this.#limits.isOver(source.address, this.#clock.monotonic())) {
      return this.#refuse(pending, new Refused("over_limit", "Too many failures of this source"), {});
    }
    this.#pending.set(id, pending);
    return this.#policy.terminate(connection);
  }

  /** The second question: who it is, and whether they may. */
  async #decide(
    { id, source }: ConnectionInfo,
    connectId: string,
    { clientCertificates: chain = [] }: TerminatedTls,
  ): Promise<Decision> {
    const began = this.#clock.monotonic();
    const pending = this.#pending.get(id) ?? { connection: id, source, connectId, trust: undefined };
    this.#pending.set(id, pending);
    const known: { identity?: Identity; cached?: boolean } = {};
    try {
      return await this.#authorize(pending, chain, known, began);
    } catch (error) {
      const refused = Refused.from(error);
      if (refused === undefined) throw error; // the gateway lets nobody in then, and logs why
      const attempt = { ...pending, identity: known.identity };
      return this.#refuse(attempt, refused, { ms: this.#since(began), cached: known.cached ?? false });
    } finally {
      this.#counters.decided(this.#since(began));
      if (this.#pending.get(id) === pending) this.#pending.delete(id);
    }
  }

  /**
   * @param known Filled in as things become known, also when it throws.
   * @throws {Refused | IdentityFault | DatabaseDown}
   */
  async #authorize(
    pending: Pending,
    chain: readonly Uint8Array[],
    known: { identity?: Identity; cached?: boolean },
    began: number,
  ): Promise<Decision> {
    const asked = this.#policy;
    let identity = known.identity = this.#identify(chain, pending.trust);
    const { epoch } = this.#guard;
    const request = requestOf({ identity, connectId: pending.connectId });
    const { answer, cached } = this.#source.decide(request);
    known.cached = cached;
    const verdict = await answer;
    if (this.#pending.get(pending.connection) !== pending) {
      throw new Refused("client_left", "The client left before there was an answer");
    }
    const policy = this.#policy;
    if (policy !== asked) identity = this.#identify(chain, pending.trust);
    if (verdict.kind === "denied") throw new Refused(verdict.reason, "");
    const target = parseTarget(verdict.address, policy.config.defaultPort);
    if (target === undefined) throw this.#badTarget(pending, verdict.address);

    const attempt = { ...pending, identity };
    const expiresAt = expiryOf(chain, this.#clock.wall());
    this.#guard.admit({ ...attempt, chain, expiresAt, target, ending: undefined }, epoch);
    this.#audit.allowed(attempt, target, { ms: this.#since(began), cached });
    return policy.forward(target, identity);
  }

  /**
   * @param verifiedUnder What the gateway has verified the chain under.
   * @throws {Refused | IdentityFault}
   */
  #identify(chain: readonly Uint8Array[], verifiedUnder: Trust | undefined): Identity {
    if (chain.length === 0) throw new Refused("tls_no_certificate", "No certificate after the handshake");
    const { trust } = this.#policy;
    if (
      trust !== verifiedUnder && (!verifiedUnder || !trust.includes(verifiedUnder)) && !trust.covers(chain)
    ) {
      throw new Refused("ca_removed", "The certificate leads to none of the CAs of now");
    }
    return trust.identify(chain, this.#clock.wall());
  }

  #badTarget({ connection, connectId }: Pending, address: string): Refused {
    const message = `internal_ip_addr ${JSON.stringify(address)} is no address`;
    this.#context.log.error("bad_target", { connection, connectId, reason: message });
    return new Refused("bad_target", message);
  }

  #refuse(
    attempt: Attempt,
    { failure, message }: Refused,
    effort: { readonly ms?: number; readonly cached?: boolean },
  ): Reject {
    this.#counters.failed(failure);
    if (countsAgainstSource(failure)) this.#limits.failed(attempt.source.address, this.#clock.monotonic());
    this.#audit.denied(attempt, failure, { ...effort, ...(message !== "" && { detail: message }) });
    return { kind: "reject", reason: rejectReasonOf(failure), detail: failure };
  }

  /** What is wrong with the certificate of somebody who was let in, by the CAs and lists of now. */
  #faultOf({ chain }: OpenConnection): Verdicted | undefined {
    const { trust } = this.#policy;
    if (!trust.covers(chain)) return CA_REMOVED;
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
        expiresAt: expiryOf(chain, now),
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

  #since(began: number): number {
    return this.#clock.monotonic() - began;
  }
}

const CA_REMOVED: Verdicted = { ending: "ca_removed", detail: "Its CA is no longer configured" };

function verdictOf({ code, message }: IdentityFault): Verdicted {
  return { ending: code === "revoked" ? "certificate_revoked" : "identity_refused", detail: message };
}
