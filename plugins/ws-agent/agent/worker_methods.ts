import type { HostPort } from "../../../core/plugin/mod.ts";
import type { Methods } from "../../../core/rpc.ts";
import type { AgentEnd, AgentEvent, AgentStatus } from "./events.ts";
import type { AgentSettings } from "./settings.ts";

/** Where requests are shown: on the first of these ports that is free. */
export interface InspectAt {
  /** A loopback address. */
  readonly hostname: string;
  readonly ports: readonly number[];
}

/** What an agent's worker is asked for. */
export interface AgentWorkerMethods extends Methods {
  /** @returns Where requests are shown, when they are. */
  start(run: {
    readonly settings: AgentSettings;
    readonly watchRequests: boolean;
    /** The runtime's CAs, PEM: a worker with nothing but `net` may not ask for them. */
    readonly runtimeCas?: string;
    /** Only for a worker that can: see `inspect/worker.ts`. */
    readonly inspect?: InspectAt;
  }): HostPort | undefined;
  update(settings: AgentSettings): void;
  status(): AgentStatus | undefined;
  /** @returns Whether every public connection had finished. */
  stop(graceMs: number): Promise<boolean>;
  stopNow(): void;
  ping(): void;
}

/** What the worker asks of the thread that started it. */
export interface AgentOwnerMethods extends Methods {
  /** Some events at a time, in order; `dropped` more came too fast. */
  events(batch: readonly AgentEvent[], dropped: number): void;
  ended(end: AgentEnd): void;
  /** A worker that may connect to a name on one port may not look it up. */
  lookUp(name: string): Promise<readonly string[]>;
}
