import { type Log, messageOf, type PlaneContext } from "../../../core/plugin/mod.ts";
import { printable } from "../auth/printable.ts";
import type { Clock } from "../clock.ts";
import type { WsAgentConfig } from "../config.ts";
import type { Counters } from "../counters.ts";
import type { SessionEnd } from "../yamux/yamux.ts";
import type { AgentLink } from "./agent_link.ts";
import { type EndReason, farewellOf, keepsNames } from "./end_reason.ts";
import type { TunnelSession } from "./session.ts";
import type { Sessions } from "./sessions.ts";

/** What the agent is told about the end may take so long to get there; whoever does not listen is cut off then. */
const FAREWELL_MS = 500;
/** How often tunnels are looked at, at the least. Finer than that nothing has to be. */
const MAX_TICK_MS = 1000, MIN_TICK_MS = 20;
const TICKS_PER_INTERVAL = 4;

export interface TunnelsTools {
  readonly config: () => WsAgentConfig;
  readonly sessions: Sessions;
  readonly registry: PlaneContext["registry"];
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  /** A tunnel has ended, and serves these keys no more. */
  ended(keys: readonly string[], session: TunnelSession, reason: EndReason): void;
  /** Whether it may open streams itself: it waits for whoever needs them, and is not idle. */
  hasAccesses(session: TunnelSession): boolean;
}

const END_REASONS: Readonly<Record<SessionEnd["kind"], EndReason>> = {
  closed: "connection_lost",
  peer_closed: "agent_left",
  protocol_error: "protocol_error",
  transport_failed: "connection_lost",
  timeout: "heartbeat_timeout",
};

/** Watches over the tunnels that are open, by one timer for all, and ends them. */
export class Tunnels {
  readonly #tools: TunnelsTools;
  /** Told that they are to go, and not gone yet. */
  readonly #departing = new Set<AgentLink>();
  #stopTicking: (() => void) | undefined;
  #draining = false;

  constructor(tools: TunnelsTools) {
    this.#tools = tools;
    this.retime();
  }

  /** Whether the gateway is about to end. */
  get draining(): boolean {
    return this.#draining;
  }

  /** After the config's times have changed. */
  retime(): void {
    this.#stopTicking?.();
    const { heartbeat: { intervalMs } } = this.#tools.config();
    const tickMs = Math.max(MIN_TICK_MS, Math.min(MAX_TICK_MS, intervalMs / TICKS_PER_INTERVAL));
    this.#stopTicking = this.#tools.clock.every(tickMs, () => this.#tick());
  }

  /** Takes a session that the registry has let in. */
  opened(session: TunnelSession): void {
    const { clock, log, config } = this.#tools;
    const { info, id, grant, source, link } = session;
    // Not all at once: agents that were lost together come back together.
    session.nextHeartbeatAt = clock.monotonic() + config().heartbeat.intervalMs * (0.5 + Math.random() / 2);
    session.leaving = this.#draining;
    session.opened = true;
    log.info("tunnel_opened", {
      tunnel: id,
      owner: printable(grant.owner, 100),
      agent: session.voice.kind,
      source: source.address,
      epoch: info.epoch,
      slot: info.slot,
    });
    link.ended.then(({ kind, detail }) => this.end(session, END_REASONS[kind], detail));
  }

  /** Ends a session, once. What it held is kept for its holder, for a while. */
  end(session: TunnelSession, reason: EndReason, detail?: string): void {
    if (session.ended !== undefined) return;
    session.ended = reason;
    const { sessions, registry, config, counters, ended } = this.#tools;
    const keys = sessions.remove(session);
    const graceMs = keepsNames(reason, session.voice.renewsToken) ? config().reconnectGraceMs : 0;
    registry.close(session.id, graceMs).catch((error) => {
      this.#tools.log.error("registry_failed", { tunnel: session.id, reason: messageOf(error) });
    });
    if (reason === "protocol_error" || reason === "control_flood") counters.violations++;
    if (session.opened) this.#logEnd(session, reason, detail);
    this.#depart(session, farewellOf(reason, detail));
    ended(keys, session, reason);
  }

  /** Whether a session's grant is good at this moment; one that is not ends. Asked for every stream, so it costs little. */
  mayServe(session: TunnelSession): boolean {
    const { expiresAt } = session.grant;
    if (expiresAt !== undefined && this.#tools.clock.wall() >= expiresAt) {
      this.end(session, "token_expired");
      return false;
    }
    const reason = session.grant.stillGood();
    if (reason !== undefined) this.end(session, "token_revoked", reason);
    return reason === undefined;
  }

  /** Another session has taken its place. */
  evicted(id: string, reason: "replaced" | "superseded"): void {
    const session = this.#tools.sessions.get(id);
    if (session) this.end(session, reason);
  }

  /** Tokens or keys have changed: whoever may no longer be here goes now, also for a single service. */
  recheck(): void {
    for (const session of [...this.#tools.sessions.all()]) this.#recheck(session);
  }

  /** Tells every agent to go elsewhere. Streams that are open go on; a tunnel without any ends. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    const { sessions, registry, config } = this.#tools;
    for (const session of [...sessions.all()]) {
      if (session.streams === 0) {
        this.end(session, "drained");
        continue;
      }
      session.leaving = true;
      session.link.goAway();
      // From here on, its agent's next connection replaces nothing: what still flows may flow to its end.
      registry.close(session.id, config().reconnectGraceMs).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopTicking?.();
    this.#stopTicking = undefined;
    for (const session of [...this.#tools.sessions.all()]) this.end(session, "gateway_stopped");
    await Promise.all([...this.#departing].map(({ ended }) => ended));
  }

  #logEnd(session: TunnelSession, reason: EndReason, detail: string | undefined): void {
    const { log, clock } = this.#tools;
    const { id, grant, source, since, link } = session;
    log.info("tunnel_closed", {
      tunnel: id,
      owner: printable(grant.owner, 100),
      source: source.address,
      reason,
      ...(detail !== undefined && { detail: printable(detail, 200) }),
      ms: Math.max(0, Math.round(clock.wall() - since)),
      bytesIn: link.bytesWritten,
      bytesOut: link.bytesRead,
    });
  }

  /** Says why, and closes when the agent has gone, or does not go. */
  #depart(session: TunnelSession, farewell: string | undefined): void {
    const { link } = session;
    if (farewell === undefined) return link.close();
    this.#departing.add(link);
    session.voice.farewell(farewell);
    const stop = this.#tools.clock.after(FAREWELL_MS, () => link.close());
    link.ended.then(() => {
      stop();
      this.#departing.delete(link);
    });
    session.voice.finish();
  }

  #tick(): void {
    const { sessions, clock } = this.#tools;
    const now = clock.monotonic(), wall = clock.wall();
    for (const session of sessions.all()) if (session.opened) this.#lookAfter(session, now, wall);
  }

  #lookAfter(session: TunnelSession, now: number, wall: number): void {
    const { heartbeat, idleTimeoutMs } = this.#tools.config();
    const { grant: { expiresAt }, link } = session;
    if (expiresAt !== undefined && wall >= expiresAt) return this.end(session, "token_expired");
    if (now - link.lastHeardAt > heartbeat.timeoutMs) return this.end(session, "heartbeat_timeout");
    if (session.streams > 0 || this.#tools.hasAccesses(session) && !session.leaving) session.idleSince = now;
    else if (session.leaving) return this.end(session, "drained");
    else if (link.peerGoesAway) return this.end(session, "agent_left"); // it would hold names that it serves no more
    if (idleTimeoutMs > 0 && now - session.idleSince >= idleTimeoutMs) {
      return this.end(session, "idle_timeout");
    }
    if (now < session.nextHeartbeatAt) return;
    if (!this.mayServe(session)) return;
    session.nextHeartbeatAt = now + heartbeat.intervalMs;
    session.sendHeartbeat(wall, now);
  }

  #recheck(session: TunnelSession): void {
    const { grant } = session;
    if (!this.mayServe(session)) return;
    // A controller is asked again by and by, whatever is reloaded here; all at once, it would hear of every service.
    if (grant.principal.startsWith("controller:")) return;
    for (const { asked } of session.services.values()) {
      const denied = grant.allows(asked);
      if (typeof denied === "string") return this.end(session, "service_revoked", denied);
    }
  }
}
