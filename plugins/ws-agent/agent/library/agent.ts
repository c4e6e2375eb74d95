import { GatewayError } from "../../../../core/plugin/mod.ts";
import { Agent as Engine } from "../agent.ts";
import type { AgentEnd, AgentEvent, AgentStatus, ServicePublic } from "../events.ts";
import type { AgentSettings } from "../settings.ts";
import { toSettings } from "./check_options.ts";
import { EventQueue } from "./event_queue.ts";
import type { AgentOptions } from "./options.ts";

/**
 * Exposes services through a gateway, from inside a program: local ones by their addresses, and the program's own by functions, which need
 * no port. It needs the permission to connect to the gateway, and to targets if there are any.
 *
 * ```ts
 * await using agent = new Agent({
 *   gateway: "wss://tunnel.example.com",
 *   token: Deno.env.get("POSTERN_TOKEN"),
 *   services: [{ name: "hello", protocol: "http", fetch: () => new Response("Hello") }],
 * });
 * agent.start();
 * ```
 */
export class Agent implements AsyncDisposable {
  /** Settles when it has stopped, or trying makes no sense any more; all is released then. Never rejects. */
  readonly ended: Promise<AgentEnd>;
  readonly #engine: Engine;
  readonly #settings: AgentSettings;
  readonly #onEvent: ((event: AgentEvent) => void) | undefined;
  readonly #queues = new Set<EventQueue<AgentEvent>>();
  /** What was told last of each service, by its name. */
  readonly #public = new Map<string, ServicePublic>();
  /** Why the gateway does not take a service, and will not, by its name. */
  readonly #refused = new Map<string, string>();
  #hasStarted = false;
  #end: AgentEnd | undefined;

  /** @throws {GatewayError} `config-invalid`, with everything that is wrong, one line each. */
  constructor(options: AgentOptions) {
    this.#settings = toSettings(options);
    this.#onEvent = options.onEvent;
    this.#engine = new Engine(this.#settings, {
      onEvent: (event) => this.#tell(event),
      accept: options.onConnection,
      watchRequests: options.watchRequests,
    });
    this.ended = this.#engine.ended.then((end) => {
      this.#end = end;
      for (const queue of this.#queues) queue.end();
      return end;
    });
  }

  /** Connects, and stays so until it is stopped. Harmless when repeated. */
  start(): void {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#engine.start();
  }

  /**
   * Resolves when the public reaches every service.
   *
   * @throws {GatewayError} `dial-failed`: the gateway does not take the agent or one of its services, or the agent was stopped. And the
   *   reason of `signal`. A gateway that is only not there is waited for.
   */
  async ready({ signal }: { readonly signal?: AbortSignal } = {}): Promise<readonly ServicePublic[]> {
    signal?.throwIfAborted();
    const events = this.events();
    const stop = () => void events.return();
    signal?.addEventListener("abort", stop);
    try {
      while (!this.#isReady()) {
        for (const [service, reason] of this.#refused) {
          throw new GatewayError("dial-failed", `The gateway does not take "${service}": ${reason}`);
        }
        const { done } = await events.next();
        signal?.throwIfAborted();
        if (done) throw new GatewayError("dial-failed", whyEnded(this.#end));
      }
      return [...this.#public.values()];
    } finally {
      signal?.removeEventListener("abort", stop);
      await events.return();
    }
  }

  /**
   * Everything that happens from now on, in order, until the agent has ended. A reader that falls 1000 events behind misses the oldest.
   */
  events(): AsyncIterableIterator<AgentEvent> & Required<Pick<AsyncIterator<AgentEvent>, "return">> {
    const queue = new EventQueue<AgentEvent>((done) => this.#queues.delete(done));
    if (this.#end === undefined) this.#queues.add(queue);
    else queue.end();
    return queue;
  }

  /** How it is now. */
  get status(): AgentStatus {
    return this.#engine.status;
  }

  /**
   * Gives the names back, lets public connections finish for `graceMs`, and ends the rest.
   *
   * @returns Whether all of them had finished.
   */
  stop({ graceMs = 0 }: { readonly graceMs?: number } = {}): Promise<boolean> {
    return this.#engine.stop(graceMs);
  }

  /** Ends at once, with everything that goes over it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#engine[Symbol.asyncDispose]();
  }

  #isReady(): boolean {
    return this.#settings.services.every(({ name }) => this.#public.has(name));
  }

  #tell(event: AgentEvent): void {
    if (event.kind === "public") {
      this.#public.set(event.service, event);
      this.#refused.delete(event.service);
    } else if (event.kind === "refused") {
      this.#public.delete(event.service);
      if (event.isFinal) this.#refused.set(event.service, event.reason);
      else this.#refused.delete(event.service);
    }
    for (const queue of this.#queues) queue.add(event);
    // A listener's fault is not the agent's, and there is nobody here to tell of it: neither now nor, of an async one, later.
    try {
      const told: unknown = this.#onEvent?.(event);
      if (told instanceof Promise) told.catch(() => {});
    } catch { // as above
    }
  }
}

function whyEnded(end: AgentEnd | undefined): string {
  return end?.kind === "lost" ? `The gateway refuses this agent: ${end.reason}` : "The agent was stopped";
}
