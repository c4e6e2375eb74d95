import { FailureLimits } from "../../core/failure_limits.ts";
import {
  type ClosedEvent,
  type ConnectionId,
  type ConnectionInfo,
  type Decision,
  type Log,
  messageOf,
  type Reject,
  type TerminatedTls,
} from "../../core/plugin/mod.ts";
import type { AccessSource } from "./access_source.ts";
import type { Attempt, Audit, Effort } from "./audit.ts";
import type { Clock } from "./clock.ts";
import type { Counters } from "./counters.ts";
import type { Guard } from "./guard.ts";
import type { Identity } from "./identity.ts";
import { SELF_TEST_LISTENER } from "./names.ts";
import { requestOf } from "./open_connections.ts";
import { countsAgainstSource, rejectReasonOf } from "./outcome.ts";
import type { Policy } from "./policy.ts";
import { Refused } from "./refused.ts";
import { parseTarget } from "./target.ts";
import type { Trust } from "./trust.ts";

/** What it is decided with; `policy` is that of the moment. */
export interface AdmissionTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: Audit;
  readonly counters: Counters;
  readonly source: AccessSource;
  readonly guard: Guard;
  policy(): Policy;
}

/** Tells when nobody waits for the answer any more. The signal is made when it is asked for. */
export interface Scope {
  readonly signal: AbortSignal;
}

/** Somebody between the first question and the decision. */
interface Pending extends Attempt {
  /** Under which the gateway verifies the certificate; unknown when another instance of the plugin was asked first. */
  readonly trust: Trust | undefined;
}

/** What has become known of an attempt, also when it fails. */
interface Known {
  identity?: Identity;
  cached?: boolean;
}

/** Decides who is let in, and tells of every decision: once in the audit log, once in the metrics. */
export class Admission {
  readonly #tools: AdmissionTools;
  readonly #limits: FailureLimits;
  readonly #pending = new Map<ConnectionId, Pending>();

  constructor(tools: AdmissionTools) {
    this.#tools = tools;
    this.#limits = new FailureLimits(tools.policy().config.failuresPerMinute);
  }

  set failuresPerMinute(perMinute: number) {
    this.#limits.perMinute = perMinute;
  }

  /** The first question: what a client must show, unless its source has failed too often. */
  ask(connection: ConnectionInfo, connectId: string): Decision {
    const { id, source, listener } = connection;
    const policy = this.#tools.policy();
    if (listener === SELF_TEST_LISTENER) return policy.terminate(connection);
    const pending: Pending = { connection: id, source, connectId, trust: policy.trust };
    if (this.#isOver(pending)) return this.#refuse(pending, overLimit(), {});
    this.#pending.set(id, pending);
    return policy.terminate(connection);
  }

  /** The second question: who it is, and whether they may. Never rejects. */
  async decide(
    { id, source }: ConnectionInfo,
    connectId: string,
    { clientCertificates: chain = [] }: TerminatedTls,
    scope: Scope,
  ): Promise<Decision> {
    const began = this.#tools.clock.monotonic();
    const pending = this.#pending.get(id) ?? { connection: id, source, connectId, trust: undefined };
    this.#pending.set(id, pending);
    const known: Known = {};
    try {
      return await this.#authorize(pending, chain, known, began, scope);
    } catch (error) {
      const attempt = { ...pending, identity: known.identity };
      const effort = { ms: this.#since(began), cached: known.cached ?? false };
      return this.#refuse(attempt, this.#refusalOf(pending, error), effort);
    } finally {
      this.#tools.counters.decided(this.#since(began));
      if (this.#pending.get(id) === pending) this.#pending.delete(id);
    }
  }

  /** A connection has ended. One that is still being decided on gets no other answer than that its client has left. */
  closed({ connection, result, detail = "" }: ClosedEvent): void {
    const pending = this.#pending.get(connection);
    if (pending === undefined) return;
    this.#pending.delete(connection);
    if (result === "tls_no_certificate" || result === "tls_bad_certificate") {
      this.#refuse(pending, new Refused(result, detail), {});
    }
  }

  /**
   * @param known Filled in as things become known, also when it throws.
   * @throws {Refused | IdentityFault | DatabaseDown}
   */
  async #authorize(
    pending: Pending,
    chain: readonly Uint8Array[],
    known: Known,
    began: number,
    scope: Scope,
  ): Promise<Decision> {
    const { guard, source, audit, clock } = this.#tools;
    const asked = this.#tools.policy();
    let identity = known.identity = this.#identify(chain, pending.trust);
    // Many may have come this far before the first of them had failed.
    if (this.#isOver(pending)) throw overLimit();
    const { epoch } = guard;
    const { answer, cached } = source.decide(requestOf({ identity, connectId: pending.connectId }));
    known.cached = cached;
    const verdict = await answer;
    if (this.#pending.get(pending.connection) !== pending || scope.signal.aborted) {
      throw new Refused("client_left", "Nobody waited for the answer any more");
    }
    const policy = this.#tools.policy();
    if (policy !== asked) identity = this.#identify(chain, pending.trust);
    if (verdict.kind === "denied") throw new Refused(verdict.reason, "");
    const target = parseTarget(verdict.address, policy.config.defaultPort);
    if (target === undefined) throw badTarget(verdict.address);

    const attempt = { ...pending, identity };
    const expiresAt = policy.trust.expiryOf(chain, clock.wall());
    guard.admit({ ...attempt, chain, expiresAt, target, ending: undefined }, epoch);
    audit.allowed(attempt, target, { ms: this.#since(began), cached });
    return policy.forward(target, identity);
  }

  /**
   * @param verifiedUnder What the gateway has verified the chain under.
   * @throws {Refused | IdentityFault}
   */
  #identify(chain: readonly Uint8Array[], verifiedUnder: Trust | undefined): Identity {
    if (chain.length === 0) throw new Refused("tls_no_certificate", "No certificate after the handshake");
    const { trust } = this.#tools.policy();
    const isVerified = trust === verifiedUnder ||
      verifiedUnder !== undefined && trust.includes(verifiedUnder);
    if (!isVerified && !trust.covers(chain)) {
      throw new Refused("ca_removed", "The certificate leads to none of the CAs of now");
    }
    return trust.identify(chain, this.#tools.clock.wall());
  }

  #isOver({ source }: Attempt): boolean {
    return this.#limits.isOver(source.address, this.#tools.clock.monotonic());
  }

  /** What the operator has to mend is an error of its own in the log. */
  #refusalOf({ connection, connectId }: Pending, error: unknown): Refused {
    const refused = Refused.from(error) ?? new Refused("internal_error", messageOf(error), { cause: error });
    const { failure, message } = refused;
    if (failure === "bad_target" || failure === "internal_error") {
      this.#tools.log.error(failure, { connection, connectId, reason: message });
    }
    return refused;
  }

  #refuse(attempt: Attempt, { failure, message }: Refused, effort: Partial<Effort>): Reject {
    const { clock, audit, counters } = this.#tools;
    counters.failed(failure);
    if (countsAgainstSource(failure)) this.#limits.failed(attempt.source.address, clock.monotonic());
    audit.denied(attempt, failure, { ...effort, ...(message !== "" && { detail: message }) });
    return { kind: "reject", reason: rejectReasonOf(failure), detail: failure };
  }

  #since(began: number): number {
    return this.#tools.clock.monotonic() - began;
  }
}

function overLimit(): Refused {
  return new Refused("over_limit", "Too many failures of this source");
}

function badTarget(address: string): Refused {
  return new Refused("bad_target", `internal_ip_addr ${JSON.stringify(address)} is no address`);
}
