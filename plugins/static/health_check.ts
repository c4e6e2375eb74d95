import { messageOf } from "../../core/plugin/mod.ts";
import type { Target, Thresholds } from "./target.ts";

/** How a target is checked. Times are in milliseconds. */
export interface HealthCheckConfig extends Thresholds {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** What checks need from outside; tests hand in their own. */
export interface HealthCheckTools {
  /** Opens a TCP connection to `host:port`. Rejects when it can't, or when `signal` is aborted. */
  connect(target: string, signal: AbortSignal): Promise<{ close(): void }>;
  /** Runs `task` once, `ms` from now; the result cancels it. */
  after(ms: number, task: () => void): () => void;
}

/** Told when a target is thought of otherwise than before; `failure` is what tipped it, absent when it is back. */
export type HealthChanged = (target: Target, failure: string | undefined) => void;

/**
 * Connects to one target over and over, the first time at once, and keeps the verdict on it. One check at a time:
 * a target that answers slowly isn't asked again before it has answered or the time is over.
 */
export class HealthCheck implements AsyncDisposable {
  readonly config: HealthCheckConfig;
  readonly #target: Target;
  readonly #tools: HealthCheckTools;
  readonly #changed: HealthChanged;
  readonly #stop = new AbortController();
  #cancelNext: () => void = () => {};
  #due = false;
  /** The check that is going on. */
  #running: Promise<void> | undefined;

  constructor(target: Target, config: HealthCheckConfig, tools: HealthCheckTools, changed: HealthChanged) {
    this.config = config;
    this.#target = target;
    this.#tools = tools;
    this.#changed = changed;
    this.#begin();
  }

  /** A client was connected to the target: as good as a check that passed. */
  connected(): void {
    this.#record(undefined);
  }

  /**
   * A client could not be brought to the target. Looks for itself at once rather than believe it: clients can make
   * attempts fail, by leaving or by speaking what the target doesn't, and nobody shall take a target out that way.
   */
  suspect(): void {
    if (!this.#target.healthy) return;
    this.#cancelNext();
    this.#due = true;
    this.#next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelNext();
    this.#stop.abort();
    await this.#running;
  }

  #next(): void {
    if (this.#due && this.#running === undefined && !this.#stop.signal.aborted) this.#begin();
  }

  /** The next check begins `intervalMs` after this one began, or when this one is over if that is later. */
  #begin(): void {
    this.#due = false;
    this.#cancelNext = this.#tools.after(this.config.intervalMs, () => {
      this.#due = true;
      this.#next();
    });
    this.#running = this.#check().then((failure) => {
      this.#running = undefined;
      this.#record(failure);
      this.#next();
    });
  }

  /** @returns Why the target can't be reached, or nothing when it can. */
  async #check(): Promise<string | undefined> {
    const attempt = new AbortController();
    const stop = () => attempt.abort(this.#stop.signal.reason);
    this.#stop.signal.addEventListener("abort", stop);
    const cancel = this.#tools.after(this.config.timeoutMs, () => attempt.abort());
    try {
      (await this.#tools.connect(this.#target.name, attempt.signal)).close();
      return undefined;
    } catch (error) {
      return attempt.signal.aborted ? `No answer in ${this.config.timeoutMs} ms` : messageOf(error);
    } finally {
      cancel();
      this.#stop.signal.removeEventListener("abort", stop);
    }
  }

  #record(failure: string | undefined): void {
    if (this.#stop.signal.aborted) return;
    if (this.#target.record(failure === undefined, this.config)) this.#changed(this.#target, failure);
  }
}
