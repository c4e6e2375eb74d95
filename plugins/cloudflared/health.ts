import type { ClosedEvent, ConnectionId, Log } from "../../core/plugin/mod.ts";
import type { Answer } from "./answer.ts";
import { Breaker, growingWait } from "./breaker.ts";
import type { RestartConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { describeFailure, type Failure } from "./failure.ts";
import type { Tools } from "./tools.ts";

/** What the health of all tunnels shares. */
export interface HealthHost {
  readonly tools: Tools;
  readonly log: Log;
  readonly counters: Counters;
  readonly settings: { readonly restart: RestartConfig };
}

/** Complaints in a row that open the breaker. */
const MAX_COMPLAINTS = 3;
/** The same when only the connections show it: a service behind the tunnel may hang up on bad clients, too. */
const MAX_DROPS = 10;
/** A program that ran this long did not end because of how it was started: its restarts are counted anew. */
const STABLE_MS = 60_000;
/** How a connection ends that the tunnel took and did nothing with. */
const DROPPED: ReadonlySet<string> = new Set([
  "no_answer",
  "connect_failed",
  "connect_timeout",
  "upstream_reset",
]);

/**
 * Judges one tunnel by how its connections end, by what its program says, and by how that ends; and keeps connections
 * away from one that fails.
 */
export class Health {
  readonly #hostname: string;
  readonly #host: HealthHost;
  readonly #breaker: Breaker;
  #complaints = 0;
  #drops = 0;
  #droppedAt = -Infinity;
  #hasWorked = false;
  /** Processes in a row that did not come to listen, or ended by themselves without being of use to anybody. */
  #failedStarts = 0;
  #startableAt = 0;
  #restartsInRow = 0;
  #lastFailure: Failure | undefined;

  constructor(hostname: string, host: HealthHost) {
    this.#hostname = hostname;
    this.#host = host;
    this.#breaker = new Breaker(host.tools.now);
  }

  /** Whether nobody is let through now, though the program may listen. */
  get isOpen(): boolean {
    return this.#breaker.isOpen;
  }

  /** Whether it remembers a failure after which nothing has worked yet. */
  get isFailing(): boolean {
    return !this.#breaker.isClosed || this.#failedStarts > 0;
  }

  /** Whether the process has brought an answer to somebody. */
  get hasWorked(): boolean {
    return this.#hasWorked;
  }

  /** Whether the process has said that it failed, and has carried nothing. */
  get isUseless(): boolean {
    return this.#complaints > 0 && !this.#hasWorked;
  }

  /** Whether one more restart is allowed. */
  get mayRestart(): boolean {
    return this.#restartsInRow < this.#host.settings.restart.max;
  }

  get restartsInRow(): number {
    return this.#restartsInRow;
  }

  get lastFailure(): Failure | undefined {
    return this.#lastFailure;
  }

  /**
   * Asks for a connection to be let through.
   *
   * @param needsStart Whether the program would have to be started for it.
   * @returns Why it is not let through, if so.
   */
  admit(connection: ConnectionId, needsStart: boolean): Answer | undefined {
    const startInMs = needsStart ? this.#startableAt - this.#host.tools.now() : 0;
    const retryInMs = startInMs > 0 ? startInMs : this.#breaker.admit(connection);
    if (retryInMs <= 0 || this.#lastFailure === undefined) return undefined;
    return { kind: "refused", failure: this.#lastFailure, retryInMs };
  }

  /** A connection that was let through is on its way to the program. */
  sent(connection: ConnectionId): void {
    this.#breaker.sent(connection);
  }

  /** A connection that was let through was not sent. */
  left(connection: ConnectionId): void {
    this.#breaker.ended(connection);
  }

  /**
   * A connection has ended.
   *
   * @param sentAt When it was sent to the program, on the clock of the tools.
   * @param isCurrent Whether the process that it went through is still the one that new connections go to.
   * @returns Whether that opens the breaker.
   */
  closed({ connection, bytesOut, result }: ClosedEvent, sentAt: number, isCurrent: boolean): boolean {
    let opens = false;
    if (bytesOut > 0) this.#worked(sentAt, isCurrent);
    else if (isCurrent && DROPPED.has(result)) opens = this.#dropped(connection, sentAt);
    this.#breaker.ended(connection);
    return opens;
  }

  /**
   * The program says that it could not bring a connection to where it belongs.
   *
   * @param isReady Whether connections go to it yet; before that, it speaks of one that only tried whether it listens.
   * @returns Whether that opens the breaker.
   */
  complained(failure: Failure, isReady: boolean): boolean {
    this.#host.counters.failed(failure.reason);
    // The program may say why after the connection has shown that: then the better reason stays.
    if (this.#lastFailure?.reason === "dropped_connections" || this.#breaker.isClosed) {
      this.#lastFailure = failure;
    }
    if (this.#breaker.isOpen || !isReady) return false;
    this.#complaints++;
    if (!this.#breaker.isOnTrial && this.#complaints < MAX_COMPLAINTS) return false;
    this.#trip(failure);
    return true;
  }

  /** The program says that it will bring no connection anywhere: opens the breaker. */
  fatal(failure: Failure): void {
    this.#host.counters.failed(failure.reason);
    this.#trip(failure);
  }

  /** There is another process now, which has not worked yet. */
  begun(): void {
    this.#hasWorked = false;
  }

  /** The program did not come to listen. @returns For how long it is not started again, in milliseconds. */
  startFailed(failure: Failure): number {
    // Which is not this tunnel's doing, and asking again costs nothing.
    return this.#failed(failure, failure.reason === "no_free_port" ? 0 : this.#holdOffStarts());
  }

  /**
   * The process has ended by itself: what it said, and what it dropped, ends with it.
   *
   * @returns Whether it ran for so long that its end has nothing to do with how it was started.
   */
  exited(ranMs: number): boolean {
    this.#complaints = this.#drops = 0;
    const wasStable = ranMs >= STABLE_MS;
    if (wasStable) this.#restartsInRow = this.#failedStarts = 0;
    return wasStable;
  }

  /** The process that has ended by itself was needed by nobody, so it is not restarted. */
  endedUnneeded(failure: Failure, wasStable: boolean): void {
    // Whoever comes next would start it once more, as fast as it ends.
    this.#failed(failure, wasStable || this.#hasWorked ? 0 : this.#holdOffStarts());
  }

  /** The program is to be restarted. @returns In how many milliseconds. */
  crashed(failure: Failure): number {
    const waitMs = growingWait(this.#host.settings.restart.backoffMs, ++this.#restartsInRow);
    return this.#failed(failure, waitMs);
  }

  /** The program is not restarted any more. @returns For how long it is not started either, in milliseconds. */
  gaveUp(failure: Failure): number {
    const { settings: { restart }, log } = this.#host;
    // The next connection tries anew; without restarts only that could be a storm of them.
    const waitMs = restart.max === 0 && !this.#hasWorked ? this.#holdOffStarts() : 0;
    this.#failed(failure, waitMs);
    log.error("cloudflared_gave_up", { hostname: this.#hostname, restarts: this.#restartsInRow });
    this.#restartsInRow = 0;
    this.#failedStarts ||= 1; // failed, until it works
    return waitMs;
  }

  /** The process was told to stop: how it ends is no failure. */
  stopped(): void {
    this.#failedStarts = 0;
  }

  #worked(sentAt: number, isCurrent: boolean): void {
    this.#complaints = this.#drops = this.#failedStarts = 0;
    if (isCurrent) this.#hasWorked = true;
    if (this.#breaker.isClosed) return;
    this.#breaker.worked(sentAt);
    if (this.#breaker.isClosed) this.#host.log.info("cloudflared_recovered", { hostname: this.#hostname });
  }

  #dropped(connection: ConnectionId, sentAt: number): boolean {
    if (this.#breaker.isOpen) return false;
    // Connections that end together, as in a crash, tell no more than one of them.
    if (sentAt < this.#droppedAt) return false;
    this.#droppedAt = this.#host.tools.now();
    this.#drops++;
    if (!this.#breaker.isTrial(connection) && this.#drops < MAX_DROPS) return false;
    this.#trip(this.#whyDropped());
    return true;
  }

  #whyDropped(): Failure {
    if (this.#complaints > 0 && this.#lastFailure) return this.#lastFailure; // counted when the program said it
    this.#host.counters.failed("dropped_connections");
    return { reason: "dropped_connections", detail: `${this.#drops} in a row` };
  }

  /** Lets nobody start the program for a while that grows. @returns For how long, in milliseconds. */
  #holdOffStarts(): number {
    const { settings, tools } = this.#host;
    const waitMs = growingWait(settings.restart.backoffMs, ++this.#failedStarts);
    this.#startableAt = tools.now() + waitMs;
    return waitMs;
  }

  #trip(failure: Failure): void {
    this.#complaints = this.#drops = 0;
    this.#tell(failure, this.#breaker.trip(this.#host.settings.restart.backoffMs));
  }

  #failed(failure: Failure, waitMs: number): number {
    this.#host.counters.failed(failure.reason);
    this.#tell(failure, waitMs);
    return waitMs;
  }

  #tell(failure: Failure, waitMs: number): void {
    this.#lastFailure = failure;
    this.#host.log.error("cloudflared_failed", {
      hostname: this.#hostname,
      cause: failure.reason,
      reason: describeFailure(failure),
      waitMs,
    });
  }
}
