import { GatewayError, messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { type MessageChannelEnd, type Methods, openRpc, type Rpc } from "../rpc.ts";

/** How a worker is watched; every time in milliseconds. */
export interface WorkerTimes {
  /** How long it may take to be ready for work. */
  readonly startMs: number;
  /** How often it is asked whether it lives. */
  readonly pingMs: number;
  /** The wait before a restart doubles from the first to the last. */
  readonly firstBackoffMs: number;
  readonly lastBackoffMs: number;
  /** A worker that has lived this long begins with the first wait again. */
  readonly steadyMs: number;
}

const TIMES: WorkerTimes = {
  startMs: 30_000,
  pingMs: 2000,
  firstBackoffMs: 100,
  lastBackoffMs: 10_000,
  steadyMs: 60_000,
};
/**
 * Questions that may be open before a worker counts as hung. They are counted, and no clock is read: when the whole
 * process was stopped for a while, no worker is to blame.
 */
const MAX_UNANSWERED = 5;

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
  /** The worker is set up: others may be told, and work may begin. */
  begin?(rpc: Rpc<Remote>): void | Promise<void>;
  /** The worker has ended by itself, or did not come up again. */
  down?(): void;
  /** @default half a minute to start, 10 seconds without an answer */
  readonly times?: Partial<WorkerTimes>;
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
  readonly #times: WorkerTimes;
  #worker: Worker | undefined;
  #rpc: Rpc<Remote> | undefined;
  #up = false;
  /** Ends the launch that is going on. */
  #failLaunch: ((error: Error) => void) | undefined;
  #stopped = false;
  #restarts = 0;
  #generation = 0;
  #backoffMs: number;
  #startedAt = 0;
  #pinging: ReturnType<typeof setInterval> | undefined;
  #unanswered = 0;
  #restarting: ReturnType<typeof setTimeout> | undefined;

  constructor(plan: WorkerPlan<Remote>, log: Log) {
    this.#plan = plan;
    this.#log = log;
    this.#times = { ...TIMES, ...plan.times };
    this.#backoffMs = this.#times.firstBackoffMs;
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
      if (error instanceof GatewayError) throw error;
      throw new Error(`Worker "${this.name}" did not start: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Ends the worker for good. Whatever it should do before is the caller's to ask. Harmless when repeated. */
  stop(): void {
    this.#stopped = true;
    this.#discard("The gateway is stopping");
    this.#failLaunch?.(new Error("The gateway is stopping"));
    clearTimeout(this.#restarting);
  }

  /** Ends a worker that is in a state that it should not be in; it is started anew as after a crash. */
  restart(reason: string): void {
    if (this.#worker) this.#died(this.#worker, reason);
  }

  async #launch(): Promise<void> {
    const { entry, permissions, methods } = this.#plan;
    const worker = this.#worker = new Worker(entry, {
      type: "module",
      name: this.name,
      deno: { permissions },
    });
    worker.onerror = (event) => {
      event.preventDefault(); // or the whole gateway would end with it
      this.#died(worker, event.message || "unknown error");
    };
    const rpc = this.#rpc = openRpc<Remote>(worker as MessageChannelEnd, methods);
    await this.#inTime(this.#bringUp(rpc));
    if (worker !== this.#worker) throw new Error("stopped meanwhile");
    this.#startedAt = performance.now();
    this.#unanswered = 0;
    this.#pinging = setInterval(() => this.#ping(worker, rpc), this.#times.pingMs);
  }

  async #bringUp(rpc: Rpc<Remote>): Promise<void> {
    await this.#plan.setUp(rpc);
    if (rpc !== this.#rpc) return; // it was given up meanwhile
    this.#up = true;
    this.#generation++;
    await this.#plan.begin?.(rpc);
  }

  /** Waits for the launch to be done. One that hangs fails, and so does one of which the worker ends. */
  async #inTime(launch: Promise<void>): Promise<void> {
    const { promise: failed, reject } = Promise.withResolvers<never>();
    this.#failLaunch = reject;
    const { startMs } = this.#times;
    const timer = setTimeout(() => reject(new Error(`not ready in ${startMs} ms`)), startMs);
    try {
      await Promise.race([launch, failed]);
    } finally {
      clearTimeout(timer);
      this.#failLaunch = undefined;
    }
  }

  #ping(worker: Worker, rpc: Rpc<Remote>): void {
    if (this.#unanswered >= MAX_UNANSWERED) {
      this.#died(worker, `no answer in ${MAX_UNANSWERED * this.#times.pingMs} ms`);
      return;
    }
    this.#unanswered++;
    const pong = () => this.#unanswered = 0;
    (rpc as unknown as Rpc<Pingable & Methods>).call("ping").then(pong, () => {});
  }

  #died(worker: Worker, reason: string): void {
    if (worker !== this.#worker || this.#stopped) return;
    if (this.#failLaunch) {
      this.#failLaunch(new Error(reason));
      return;
    }
    this.#log.error("worker_died", { worker: this.name, reason });
    const { steadyMs, firstBackoffMs } = this.#times;
    if (performance.now() - this.#startedAt > steadyMs) this.#backoffMs = firstBackoffMs;
    this.#discard(`Worker "${this.name}" has died`);
    this.#plan.down?.();
    this.#restartLater();
  }

  #restartLater(): void {
    this.#restarting = setTimeout(() => this.#restart(), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, this.#times.lastBackoffMs);
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
      this.#plan.down?.(); // others may have been told of it already
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
