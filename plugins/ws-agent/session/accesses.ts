import { relay } from "../../../core/data_plane/relay.ts";
import {
  closeQuietly,
  type ConnectionInfo,
  type Log,
  messageOf,
  writeAll,
} from "../../../core/plugin/mod.ts";
import { printable } from "../auth/printable.ts";
import type { AccessAnswer } from "../auth/grant.ts";
import type { Clock } from "../clock.ts";
import type { WsAgentConfig } from "../config.ts";
import type { AccessService, ControlMessage, Uuid } from "../control/messages.ts";
import { formatReason, type ReasonWord } from "../control/reason.ts";
import { type Directory, protocolAt } from "../directory.ts";
import {
  formatPrivateService,
  ownerOf,
  parsePrivateService,
  privateKey,
  type PrivateService,
} from "../private_name.ts";
import type { PublicStreams } from "../public_streams.ts";
import { readStreamHeader } from "../stream_header.ts";
import type { YamuxStream } from "../yamux/yamux.ts";
import type { Access } from "./access.ts";
import type { TunnelSession } from "./session.ts";

/** For whoever does not say how long. */
const DEFAULT_TTL_MS = 3_600_000;
/** From the opening of a stream to the end of its header. */
const HEADER_MS = 10_000;
/** How often live accesses are asked about of a controller, which remembers its answers for as long as it says. */
const RECHECK_MS = 30_000;

export interface AccessesTools {
  readonly config: () => WsAgentConfig;
  readonly directory: Directory;
  readonly streams: Pick<PublicStreams, "open">;
  readonly clock: Clock;
  readonly log: Log;
  readonly newId: () => Uuid;
  /** See `Tunnels.mayServe`. */
  mayServe(session: TunnelSession): boolean;
}

/** Why an access is not granted, or has ended: a word, and a text for whoever has asked. */
interface Reason {
  readonly word: ReasonWord;
  readonly text: string;
}

const ENDS = {
  expired: { word: "access_expired", text: "Its time is over" },
  revoked: { word: "access_revoked", text: "The token may not reach this service any more" },
  gone: { word: "service_gone", text: "The service has been withdrawn" },
} as const satisfies Record<string, Reason>;

/** Lets agents reach private services: grants accesses, checks each of their streams, and ends them. */
export class Accesses {
  readonly #tools: AccessesTools;
  /** A session that was granted one stays here until it ends: what it still opens then is late, and nothing worse. */
  readonly #bySession = new Map<TunnelSession, Map<Uuid, Access>>();
  readonly #stopChecking: () => void;

  constructor(tools: AccessesTools) {
    this.#tools = tools;
    this.#stopChecking = tools.clock.every(RECHECK_MS, () => this.recheck());
  }

  /** How many there are. */
  get size(): number {
    let size = 0;
    for (const accesses of this.#bySession.values()) size += accesses.size;
    return size;
  }

  /** Whether streams that this session opens are for {@link serve}. */
  isAccessor(session: TunnelSession): boolean {
    return this.#bySession.has(session);
  }

  /** Whether it has any now. */
  has(session: TunnelSession): boolean {
    return (this.#bySession.get(session)?.size ?? 0) > 0;
  }

  /** Answers a request. Never rejects. @param tell Sends what there is to say of it later. */
  async grant(
    session: TunnelSession,
    request: AccessService,
    tell: Access["tell"],
  ): Promise<ControlMessage> {
    const { log } = this.#tools;
    const result = await this.#attempt(session, request, tell).catch((error): Reason => {
      log.error("access_failed", { tunnel: session.id, reason: messageOf(error) });
      return { word: "internal_error", text: "The gateway cannot grant accesses at the moment" };
    });
    if ("word" in result) {
      log.info("access_refused", {
        tunnel: session.id,
        ...whoIs(session),
        service: printable(request.service, 255),
        reason: result.word,
      });
      return { type: "accessFail", reason: formatReason(result.word, result.text) };
    }
    const { id, service, protocol, until } = result;
    log.info("access_granted", {
      access: id,
      tunnel: session.id,
      ...whoIs(session),
      service: formatPrivateService(service),
      protocol,
      until: new Date(until).toISOString(),
    });
    const ttlMs = Math.max(0, Math.round(until - this.#tools.clock.wall()));
    return {
      type: "accessGranted",
      accessId: id,
      service: formatPrivateService(service),
      protocol,
      until,
      ttlMs,
    };
  }

  /** Carries one connection of an accessor to the service. Owns the stream. Never rejects. */
  async serve(session: TunnelSession, stream: YamuxStream): Promise<void> {
    try {
      const { access, rest } = await this.#readAccess(session, stream) ?? {};
      if (access === undefined || rest === undefined || !await this.#mayGoOn(access)) return;
      await this.#connect(access, stream, rest);
    } catch {
      // It left, sent no proper header, or its service cannot be reached.
    } finally {
      stream.reset(); // harmless when both directions have ended
    }
  }

  /** A session has ended, and its accesses with it. */
  sessionEnded(session: TunnelSession, reason: string): void {
    const accesses = this.#bySession.get(session);
    this.#bySession.delete(session);
    for (const access of [...accesses?.values() ?? []]) this.#finish(access, reason);
  }

  /** Nobody has the service of this key any more. */
  gone(key: string): void {
    for (const access of this.#all()) if (access.key === key) this.#end(access, ENDS.gone);
  }

  /** Policies may have changed: whoever may not go on ends now, or when a controller has answered. */
  recheck(): void {
    for (const access of this.#all()) {
      const answer = this.#ask(access);
      if (typeof answer === "string") this.#judge(access, answer);
      else answer.then((late) => this.#judge(access, late), () => {});
    }
  }

  close(): void {
    this.#stopChecking();
  }

  async #attempt(
    session: TunnelSession,
    { service: text, ttlMs }: AccessService,
    tell: Access["tell"],
  ): Promise<Access | Reason> {
    const { config, directory } = this.#tools;
    const { limits } = config();
    const missing: Reason = {
      word: "no_such_service",
      text: `There is no private service ${
        JSON.stringify(printable(text, 255))
      }, or this token may not reach it`,
    };
    if ((this.#bySession.get(session)?.size ?? 0) >= limits.servicesPerTunnel) {
      const most = `${limits.servicesPerTunnel} accesses (limits.servicesPerTunnel)`;
      return { word: "limit", text: `A tunnel may have ${most}` };
    }
    const service = parsePrivateService(text, ownerOf(session.grant.principal));
    if (service === undefined) return missing;
    const answer = await this.#answerOf(session, service);
    if (answer === "unknown") {
      return { word: "controller_unavailable", text: "The gateway can't ask whether this is allowed" };
    }
    const protocol = protocolAt(directory.find(privateKey(service), { elsewhere: true }));
    if (answer === "may_not" || protocol === undefined) return missing;
    if (protocol === "tcp-tls" || protocol === "udp") return missing; // none of these is private
    if (session.ended !== undefined) return { word: "internal_error", text: "The tunnel has ended" };
    return this.#add({ session, service, protocol, tell }, ttlMs);
  }

  #add(
    asked: Pick<Access, "session" | "service" | "protocol" | "tell">,
    askedMs: number = DEFAULT_TTL_MS,
  ): Access {
    const { config, clock, newId } = this.#tools;
    const { session, service } = asked;
    const now = clock.wall();
    const { expiresAt = Infinity } = session.grant;
    const ttlMs = Math.max(1, Math.min(askedMs, config().access.maxTtlMs, expiresAt - now));
    const access: Access = {
      ...asked,
      id: newId(),
      key: privateKey(service),
      since: clock.monotonic(),
      until: Math.round(now + ttlMs),
      connections: 0,
      open: new Set(),
      sent: { bytes: 0 },
      received: { bytes: 0 },
      life: new AbortController(),
      asking: undefined,
      stopTimer: clock.after(ttlMs, () => this.#end(access, ENDS.expired)),
    };
    const accesses = this.#bySession.get(session) ?? new Map<Uuid, Access>();
    this.#bySession.set(session, accesses.set(access.id, access));
    session.link.maxStreams = 1 + config().limits.streamsPerTunnel; // beside the one for control
    return access;
  }

  async #readAccess(
    session: TunnelSession,
    stream: YamuxStream,
  ): Promise<{ readonly access: Access; readonly rest: Uint8Array } | undefined> {
    const stop = this.#tools.clock.after(HEADER_MS, () => stream.reset());
    try {
      const { header, rest } = await readStreamHeader(stream);
      const access = this.#bySession.get(session)?.get(header.serviceId);
      return access && { access, rest };
    } finally {
      stop();
    }
  }

  /** Whether one more connection is fine: everything is asked again for each. */
  async #mayGoOn(access: Access): Promise<boolean> {
    const { clock, mayServe } = this.#tools;
    if (clock.wall() >= access.until) this.#end(access, ENDS.expired);
    if (access.life.signal.aborted || !mayServe(access.session)) return false;
    const answer = await this.#ask(access);
    this.#judge(access, answer);
    return answer === "may" && !access.life.signal.aborted;
  }

  /** Whether it may go on. */
  #ask(access: Access): Promise<AccessAnswer> | AccessAnswer {
    if (access.asking !== undefined) return access.asking;
    const answer = this.#answerOf(access.session, access.service);
    if (typeof answer === "string") return answer;
    access.asking = answer;
    const answered = () => void (access.asking = undefined);
    answer.then(answered, answered);
    return answer;
  }

  /** While a controller is silent, what is open goes on. */
  #judge(access: Access, answer: AccessAnswer): void {
    if (answer === "may_not") this.#end(access, ENDS.revoked);
  }

  #answerOf({ grant }: TunnelSession, service: PrivateService): Promise<AccessAnswer> | AccessAnswer {
    return service.owner === ownerOf(grant.principal) ? "may" : grant.mayAccess(service);
  }

  async #connect(access: Access, client: YamuxStream, first: Uint8Array): Promise<void> {
    const { key, sent, received, open, life: { signal }, session } = access;
    const number = ++access.connections;
    const connection: ConnectionInfo = {
      id: `${access.id}.${number}`,
      listener: "access",
      // Of the accessor as it was seen here: what it says of its own clients is nothing to go by.
      source: session.source,
      destination: session.destination,
      peer: session.source,
      protocol: "other",
    };
    const waiting = { cut: () => client.reset() };
    open.add(waiting);
    const upstream = await this.#tools.streams.open({ key, connection, signal })
      .finally(() => open.delete(waiting));
    const both = {
      cut: () => {
        client.reset();
        closeQuietly(upstream);
      },
    };
    open.add(both);
    try {
      if (signal.aborted) return;
      if (first.length > 0) await writeAll(upstream, first);
      sent.bytes += first.length;
      await relay({ client, upstream, sent, received });
    } finally {
      open.delete(both);
      closeQuietly(client);
      closeQuietly(upstream);
    }
  }

  /** Whoever has it is told, and hears it: the session itself goes on. */
  #end(access: Access, { word, text }: Reason): void {
    if (!this.#bySession.get(access.session)?.delete(access.id)) return;
    access.tell({ type: "accessEnded", accessId: access.id, reason: formatReason(word, text) });
    this.#finish(access, word);
  }

  #finish(access: Access, reason: string): void {
    access.stopTimer();
    access.life.abort();
    for (const connection of [...access.open]) connection.cut();
    const { id, session, service, since, connections, sent, received } = access;
    this.#tools.log.info("access_ended", {
      access: id,
      tunnel: session.id,
      ...whoIs(session),
      service: formatPrivateService(service),
      reason,
      ms: Math.max(0, Math.round(this.#tools.clock.monotonic() - since)),
      connections,
      bytesIn: sent.bytes,
      bytesOut: received.bytes,
    });
  }

  #all(): Access[] {
    return [...this.#bySession.values()].flatMap((accesses) => [...accesses.values()]);
  }
}

/** The name that people know, what it has proved, and from where. */
function whoIs({ grant, source }: TunnelSession): { owner: string; principal: string; source: string } {
  return {
    owner: printable(grant.owner, 100),
    principal: printable(grant.principal, 255),
    source: source.address,
  };
}
