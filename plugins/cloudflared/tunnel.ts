import { type ClosedEvent, type ConnectionId, type Log, messageOf } from "../../core/plugin/mod.ts";
import type { Answer } from "./answer.ts";
import { Breaker, growingWait } from "./breaker.ts";
import type { RestartConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { describeFailure, type Failure } from "./failure.ts";
import { type Launch, Session } from "./session.ts";
import type { Tools } from "./tools.ts";
import { CLIENT_LEFT, type Scope, Waiters } from "./waiters.ts";

/** What of the config may change under a tunnel that stays. */
export interface TunnelSettings {
  readonly idleTimeoutMs: number;
  readonly startupTimeoutMs: number;
  readonly restart: RestartConfig;
}

/** What a tunnel needs from who holds it. */
export interface TunnelHost {
  readonly tools: Tools;
  readonly log: Log;
  readonly counters: Counters;
  readonly settings: TunnelSettings;
  /** Waits for a port if one is about to be free. */
  takePort(hostname: string): Promise<number | undefined>;
  /** @param hostname Whose connections may still be on their way to it: nobody else gets it until they are not. */
  giveBackPort(port: number, hostname?: string): void;
  /** Somebody else has that port. */
  setPortAside(port: number): void;
  /** From now on this session counts, until its end. */
  began(session: Session): void;
  /** The program cannot be started at all, for this tunnel or any other. */
  unstartable(failure: Failure): void;
  /** Whether the program was seen to listen without a word. */
  isSilent: boolean;
  /** Nothing runs for this tunnel, and nobody waits for it. */
  rests(tunnel: Tunnel): void;
}

/** `stopped` is the state of a tunnel that would start for the next connection. */
export type TunnelState = "starting" | "ready" | "restarting" | "failed" | "stopped";

/** A connection through the tunnel. */
interface Reference {
  readonly session: Session;
  readonly sentAt: number;
}

/** So many ports that others have are tried for one start. */
const MAX_PORT_TRIES = 5;
/** A program that ran this long did not end because of how it was started: its restarts are counted anew. */
const STABLE_MS = 60_000;
/** Failed connections in a row that open the breaker when the program itself says that it failed. */
const MAX_COMPLAINTS = 3;
/** The same when only the connections show it: a service behind the tunnel may hang up on bad clients, too. */
const MAX_DROPS = 10;
/**
 * How long a process that nobody uses is kept when it has said that it failed, and has carried nothing: a name that
 * somebody made up ends like that, and there is no end of those.
 */
const USELESS_IDLE_MS = 10_000;
/** How a connection ends that the tunnel took and did nothing with. */
const DROPPED: ReadonlySet<string> = new Set([
  "no_answer",
  "connect_failed",
  "connect_timeout",
  "upstream_reset",
]);

const STOPPED: Answer = { kind: "refused", failure: { reason: "stopped", detail: "" } };

/**
 * The tunnel to one host name: starts the program for the first connection, restarts it while it is needed, stops it
 * when it is not, and keeps connections away while it fails.
 *
 * At most one session is current. One that was told to stop is not, and a new one may begin beside it.
 */
export class Tunnel {
  readonly hostname: string;
  /** The server name that it was first asked for by. */
  readonly serverName: string;
  readonly launch: Launch;
  readonly #host: TunnelHost;
  readonly #breaker: Breaker;
  readonly #waiters = new Waiters((connection) => this.#breaker.ended(connection));
  readonly #references = new Map<ConnectionId, Reference>();
  #session: Session | undefined;
  /** The session has brought an answer to somebody. */
  #hasWorked = false;
  #launching = false;
  #cancelIdle: (() => void) | undefined;
  #cancelRestart: (() => void) | undefined;
  #idleSince: number | undefined;
  #restarts = 0;
  #restartsInRow = 0;
  /** Processes in a row that did not come to listen, or ended by themselves without being of use to anybody. */
  #failedStarts = 0;
  #retryAt = 0;
  #complaints = 0;
  #drops = 0;
  #droppedAt = -Infinity;
  /** Somebody used the session when its program ended: until it is known why, they may have noticed and left. */
  #wasNeeded = false;
  #lastFailure: Failure | undefined;
  #leaving = false;
  #disposed = false;

  constructor(hostname: string, serverName: string, launch: Launch, host: TunnelHost) {
    this.hostname = hostname;
    this.serverName = serverName;
    this.launch = launch;
    this.#host = host;
    this.#breaker = new Breaker(host.tools.now);
  }

  get state(): TunnelState {
    if (this.#cancelRestart) return "restarting";
    if (this.#launching) return "starting";
    if (this.#session && !this.#breaker.isOpen) return "ready";
    return this.isFailing ? "failed" : "stopped";
  }

  /** Whether it remembers a failure after which nothing has worked yet. */
  get isFailing(): boolean {
    return !this.#breaker.isClosed || this.#failedStarts > 0;
  }

  /** Whether its process has brought an answer to somebody. */
  get hasWorked(): boolean {
    return this.#hasWorked;
  }

  get session(): Session | undefined {
    return this.#session;
  }

  get references(): number {
    return this.#references.size;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get lastFailure(): Failure | undefined {
    return this.#lastFailure;
  }

  /** Since when nobody uses its process, on the clock of the tools; absent while somebody does, or without one. */
  get idleSince(): number | undefined {
    return this.#idleSince;
  }

  /** Brings a connection to the tunnel, which has a reference from then on until `release`. */
  acquire(connection: ConnectionId, scope: Scope): Answer | Promise<Answer> {
    if (this.#disposed) return STOPPED;
    if (this.#leaving) return { kind: "moved" };
    const busy = this.#launching || this.#cancelRestart !== undefined;
    const startIn = this.#session || busy ? 0 : this.#retryAt - this.#host.tools.now();
    const retryInMs = startIn > 0 ? startIn : this.#breaker.admit(connection);
    if (retryInMs > 0 && this.#lastFailure) {
      return { kind: "refused", failure: this.#lastFailure, retryInMs };
    }
    this.#stopIdling();
    if (this.#session?.state === "ready") return this.#refer(connection, this.#session);
    const { signal } = scope;
    if (signal.aborted) {
      this.#breaker.ended(connection);
      this.#rest();
      return CLIENT_LEFT;
    }
    // One that has just ended by itself is still there until it is known why: who comes now waits for that, too.
    if (!busy && !this.#session) this.#start(false);
    return this.#waiters.wait(connection, signal);
  }

  /** A connection that was brought here has ended. */
  release({ connection, bytesOut, result }: ClosedEvent): void {
    const reference = this.#references.get(connection);
    if (reference === undefined) return;
    this.#references.delete(connection);
    if (bytesOut > 0) this.#works(reference);
    else if (reference.session === this.#session && DROPPED.has(result)) {
      this.#dropped(connection, reference.sentAt);
    }
    this.#breaker.ended(connection);
    this.#rest();
  }

  /** Gives it up for a new config: no new connections; its process ends with the last of the old ones. */
  leave(): void {
    this.#leaving = true;
    this.#cancelRestart?.();
    this.#cancelRestart = undefined;
    this.#answerWaiters({ kind: "moved" });
    this.#rest();
  }

  /** Gives up its process, which nobody uses, so that another may have the port. Resolves when that is free. */
  async evict(): Promise<void> {
    await this.#stopSession("evicted");
  }

  /** Stops it for good. Resolves when its process has ended. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#cancelRestart?.();
    this.#cancelRestart = undefined;
    this.#stopIdling();
    this.#answerWaiters(STOPPED);
    await this.#stopSession("disposed");
  }

  #refer(connection: ConnectionId, session: Session): Answer {
    this.#references.set(connection, { session, sentAt: this.#host.tools.now() });
    this.#breaker.sent(connection);
    return { kind: "port", port: session.port };
  }

  #answerWaiters(answer: Answer): void {
    this.#waiters.answerAll((connection) => {
      this.#breaker.ended(connection);
      return answer;
    });
  }

  #start(again: boolean): void {
    this.#launching = true;
    const fault = (error: unknown): Failure => ({ reason: "not_permitted", detail: messageOf(error) });
    this.#launch().catch(fault).then((failure) => {
      this.#launching = false;
      if (this.#disposed) return;
      if (failure === undefined) this.#started();
      else if (again && !this.#leaving) this.#crashed(failure);
      else this.#startFailed(failure);
    });
  }

  /** Resolves to why it does not listen, if so. Rejects when no port may be tried. */
  async #launch(): Promise<Failure | undefined> {
    for (let tries = 0; tries < MAX_PORT_TRIES; tries++) {
      const port = await this.#host.takePort(this.hostname);
      if (port === undefined) return { reason: "no_free_port", detail: "" };
      const session = this.#disposed ? undefined : this.#open(port);
      if (!(session instanceof Session)) {
        this.#host.giveBackPort(port);
        if (session !== undefined) this.#host.unstartable(session);
        return session ?? { reason: "stopped", detail: "" };
      }
      const failure = await session.started;
      if (failure === undefined) return undefined;
      if (this.#session === session) this.#session = undefined;
      if (failure.reason !== "port_taken") return failure;
      this.#host.setPortAside(port);
      this.#host.counters.failed("port_taken");
      this.#host.log.info("cloudflared_port_taken", { hostname: this.hostname, port });
    }
    return { reason: "port_taken", detail: `${MAX_PORT_TRIES} ports in a row` };
  }

  #open(port: number): Session | Failure {
    const { tools, log, settings, isSilent } = this.#host;
    const session = Session.start({
      ...this.launch,
      hostname: this.hostname,
      port,
      startupTimeoutMs: settings.startupTimeoutMs,
      isSilent,
      log,
      onComplaint: (failure) => this.#complained(failure),
      onFatal: (failure) => this.#trip(failure, "stop"),
      onExit: () => this.#wasNeeded = this.#references.size > 0,
    }, tools);
    if (!(session instanceof Session)) return session;
    this.#session = session;
    this.#hasWorked = this.#wasNeeded = false;
    this.#host.began(session);
    session.ended.then((failure) => {
      const inUse = this.#references.values().some((reference) => reference.session === session);
      this.#host.giveBackPort(port, inUse ? this.hostname : undefined);
      if (session.wasReady && session === this.#session) this.#ended(session, failure);
    });
    return session;
  }

  #started(): void {
    const { counters, log, tools } = this.#host;
    const session = this.#session;
    counters.startsOk++;
    if (session === undefined) { // it was ready, and is over already
      if (!this.#cancelRestart && this.#lastFailure) {
        this.#answerWaiters({ kind: "refused", failure: this.#lastFailure });
      }
      return this.#rest();
    }
    const { pid, port, startedAt } = session;
    this.#host.isSilent = session.wasSilent;
    const ms = Math.round(tools.now() - startedAt);
    log.info("cloudflared_started", { hostname: this.hostname, sni: this.serverName, pid, port, ms });
    this.#waiters.answerAll((connection) => this.#refer(connection, session));
    this.#rest();
  }

  #startFailed(failure: Failure): void {
    this.#host.counters.startsFailed++;
    // Which is not this tunnel's doing, and asking again costs nothing.
    const waitMs = failure.reason === "no_free_port" ? 0 : this.#holdOff();
    this.#fail(failure, waitMs);
    this.#answerWaiters({ kind: "refused", failure, retryInMs: waitMs });
    this.#rest();
  }

  /** Lets nobody start it for a while. @returns For how long, in milliseconds. */
  #holdOff(): number {
    const { settings, tools } = this.#host;
    const waitMs = growingWait(settings.restart.backoffMs, ++this.#failedStarts);
    this.#retryAt = tools.now() + waitMs;
    return waitMs;
  }

  /** The program has ended by itself. */
  #ended(session: Session, failure: Failure): void {
    this.#session = undefined;
    this.#stopIdling();
    this.#complaints = this.#drops = 0;
    if (this.#disposed) return;
    const isStable = this.#host.tools.now() - session.startedAt >= STABLE_MS;
    if (isStable) this.#restartsInRow = this.#failedStarts = 0;
    if (this.#leaving || (!this.#wasNeeded && this.#references.size === 0 && this.#waiters.size === 0)) {
      // Whoever comes next would start it once more, as fast as it ends.
      this.#fail(failure, isStable || this.#hasWorked ? 0 : this.#holdOff());
      this.#rest();
    } else {
      this.#crashed(failure);
    }
  }

  #crashed(failure: Failure): void {
    const { settings: { restart }, counters, log, tools } = this.#host;
    const { hostname } = this;
    if (this.#restartsInRow >= restart.max) {
      this.#retryAt = 0; // the next connection tries anew; without restarts only that could be a storm of them
      const waitMs = restart.max === 0 && !this.#hasWorked ? this.#holdOff() : 0;
      this.#fail(failure, waitMs);
      log.error("cloudflared_gave_up", { hostname, restarts: this.#restartsInRow });
      this.#restartsInRow = 0;
      this.#failedStarts ||= 1; // failed, until it works
      this.#answerWaiters({ kind: "refused", failure, retryInMs: waitMs });
      return this.#rest();
    }
    const waitMs = growingWait(restart.backoffMs, ++this.#restartsInRow);
    this.#fail(failure, waitMs);
    this.#cancelRestart = tools.after(waitMs, () => {
      this.#cancelRestart = undefined;
      this.#restarts++;
      counters.restarts++;
      log.info("cloudflared_restarting", { hostname, restart: this.#restartsInRow });
      this.#start(true);
    });
  }

  #complained(failure: Failure): void {
    this.#host.counters.failed(failure.reason);
    // The program may say why after the connection has shown that: then the better reason stays.
    if (this.#lastFailure?.reason === "dropped_connections" || this.#breaker.isClosed) {
      this.#lastFailure = failure;
    }
    if (this.#breaker.isOpen || this.#session?.state !== "ready") return;
    this.#complaints++;
    if (this.#breaker.isOnTrial || this.#complaints >= MAX_COMPLAINTS) this.#trip(failure, "keep");
  }

  #dropped(connection: ConnectionId, sentAt: number): void {
    if (this.#breaker.isOpen) return;
    // Connections that end together, as in a crash, tell no more than one of them.
    if (sentAt < this.#droppedAt) return;
    this.#droppedAt = this.#host.tools.now();
    this.#drops++;
    if (!this.#breaker.isTrial(connection) && this.#drops < MAX_DROPS) return;
    const detail = `${this.#drops} in a row`;
    const said = this.#complaints > 0 ? this.#lastFailure : undefined;
    this.#trip(said ?? { reason: "dropped_connections", detail }, "keep");
  }

  /** Opens the breaker. A process is kept only for the connections that still go through it. */
  #trip(failure: Failure, process: "keep" | "stop"): void {
    this.#complaints = this.#drops = 0;
    const waitMs = this.#breaker.trip(this.#host.settings.restart.backoffMs);
    this.#fail(failure, waitMs, process === "stop" || failure.reason === "dropped_connections");
    if (process === "stop" || this.#references.size === 0) void this.#stopSession("failing");
    this.#rest();
  }

  #works({ session, sentAt }: Reference): void {
    this.#complaints = this.#drops = this.#failedStarts = 0;
    if (session === this.#session) this.#hasWorked = true;
    if (this.#breaker.isClosed) return;
    this.#breaker.worked(sentAt);
    if (this.#breaker.isClosed) this.#host.log.info("cloudflared_recovered", { hostname: this.hostname });
  }

  #fail(failure: Failure, waitMs: number, count = true): void {
    this.#lastFailure = failure;
    if (count) this.#host.counters.failed(failure.reason);
    this.#host.log.error("cloudflared_failed", {
      hostname: this.hostname,
      cause: failure.reason,
      reason: describeFailure(failure),
      waitMs,
    });
  }

  /** What is next when nobody may need it any more. */
  #rest(): void {
    if (this.#references.size > 0 || this.#waiters.size > 0 || this.#launching || this.#disposed) return;
    if (this.#cancelRestart) return;
    if (this.#session === undefined) return this.#host.rests(this);
    if (this.#leaving || this.#breaker.isOpen) {
      return void this.#stopSession(this.#leaving ? "reload" : "failing");
    }
    const { settings, tools } = this.#host;
    this.#idleSince ??= tools.now();
    const idleTimeoutMs = settings.idleTimeoutMs || Infinity;
    const isUseless = this.#complaints > 0 && !this.#hasWorked;
    const keptMs = isUseless ? Math.min(idleTimeoutMs, USELESS_IDLE_MS) : idleTimeoutMs;
    if (keptMs === Infinity || this.#cancelIdle) return;
    this.#cancelIdle = tools.after(keptMs, () => void this.#stopSession("idle"));
  }

  #stopIdling(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    this.#idleSince = undefined;
  }

  /** From now on it has no session; resolves when the process of the one that it had has ended. */
  async #stopSession(why: string): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    this.#stopIdling();
    if (session === undefined) return;
    const { hostname } = this;
    const { pid, port } = session;
    this.#failedStarts = 0;
    this.#host.log.info("cloudflared_stopping", { hostname, pid, port, why });
    const stopped = session.stop();
    this.#rest();
    await stopped;
  }
}
