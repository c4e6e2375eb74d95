import { LogOnce } from "../../../core/data_plane/log_once.ts";
import type { ConnectionInfo, Endpoint, Log, OpenResult, PlaneContext } from "../../../core/plugin/mod.ts";
import { printable } from "../auth/printable.ts";
import type { Authenticator, Grant } from "../auth/grant.ts";
import type { Clock } from "../clock.ts";
import type { WsAgentConfig } from "../config.ts";
import type { Uuid } from "../control/messages.ts";
import type { ReasonWord } from "../control/reason.ts";
import type { AdmissionFailure, Counters } from "../counters.ts";
import type { AgentRun } from "./agent_header.ts";
import type { AgentLink } from "./agent_link.ts";
import type { AgentSpeech } from "./agent_speech.ts";
import { SUPERSEDED } from "./end_reason.ts";
import type { Presence } from "./presence.ts";
import { TunnelSession } from "./session.ts";
import type { Sessions } from "./sessions.ts";

/** An agent's connection that has not proved anything yet. */
export interface Applicant {
  readonly run: AgentRun;
  readonly connection: ConnectionInfo;
  /** See `SessionParts.httpsPort`. */
  readonly httpsPort: number;
  readonly link: AgentLink;
  readonly speech: AgentSpeech;
  /** Aborted when it has left, or its time is over. */
  readonly signal: AbortSignal;
}

export interface AdmissionTools {
  readonly config: () => WsAgentConfig;
  readonly authenticator: () => Authenticator;
  readonly node: PlaneContext["node"];
  readonly registry: Pick<PlaneContext["registry"], "open" | "close">;
  readonly sessions: Sessions;
  readonly presence: Pick<Presence, "isThere">;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  readonly newId: () => Uuid;
}

/** Why an agent gets no tunnel although it may have one, or has not asked for one. */
interface Denial {
  readonly reason: Exclude<AdmissionFailure, "timeout">;
  readonly message: string;
}

/** Asks an agent who it is, and announces its session to the registry. */
export class Admission {
  readonly #tools: AdmissionTools;
  readonly #failures = new LogOnce();

  constructor(tools: AdmissionTools) {
    this.#tools = tools;
  }

  /**
   * Resolves to the session when the agent is in, and otherwise when it has been told why it is not. The transport stays
   * the caller's to close.
   *
   * @throws {ControlFault} What it sent breaks the format. Else what its stream throws.
   */
  async admit(applicant: Applicant): Promise<TunnelSession | undefined> {
    const introduction = await applicant.speech.introduction();
    if (introduction === null) return undefined;
    if (introduction === "no_auth") {
      return this.#deny(applicant, { reason: "no_auth", message: "The first message has to be Auth" });
    }
    const grant = await this.#authenticate(applicant, introduction.token);
    if (grant === undefined || applicant.signal.aborted) return undefined;
    const holder = `${grant.principal}/${introduction.clientId}`;
    if (applicant.speech.firstStays && await this.#tools.presence.isThere(holder, applicant.connection)) {
      return this.#deny(applicant, {
        reason: "held",
        message: "Another agent is in with this token, and is there",
      });
    }
    return await this.#open(applicant, grant, holder);
  }

  /** An agent whose time for Auth is over. */
  timedOut(source: Endpoint): void {
    this.#tools.counters.admissionFailed("timeout");
    this.#log("timeout", source, "No Auth in time");
  }

  async #authenticate(applicant: Applicant, token: string): Promise<Grant | undefined> {
    const { connection: { source }, signal } = applicant;
    const result = await this.#tools.authenticator().authenticate(token, source.address, { signal });
    if ("grant" in result) return result.grant;
    const { reason, message } = result.refusal;
    if (!signal.aborted) this.#tell(applicant, reason, message);
    return undefined;
  }

  async #open(applicant: Applicant, grant: Grant, holder: string): Promise<TunnelSession | undefined> {
    const { config, node, registry, sessions, clock, newId } = this.#tools;
    const { run, connection: { source, destination }, httpsPort, link, speech } = applicant;
    const { limits, reconnectGraceMs } = config();
    const info = {
      id: newId(),
      node,
      holder,
      party: grant.principal,
      epoch: run.epoch,
      slot: run.slot,
      maxSessions: limits.tunnels,
      maxSessionsOfParty: grant.limits?.tunnels,
      graceMs: reconnectGraceMs,
    };
    const session = new TunnelSession({
      info,
      grant,
      source,
      destination,
      httpsPort,
      link,
      voice: speech,
      since: clock.wall(),
      now: clock.monotonic(),
    });
    sessions.add(session); // before it is announced: it may be evicted as soon as it is
    const result = await registry.open(info).catch(() => "failed" as const);
    if (result === "opened" && session.ended === undefined && !applicant.signal.aborted) {
      return session;
    }
    sessions.remove(session);
    if (result === "opened") await registry.close(session.id, 0).catch(() => {});
    else this.#deny(applicant, DENIALS[result](limits.tunnels, info.maxSessionsOfParty));
    return undefined;
  }

  #deny(applicant: Applicant, { reason, message }: Denial): undefined {
    this.#tools.counters.admissionFailed(reason);
    this.#tell(applicant, reason, message);
  }

  #tell({ connection: { source }, speech }: Applicant, word: ReasonWord, message: string): void {
    this.#log(word, source, message);
    speech.deny(word, message);
  }

  #log(reason: string, source: Endpoint, message: string): void {
    if (!this.#failures.may(source.address)) return;
    this.#tools.log.warn("auth_failed", { source: source.address, reason, detail: printable(message, 200) });
  }
}

/** What the registry may answer, and `failed` where it does not. */
type Unopened = Exclude<OpenResult, "opened"> | "failed";

const DENIALS: Readonly<Record<Unopened, (tunnels: number, ofToken?: number) => Denial>> = {
  superseded: () => ({ reason: "superseded", message: SUPERSEDED }),
  limit: (tunnels) => ({
    reason: "limit",
    message: `This gateway has ${tunnels} tunnels already (limits.tunnels)`,
  }),
  party_limit: (_tunnels, ofToken) => ({
    reason: "limit",
    message: `This token has ${ofToken} tunnels already (limits.tunnels of the token)`,
  }),
  failed: () => ({ reason: "registry_failed", message: "The gateway cannot open tunnels at the moment" }),
};
