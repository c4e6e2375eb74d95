/** The workers that were started while it watched, by their names, so that one can be ended behind the supervisor's back. */
export interface StartedWorkers {
  kill(name: string): void;
  /** Watches no more. */
  restore(): void;
}

/** Takes note of every worker that is started from now on. */
export function captureWorkers(): StartedWorkers {
  const { Worker } = globalThis;
  const started = new Map<string, Worker>();
  globalThis.Worker = class extends Worker {
    constructor(specifier: string | URL, options?: WorkerOptions) {
      super(specifier, options);
      started.set(options?.name ?? "", this);
    }
  };
  return {
    kill: (name) => started.get(name)?.terminate(),
    restore: () => globalThis.Worker = Worker,
  };
}
