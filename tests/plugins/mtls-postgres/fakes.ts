import type { LogEvent } from "../../../core/log.ts";
import { createLog } from "../../../core/log.ts";
import type { PluginContext } from "../../../core/plugin/contract.ts";
import {
  type AccessDatabase,
  type AccessRequest,
  DatabaseDown,
  type DatabaseEvents,
  type DatabaseState,
  type Verdict,
} from "../../../plugins/mtls-postgres/access.ts";
import type { Clock } from "../../../plugins/mtls-postgres/clock.ts";
import { pluginContext } from "../../support/plugin_context.ts";

/** Time that goes on only when it is told to. */
export class FakeClock implements Clock {
  #ms = 0;
  readonly #start = Date.now();
  readonly #timers = new Set<{ readonly at: number; readonly task: () => void }>();

  readonly monotonic = () => this.#ms;
  readonly wall = () => this.#start + this.#ms;

  readonly after = (ms: number, task: () => void) => {
    const timer = { at: this.#ms + ms, task };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  get timers(): number {
    return this.#timers.size;
  }

  /** Runs what is due, in order, and lets what it starts go on in between. */
  async pass(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await settle();
    for (let due = this.#next(end); due !== undefined; due = this.#next(end)) {
      this.#ms = Math.max(this.#ms, due.at);
      this.#timers.delete(due);
      due.task();
      await settle();
    }
    this.#ms = end;
  }

  #next(until: number) {
    return [...this.#timers].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0];
  }
}

/** Lets everything go on that waits for nothing but promises. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve, 0));
}

/** A database that says what it is told to say. */
export class FakeDatabase implements AccessDatabase {
  readonly asked: AccessRequest[] = [];
  state: DatabaseState = { up: true, listening: true };
  events: DatabaseEvents | undefined;
  disposed = 0;
  /** Questions wait for it. */
  gate: Promise<void> = Promise.resolve();
  answer: (request: AccessRequest) => Verdict | Error = () => ({ kind: "allowed", address: "10.0.0.5" });
  /** The most questions that were waiting at once. */
  mostAtOnce = 0;
  #waiting = 0;

  get queries(): number {
    return this.asked.length;
  }

  async decide(request: AccessRequest): Promise<Verdict> {
    this.asked.push(request);
    const answer = this.answer(request); // as of the moment of the question, as a snapshot is
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#waiting);
    try {
      await this.gate;
    } finally {
      this.#waiting--;
    }
    if (!this.state.up) throw new DatabaseDown(this.state.reason);
    if (answer instanceof Error) throw answer;
    return answer;
  }

  set(state: DatabaseState): void {
    this.state = state;
    this.events?.stateChanged(state);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.disposed++;
    return Promise.resolve();
  }
}

/** A context that remembers what it was asked for. */
export interface RecordingContext extends PluginContext {
  readonly logged: readonly LogEvent[];
  readonly ended: readonly (readonly [string, string])[];
  lines(event: string): LogEvent["fields"][];
}

export function recordingContext(files: PluginContext["files"] = {}): RecordingContext {
  const logged: LogEvent[] = [];
  const ended: [string, string][] = [];
  return {
    ...pluginContext({ name: "mtls-postgres", files }),
    log: createLog("test", "debug", (event) => void logged.push(event)),
    endConnection: (connection, result) => void ended.push([connection, result]),
    logged,
    ended,
    lines: (event) => logged.filter((one) => one.event === event).map(({ fields }) => fields),
  };
}
