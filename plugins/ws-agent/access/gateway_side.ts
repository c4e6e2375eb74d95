import { GatewayError } from "../../../core/plugin/mod.ts";
import { Backoff, pause } from "../agent/backoff.ts";
import { Refused } from "../agent/control_channel.ts";
import { Line } from "../agent/line.ts";
import { type GatewayLink, LINK_TIMES, type LinkTimes, openLink } from "../agent/link.ts";
import type { AgentNetwork } from "../agent/network.ts";
import type { AgentSettings } from "../agent/settings.ts";
import type { Clock } from "../clock.ts";
import type { AccessGranted, Uuid } from "../control/messages.ts";
import type { AccessEnd } from "./events.ts";

/** The right to open streams, and the connection to open them on. */
export interface GrantedLink {
  readonly link: GatewayLink;
  readonly accessId: Uuid;
}

export interface GatewaySideParts {
  readonly settings: Omit<AgentSettings, "services" | "connections" | "name">;
  readonly service: string;
  readonly network: AgentNetwork;
  readonly clock: Clock;
  readonly random: () => number;
  readonly times: Partial<LinkTimes>;
  /** What is left of the time; absent: as long as the gateway gives. */
  remainingMs(): number | undefined;
  granted(granted: GrantedLink, answer: AccessGranted): void;
  /** No streams can be opened until {@link granted} is called again. */
  interrupted(reason: string): void;
  ended(end: AccessEnd): void;
}

/** For so long an access is asked for again after a connection was lost: the service's own agent may be on its way back, too. */
const ASK_AGAIN_MS = 30_000;
/** How long a gateway is waited for that may not be there any more. */
const SOON_MS = 500;
/** After these the gateway wants nobody back. */
const LAST_WORDS: ReadonlySet<string> = new Set(["closed_by_admin", "token_revoked", "token_expired"]);

/** Keeps a connection to the gateway up that has been granted an access. */
export class GatewaySide {
  readonly #parts: GatewaySideParts;
  readonly #line: Line;
  readonly #links = new Set<GatewayLink>();
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #wasGranted = false;

  constructor(parts: GatewaySideParts) {
    this.#parts = parts;
    const { clock, random, settings: { reconnect } } = parts;
    // A name of its own: two accesses must not take each other's connection over.
    const settings: AgentSettings = {
      ...parts.settings,
      name: `access/${crypto.randomUUID()}`,
      connections: 1,
      services: [],
    };
    const epoch = Date.now();
    this.#line = new Line({
      index: 0,
      reconnect,
      clock,
      random,
      open: (slot, signal) =>
        openLink({
          settings,
          slot,
          epoch,
          network: parts.network,
          clock,
          random,
          times: { ...LINK_TIMES, ...parts.times },
          events: { registered: () => {}, refused: () => {} },
          serve: (stream) => stream.reset(), // nothing is served here
          signal,
        }),
      freeSlot: () => this.#freeSlot(),
      connected: (_, link, before) => this.#connected(link, before),
      replacing: (_, reason) => parts.interrupted(reason),
      disconnected: (_, reason) => this.#disconnected(reason),
      lost: (reason) => parts.ended({ kind: "lost", word: "not_let_in", reason }),
    });
  }

  start(): void {
    this.#running = this.#line.run();
  }

  /** Says goodbye, and ends every connection. Harmless when repeated; never rejects. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#line.stop();
    await Promise.all([...this.#links].map((link) => this.#leave(link)));
    await this.#running;
  }

  #freeSlot(): number {
    const taken = new Set([...this.#links].map(({ slot }) => slot));
    return [0, 1, 2, 3].find((slot) => !taken.has(slot)) ?? 0;
  }

  #connected(link: GatewayLink, before: GatewayLink | undefined): void {
    this.#links.add(link);
    // What the one before it says of its access is not about this one's.
    if (before !== undefined) before.control.onAccessEnded = () => {};
    link.control.onAccessEnded = (_, { word, text }) => this.#accessEnded(word, text);
    void link.ended.then(({ farewell, reason }) => {
      this.#links.delete(link);
      const word = farewell?.word;
      if (word !== undefined && LAST_WORDS.has(word)) this.#parts.ended({ kind: "lost", word, reason });
    });
    void this.#ask(link).then((isGranted) => {
      if (isGranted && before !== undefined) this.#retire(before);
    });
  }

  #accessEnded(word: string | undefined, reason: string): void {
    const kind = word === "access_expired" ? "expired" : "lost";
    this.#parts.ended({ kind, reason, ...(word !== undefined && { word }) });
  }

  #disconnected(reason: string): void {
    const { ended, interrupted } = this.#parts;
    if (this.#wasGranted) interrupted(reason);
    else ended({ kind: "lost", word: "not_reached", reason });
  }

  /** Asks for the access, after a reconnect again and again for a while. Never rejects. @returns Whether it was granted. */
  async #ask(link: GatewayLink): Promise<boolean> {
    const { service, clock, settings: { reconnect }, random, remainingMs, granted, ended } = this.#parts;
    const { signal } = this.#stopped;
    const backoff = new Backoff(reconnect, random);
    const end = clock.monotonic() + (this.#wasGranted ? ASK_AGAIN_MS : 0);
    while (!signal.aborted) {
      try {
        const ttlMs = remainingMs();
        const answer = await link.control.access({
          service,
          ...(ttlMs !== undefined && { ttlMs: Math.max(1, Math.round(ttlMs)) }),
        });
        if (signal.aborted) return false;
        this.#wasGranted = true;
        granted({ link, accessId: answer.accessId }, answer);
        return true;
      } catch (error) {
        if (error instanceof GatewayError) return false; // the connection is lost, and its line sees to that
        if (!(error instanceof Refused)) throw error;
        if (clock.monotonic() >= end) {
          const { word, text } = error.reason;
          ended({ kind: "lost", reason: text, ...(word !== undefined && { word }) });
          return false;
        }
        await pause(clock, backoff.next(), signal);
      }
    }
    return false;
  }

  /** What goes over it may end by itself: the gateway that it is of waits for that only so long. */
  #retire(link: GatewayLink): void {
    const look = () => {
      if (link.streams === 0) void this.#leave(link);
    };
    const stop = this.#parts.clock.every(SOON_MS, look);
    void link.ended.then(stop);
    look();
  }

  /** The gateway ends it when it has heard; ending it here at once would cut that off. */
  async #leave(link: GatewayLink): Promise<void> {
    const over = new AbortController();
    void link.ended.then(() => over.abort());
    void link.control.disconnect("The access has ended");
    await pause(this.#parts.clock, SOON_MS, over.signal);
    link.close("The access has ended");
    await link.ended;
  }
}
