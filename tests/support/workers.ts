/** The workers that were started while it watched, by their names, so that one can be ended behind the supervisor's back. */
export interface StartedWorkers {
  kill(name: string): void;
  /** Tells whoever started it that it has ended by an error. */
  crash(name: string): void;
  /** What is sent to the next worker of this name waits. */
  holdNext(name: string): HeldWorker;
  /** Watches no more. */
  restore(): void;
}

/** A worker that hears nothing yet. */
export interface HeldWorker {
  /** Messages that were sent to it while it was held. */
  readonly waiting: number;
  release(): void;
}

/** Takes note of every worker that is started from now on. */
export function captureWorkers(): StartedWorkers {
  const { Worker } = globalThis;
  const started = new Map<string, Worker>();
  const held = new Map<string, Held>();
  globalThis.Worker = class extends Worker {
    readonly #held: Held | undefined;

    constructor(specifier: string | URL, options?: WorkerOptions) {
      super(specifier, options);
      const name = options?.name ?? "";
      started.set(name, this);
      this.#held = held.get(name);
      held.delete(name);
    }

    override postMessage(message: unknown, transfer?: Transferable[] | StructuredSerializeOptions): void {
      const send = () => super.postMessage(message, transfer as Transferable[]);
      if (this.#held) this.#held.send(send);
      else send();
    }
  };
  return {
    kill: (name) => started.get(name)?.terminate(),
    crash: (name) =>
      started.get(name)?.onerror?.(new ErrorEvent("error", { message: "as if it had crashed" })),
    holdNext(name) {
      const one = new Held();
      held.set(name, one);
      return one;
    },
    restore: () => globalThis.Worker = Worker,
  };
}

class Held implements HeldWorker {
  #waiting: (() => void)[] | undefined = [];

  get waiting(): number {
    return this.#waiting?.length ?? 0;
  }

  send(message: () => void): void {
    if (this.#waiting) this.#waiting.push(message);
    else message();
  }

  release(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const message of waiting) message();
  }
}
