import type { ClosedEvent, ConnectionId } from "../../core/plugin/mod.ts";
import type { Answer } from "./answer.ts";
import type { RestartConfig } from "./config.ts";
import type { Failure } from "./failure.ts";
import { Health, type HealthHost } from "./health.ts";
import { Launcher, type LauncherHost } from "./launcher.ts";
import type { Launch, Session } from "./session.ts";
import { CLIENT_LEFT, type Scope, Waiters } from "./waiters.ts";

/** What of the config may change under a tunnel that stays. */
export interface TunnelSettings {
  readonly idleTimeoutMs: number;
  readonly startupTimeoutMs: number;
  readonly restart: RestartConfig;
}

/** What a tunnel needs from who holds it. */
export interface TunnelHost extends LauncherHost, HealthHost {
  readonly settings: TunnelSettings;
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

/**
 * How long a process that nobody uses is kept when it has said that it failed, and has carried nothing: a name that
 * somebody made up ends like that, and there is no end of those.
 */
const USELESS_IDLE_MS = 10_000;

const STOPPED: Answer = { kind: "refused", failure: { reason: "stopped", detail: "" } };

/**
 * The tunnel to one host name: starts the program for the first connection, restarts it while it is needed, stops it
 * when it is not, and keeps connections away while it fails.
 */
export class Tunnel {
  readonly hostname: string;
  /** The server name that it was first asked for by. */
  readonly serverName: string;
  readonly #host: TunnelHost;
  readonly #health: Health;
  readonly #launcher: Launcher;
  readonly #waiters = new Waiters((connection) => this.#health.left(connection));
  readonly #references = new Map<ConnectionId, Reference>();
  #launching = false;
  #cancelIdle: (() => void) | undefined;
  #cancelRestart: (() => void) | undefined;
  #idleSince: number | undefined;
  #restarts = 0;
  /** Somebody used the session when its program ended: until it is known why, they may have noticed and left. */
  #wasNeeded = false;
  #leaving = false;
  #disposed = false;

  constructor(hostname: string, serverName: string, launch: Launch, host: TunnelHost) {
    this.hostname = hostname;
    this.serverName = serverName;
    this.#host = host;
    this.#health = new Health(hostname, host);
    this.#launcher = new Launcher(host, {
      ...launch,
      hostname,
      onBegun: () => {
        this.#wasNeeded = false;
        this.#health.begun();
      },
      onEnded: (session, failure) => this.#ended(session, failure),
      isInUse: (session) => this.#references.values().some((reference) => reference.session === session),
      onComplaint: (failure) => this.#complained(failure),
      onFatal: (failure) => {
        this.#health.fatal(failure);
        this.#opened("stop");
      },
      onExit: () => this.#wasNeeded = this.#references.size > 0,
    });
  }

  get state(): TunnelState {
    if (this.#cancelRestart) return "restarting";
    if (this.#launching) return "starting";
    if (this.session && !this.#health.isOpen) return "ready";
    return this.isFailing ? "failed" : "stopped";
  }

  /** Whether it remembers a failure after which nothing has worked yet. */
  get isFailing(): boolean {
    return this.#health.isFailing;
  }

  /** Whether its process has brought an answer to somebody. */
  get hasWorked(): boolean {
    return this.#health.hasWorked;
  }

  get session(): Session | undefined {
    return this.#launcher.session;
  }

  get references(): number {
    return this.#references.size;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get lastFailure(): Failure | undefined {
    return this.#health.lastFailure;
  }

  /** Since when nobody uses its process, on the clock of the tools; absent while somebody does, or without one. */
  get idleSince(): number | undefined {
    return this.#idleSince;
  }

  /** Brings a connection to the tunnel, which has a reference from then on until `release`. */
  acquire(connection: ConnectionId, scope: Scope): Answer | Promise<Answer> {
    if (this.#disposed) return STOPPED;
    if (this.#leaving) return { kind: "moved" };
    // One that has just ended by itself is still there until it is known why: who comes now waits for that, too.
    const needsStart = !this.session && !this.#launching && !this.#cancelRestart;
    const refusal = this.#health.admit(connection, needsStart);
    if (refusal) return refusal;
    this.#stopIdling();
    if (this.session?.state === "ready") return this.#refer(connection, this.session);
    const { signal } = scope;
    if (signal.aborted) {
      this.#health.left(connection);
      this.#rest();
      return CLIENT_LEFT;
    }
    if (needsStart) this.#start(false);
    return this.#waiters.wait(connection, signal);
  }

  /** A connection that was brought here has ended. */
  release(event: ClosedEvent): void {
    const reference = this.#references.get(event.connection);
    if (reference === undefined) return;
    this.#references.delete(event.connection);
    const { session, sentAt } = reference;
    if (this.#health.closed(event, sentAt, session === this.session)) this.#opened("keep");
    this.#rest();
  }

  /** Gives it up for a new config: no new connections; its process ends with the last of the old ones. */
  leave(): void {
    this.#leaving = true;
    this.#stopRestart();
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
    this.#launcher.close();
    this.#stopRestart();
    this.#stopIdling();
    this.#answerWaiters(STOPPED);
    await this.#stopSession("disposed");
  }

  #refer(connection: ConnectionId, session: Session): Answer {
    this.#references.set(connection, { session, sentAt: this.#host.tools.now() });
    this.#health.sent(connection);
    return { kind: "port", port: session.port };
  }

  #answerWaiters(answer: Answer): void {
    this.#waiters.answerAll((connection) => {
      this.#health.left(connection);
      return answer;
    });
  }

  #start(again: boolean): void {
    this.#launching = true;
    this.#launcher.launch().then((failure) => {
      this.#launching = false;
      if (this.#disposed) return;
      if (failure === undefined) this.#started();
      else if (again && !this.#leaving) this.#crashed(failure);
      else this.#startFailed(failure);
    });
  }

  #started(): void {
    const { counters, log, tools } = this.#host;
    const session = this.session;
    counters.startsOk++;
    if (session === undefined) { // it was ready, and is over already
      const failure = this.lastFailure;
      if (!this.#cancelRestart && failure) this.#answerWaiters({ kind: "refused", failure });
      return this.#rest();
    }
    const { pid, port, startedAt } = session;
    const ms = Math.round(tools.now() - startedAt);
    log.info("cloudflared_started", { hostname: this.hostname, sni: this.serverName, pid, port, ms });
    this.#waiters.answerAll((connection) => this.#refer(connection, session));
    this.#rest();
  }

  #startFailed(failure: Failure): void {
    this.#host.counters.startsFailed++;
    this.#refuseWaiters(failure, this.#health.startFailed(failure));
  }

  /** The program has ended by itself. */
  #ended(session: Session, failure: Failure): void {
    this.#stopIdling();
    const wasStable = this.#health.exited(this.#host.tools.now() - session.startedAt);
    const isNeeded = this.#wasNeeded || this.#references.size > 0 || this.#waiters.size > 0;
    if (isNeeded && !this.#leaving) return this.#crashed(failure);
    this.#health.endedUnneeded(failure, wasStable);
    this.#rest();
  }

  #crashed(failure: Failure): void {
    if (!this.#health.mayRestart) return this.#refuseWaiters(failure, this.#health.gaveUp(failure));
    const { counters, log, tools } = this.#host;
    this.#cancelRestart = tools.after(this.#health.crashed(failure), () => {
      this.#cancelRestart = undefined;
      this.#restarts++;
      counters.restarts++;
      log.info("cloudflared_restarting", { hostname: this.hostname, restart: this.#health.restartsInRow });
      this.#start(true);
    });
  }

  #refuseWaiters(failure: Failure, retryInMs: number): void {
    this.#answerWaiters({ kind: "refused", failure, retryInMs });
    this.#rest();
  }

  #complained(failure: Failure): void {
    if (this.#health.complained(failure, this.session?.state === "ready")) this.#opened("keep");
  }

  /** The breaker has opened: a process is kept only for the connections that still go through it. */
  #opened(process: "keep" | "stop"): void {
    if (process === "stop" || this.#references.size === 0) void this.#stopSession("failing");
    this.#rest();
  }

  /** What is next when nobody may need it any more. */
  #rest(): void {
    if (this.#references.size > 0 || this.#waiters.size > 0 || this.#launching || this.#disposed) return;
    if (this.#cancelRestart) return;
    if (this.session === undefined) return this.#host.rests(this);
    if (this.#leaving) return void this.#stopSession("reload");
    if (this.#health.isOpen) return void this.#stopSession("failing");
    this.#idle();
  }

  #idle(): void {
    const { settings, tools } = this.#host;
    this.#idleSince ??= tools.now();
    const idleTimeoutMs = settings.idleTimeoutMs || Infinity;
    const keptMs = this.#health.isUseless ? Math.min(idleTimeoutMs, USELESS_IDLE_MS) : idleTimeoutMs;
    if (keptMs === Infinity || this.#cancelIdle) return;
    this.#cancelIdle = tools.after(keptMs, () => void this.#stopSession("idle"));
  }

  #stopIdling(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    this.#idleSince = undefined;
  }

  #stopRestart(): void {
    this.#cancelRestart?.();
    this.#cancelRestart = undefined;
  }

  /** From now on it has no session; resolves when the process of the one that it had has ended. */
  async #stopSession(why: string): Promise<void> {
    this.#stopIdling();
    const stopped = this.#launcher.stop(why);
    if (stopped === undefined) return;
    this.#health.stopped();
    this.#rest();
    await stopped;
  }
}
