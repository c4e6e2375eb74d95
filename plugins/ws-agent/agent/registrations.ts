import type { Clock } from "../clock.ts";
import type { RegisterService, ServiceRegistered, Uuid } from "../control/messages.ts";
import { Backoff, pause } from "./backoff.ts";
import { type ControlChannel, Refused } from "./control_channel.ts";
import { type AgentService, type AgentSettings, registrationKey } from "./settings.ts";
import { formatTarget } from "./target.ts";

/** Who wants to know what became of services on one connection. */
export interface RegistrationEvents {
  registered(service: AgentService, answer: ServiceRegistered): void;
  refused(service: AgentService, refusal: Refused, retryMs: number): void;
}

interface Parts {
  readonly settings: Pick<AgentSettings, "reconnect">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly events: RegistrationEvents;
}

/** One service on one connection. */
interface Entry {
  service: AgentService;
  id: Uuid | undefined;
  /** Ends the attempts to register it. */
  readonly withdrawn: AbortController;
}

/** Registers the agent's services on one connection, keeps asking for what is refused, and knows them by the gateway's ids. */
export class Registrations {
  readonly #control: Pick<ControlChannel, "register" | "unregister">;
  readonly #parts: Parts;
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<Uuid, Entry>();
  /** Questions on their way, and who waits for one of them to be answered. */
  #open = 0;
  readonly #waiting = new Set<() => void>();
  #closed = false;

  constructor(control: Pick<ControlChannel, "register" | "unregister">, parts: Parts) {
    this.#control = control;
    this.#parts = parts;
  }

  /**
   * Makes the services on this connection these. What only leads elsewhere than before stays registered.
   *
   * @returns When each new one was answered once. Never rejects.
   */
  async use(services: readonly AgentService[]): Promise<void> {
    const wanted = new Map(services.map((service) => [registrationKey(service), service]));
    for (const [key, entry] of [...this.#entries]) if (!wanted.has(key)) this.#withdraw(key, entry);
    const first: Promise<void>[] = [];
    for (const [key, service] of wanted) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) entry.service = service;
      else first.push(this.#add(key, service));
    }
    await Promise.all(first);
  }

  /**
   * The service that a stream is for; one whose registration may just be on its way is waited for.
   *
   * @param signal Aborted when nobody wants to know any more.
   */
  async find(id: Uuid, signal: AbortSignal): Promise<AgentService | undefined> {
    for (;;) {
      const entry = this.#byId.get(id);
      if (entry !== undefined || this.#open === 0 || this.#closed || signal.aborted) return entry?.service;
      await this.#nextAnswer(signal);
    }
  }

  /** Gives every name back at once. Streams that are on their way are still for the services that they were opened for. */
  withdrawAll(): void {
    for (const { id, withdrawn } of this.#entries.values()) {
      withdrawn.abort();
      if (id !== undefined) this.#control.unregister(id);
    }
    this.#entries.clear();
  }

  /** Ends all attempts; the connection is over. */
  close(): void {
    this.#closed = true;
    for (const { withdrawn } of this.#entries.values()) withdrawn.abort();
    this.#wake();
  }

  #add(key: string, service: AgentService): Promise<void> {
    const entry: Entry = { service, id: undefined, withdrawn: new AbortController() };
    this.#entries.set(key, entry);
    const { promise, resolve } = Promise.withResolvers<void>();
    void this.#register(entry, resolve).finally(resolve);
    return promise;
  }

  #withdraw(key: string, entry: Entry): void {
    this.#entries.delete(key);
    entry.withdrawn.abort();
    if (entry.id === undefined) return;
    this.#byId.delete(entry.id);
    this.#control.unregister(entry.id);
  }

  /** Until it is registered, or not wanted any more. @param answered Called after the first answer. */
  async #register(entry: Entry, answered: () => void): Promise<void> {
    const { settings, clock, random, events } = this.#parts;
    const backoff = new Backoff(settings.reconnect, random);
    const { signal } = entry.withdrawn;
    while (!signal.aborted) {
      const outcome = await this.#attempt(entry);
      if (outcome === "settled") return;
      const retryMs = backoff.next();
      if (!signal.aborted) events.refused(entry.service, outcome, retryMs);
      answered();
      await pause(clock, retryMs, signal);
    }
  }

  /** @returns `settled` also when the connection has ended: it says so itself. */
  async #attempt(entry: Entry): Promise<"settled" | Refused> {
    this.#open++;
    try {
      const answer = await this.#control.register(messageFor(entry.service));
      this.#answered(entry, answer);
      return "settled";
    } catch (error) {
      return error instanceof Refused ? error : "settled";
    } finally { // not before the answer is known: who waits looks again now
      this.#open--;
      this.#wake();
    }
  }

  #answered(entry: Entry, answer: ServiceRegistered): void {
    if (this.#closed) return;
    if (entry.withdrawn.signal.aborted) return this.#control.unregister(answer.serviceId);
    entry.id = answer.serviceId;
    this.#byId.set(answer.serviceId, entry);
    this.#parts.events.registered(entry.service, answer);
  }

  /** Until a question was answered, or the signal is aborted. */
  #nextAnswer(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}

function messageFor(service: AgentService): RegisterService {
  const { name, protocol, target, hostname, remotePort, private: isPrivate, share, balance } = service;
  return {
    name,
    protocol,
    target: formatTarget(target),
    ...(hostname !== undefined && { hostname }),
    ...(remotePort !== undefined && { remotePort }),
    ...(isPrivate && { private: true }),
    ...(share && { shared: true }),
    ...(balance !== undefined && { balance }),
  };
}
