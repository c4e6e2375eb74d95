import type { LimitsConfig } from "../config/config.ts";
import type { Connection } from "./connection.ts";
import { Deadlines } from "./deadlines.ts";
import type { DialAttempt } from "./dial_targets.ts";
import { IdleWatch } from "./idle_watch.ts";

/**
 * With `idleTimeout: 0` a connection of which one direction has ended still has an end, or a silent peer could hold
 * both sockets for ever. An hour, the default of `idleTimeout`.
 */
const HALF_CLOSED_IDLE_MS = 3_600_000;

/** What follows from `limits`, and is made anew when a reload changes them. */
export class TimedQueues {
  readonly limits: LimitsConfig;
  /** The longest that a plugin may take to decide. */
  readonly routeTimeoutMs: number;
  /**
   * Everything from accept to relaying. Each step below has a limit of its own; this one holds however the steps
   * add up.
   */
  readonly setup: Deadlines<Connection>;
  /** Clients that have not said yet what they want, or are in a handshake. */
  readonly clients: Deadlines<Connection>;
  /** Attempts to reach an upstream. */
  readonly dials: Deadlines<DialAttempt>;
  /** Connections that relay; absent with `idleTimeout: 0`. */
  readonly idle: IdleWatch<Connection> | undefined;
  /** Connections of which one direction has ended; absent when `idle` watches them anyway. */
  readonly halfClosed: IdleWatch<Connection> | undefined;

  constructor(limits: LimitsConfig, routeTimeoutMs: number) {
    const { prefaceTimeoutMs, connectTimeoutMs } = limits;
    const setupTimeoutMs = prefaceTimeoutMs + routeTimeoutMs + connectTimeoutMs;
    const expireIdle = (connection: Connection) => connection.end("idle_timeout");
    this.limits = limits;
    this.routeTimeoutMs = routeTimeoutMs;
    this.setup = new Deadlines(setupTimeoutMs, (connection) => connection.expireSetup());
    this.clients = new Deadlines(prefaceTimeoutMs, (connection) => connection.expire());
    this.dials = new Deadlines(connectTimeoutMs, (attempt) => attempt.expire());
    if (limits.idleTimeoutMs > 0) this.idle = new IdleWatch(limits.idleTimeoutMs, expireIdle);
    else this.halfClosed = new IdleWatch(HALF_CLOSED_IDLE_MS, expireIdle);
  }

  close(): void {
    for (const queue of [this.setup, this.clients, this.dials, this.idle, this.halfClosed]) queue?.close();
  }
}
