import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { type MessageChannelEnd, type Methods, openRpc, type Rpc } from "../rpc.ts";

/** How often a worker is asked whether it lives, and how long it may take to answer, in milliseconds. */
const PING_INTERVAL_MS = 2000;
const PING_TIMEOUT_MS = 10_000;
/** The wait before a restart: doubles from the first to the last, and starts anew once a worker has lived a minute. */
const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 10_000;
const STEADY_MS = 60_000;

/** What a worker is, and what is done when it comes and goes. */
export interface WorkerPlan<Remote extends Methods> {
  /** For the log: `data-plane-0`, `plugin:cloudflared`, `admin`. */
  readonly name: string;
  readonly entry: URL;
  readonly permissions: Deno.PermissionOptionsObject;
  /** What the worker may call of the supervisor. */
  readonly methods: Methods;
  /** Makes a fresh worker ready for work; runs after every start. */
  setUp(rpc: Rpc<Remote>): Promise<void>;
  /** The worker is up: others may be told, and work may begin. */
  begin?(rpc: Rpc<Remote>): Promise<void>;
  /** The worker has ended by itself. */
  down?(): void;
}

/** A method that every worker of the gateway has, to show that it lives. */
type Pingable = { ping(): void };

/**
 * A worker that is started anew, with growing waits, whenever it ends by itself: by an error, by `self.close()`,
 * of which there is no event, or by not answering.
 */
export class ManagedWorker<Remote extends Methods & Pingable> {
  readonly #plan: WorkerPlan<Remote>;
  readonly #log: Log;
  #worker: Worker | undefined;
  #rpc: Rpc<Remote> | undefined;
  #up = false;
  #stopped = false;
  #restarts = 0;
  #generation = 0;
  #backoffMs = FIRST_BACKOFF_MS;
  #startedAt = 0;
  #pinging: ReturnType<typeof setInterval> | undefined;
  #lastPong = 0;
  #restarting: ReturnType<typeof setTimeout> | undefined;

  constructor(plan: WorkerPlan<Remote>, log: Log) {
    this.#plan = plan;
    this.#log = log;
  }

  get name(): string {
    return this.#plan.name;
  }

  /** Whether it is set up and at work. */
  get up(): boolean {
    return this.#up;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Tells one start of the worker from the next. */
  get generation(): number {
    return this.#generation;
  }

  /** The way to the worker that runs now; absent while it is down. */
  get rpc(): Rpc<Remote> | undefined {
    return this.#up ? this.#rpc : undefined;
  }

  /** Starts it for the first time. Rejects when it does not come up: then nothing is left running. */
  async start(): Promise<void> {
    try {
      await this.#launch();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** Ends the worker for good. Whatever it should do before is the caller's to ask. Harmless when repeated. */
  stop(): void {
    this.#stopped = true;
    this.#discard("The gateway is stopping");
    clearTimeout(this.#restarting);
  }

  async #launch(): Promise<void> {
    const plan = this.#plan;
    const { entry, permissions, methods } = plan;
    const worker = this.#worker = new Worker(entry, {
      type: "module",
      name: this.name,
      deno: { permissions },
    });
    const failed = new Promise<never>((_, reject) => {
      worker.onerror = (event) => {
        event.preventDefault(); // or the whole gateway would end with it
        const reason = event.message || "unknown error";
        reject(new Error(reason));
        this.#died(worker, reason);
      };
    });
    failed.catch(() => {});
    const rpc = this.#rpc = openRpc<Remote>(worker as MessageChannelEnd, methods);
    await Promise.race([plan.setUp(rpc), failed]);
    this.#up = true;
    this.#generation++;
    this.#startedAt = this.#lastPong = performance.now();
    this.#pinging = setInterval(() => this.#ping(worker, rpc), PING_INTERVAL_MS);
    await plan.begin?.(rpc);
  }

  #ping(worker: Worker, rpc: Rpc<Remote>): void {
    if (performance.now() - this.#lastPong > PING_TIMEOUT_MS) {
      this.#died(worker, `no answer in ${PING_TIMEOUT_MS} ms`);
      return;
    }
    const pong = () => this.#lastPong = performance.now();
    (rpc as unknown as Rpc<Pingable & Methods>).call("ping").then(pong, () => {});
  }

  #died(worker: Worker, reason: string): void {
    if (worker !== this.#worker || this.#stopped || !this.#up) return;
    this.#log.error("worker_died", { worker: this.name, reason });
    if (performance.now() - this.#startedAt > STEADY_MS) this.#backoffMs = FIRST_BACKOFF_MS;
    this.#discard(`Worker "${this.name}" has died`);
    this.#plan.down?.();
    this.#restartLater();
  }

  #restartLater(): void {
    this.#restarting = setTimeout(() => this.#restart(), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, LAST_BACKOFF_MS);
  }

  async #restart(): Promise<void> {
    this.#restarts++;
    try {
      await this.#launch();
      this.#log.warn("worker_restarted", { worker: this.name, restarts: this.#restarts });
    } catch (error) {
      if (this.#stopped) return;
      this.#log.error("worker_restart_failed", { worker: this.name, reason: messageOf(error) });
      this.#discard(`Worker "${this.name}" did not start`);
      this.#restartLater();
    }
  }

  #discard(reason: string): void {
    this.#up = false;
    clearInterval(this.#pinging);
    this.#rpc?.close(reason);
    this.#worker?.terminate();
    this.#worker = this.#rpc = undefined;
  }
}
