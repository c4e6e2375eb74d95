import type { LiveReport, LiveSample } from "../data_plane/snapshot.ts";
import { ANSWER_TIMEOUT_MS, answerWithin } from "./answer_within.ts";
import { maskField } from "./mask.ts";

/** Listeners at once: each tab of a dashboard that is looked at is one. */
export const MAX_LISTENERS = 16;

/** Samples that a new listener gets, so that its charts do not begin empty: five minutes. */
const MAX_HISTORY = 300;

/** What may wait for a listener: the history is up to 100 KB. Who reads more slowly than that is dropped. */
export const MAX_WAITING_BYTES = 256 * 1024;

/** Without anything to say, a comment shows proxies and browsers that the line is alive. */
const HEARTBEAT_MS = 10_000;

export interface LiveHubOptions {
  /** Asks for what goes on; see `AdminMethods.live`. */
  readonly live: (after: number) => Promise<LiveReport>;
  /** @default 1000 */
  readonly intervalMs?: number;
  /** How long an answer may take before it is asked for again. @default 5000 */
  readonly answerTimeoutMs?: number;
}

export interface ListenerOptions {
  /** The last event that it has seen; without, it gets those that happen from now on. */
  readonly after?: number | undefined;
  /** Whether it may still listen; asked before everything that is sent. */
  readonly permitted: () => boolean;
}

interface Listener {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly permitted: () => boolean;
  after: number | undefined;
  heardAt: number;
}

/** Tells everybody who listens what goes on: asked for once a second for all of them, and only while there is one. */
export class LiveHub {
  readonly #live: LiveHubOptions["live"];
  readonly #intervalMs: number;
  readonly #listeners = new Set<Listener>();
  readonly #history: LiveSample[] = [];
  readonly #encoder = new TextEncoder();
  #sequence = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #stopped = false;

  constructor({ live, intervalMs = 1000, answerTimeoutMs = ANSWER_TIMEOUT_MS }: LiveHubOptions) {
    this.#live = (after) => answerWithin(answerTimeoutMs, live(after));
    this.#intervalMs = intervalMs;
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** A stream of server-sent events (HTML Living Standard, §9.2); `undefined`: too many listen, or no more may. */
  open({ after, permitted }: ListenerOptions): ReadableStream<Uint8Array> | undefined {
    if (this.#stopped || this.#listeners.size >= MAX_LISTENERS) return undefined;
    let listener: Listener | undefined;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        listener = { controller, permitted, after, heardAt: performance.now() };
        this.#listeners.add(listener);
        this.#send(listener, `retry: 2000\n\n${message("history", this.#history)}`);
        if (this.#timer === undefined && !this.#asking) void this.#tick();
      },
      cancel: () => {
        if (listener) this.#listeners.delete(listener);
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING_BYTES }));
  }

  /** Ends every stream. Those who may listen come back by themselves. */
  closeAll(): void {
    for (const listener of this.#listeners) this.#end(listener);
  }

  /** Ends every stream for good. */
  stop(): void {
    this.#stopped = true;
    this.closeAll();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Never rejects. */
  async #tick(): Promise<void> {
    this.#timer = undefined;
    if (this.#listeners.size === 0 || this.#stopped) return;
    const began = performance.now();
    const asking = [...this.#listeners]; // one that comes meanwhile may have seen less than what is asked for
    this.#asking = true;
    try {
      this.#tell(await this.#live(this.#oldestWanted()), asking);
    } catch {
      // It will be asked again; who listens sees that nothing comes but heartbeats.
    } finally {
      this.#asking = false;
    }
    this.#keepAlive();
    if (this.#stopped || this.#listeners.size === 0) return;
    const rest = Math.max(this.#intervalMs - (performance.now() - began), this.#intervalMs / 10);
    this.#timer = setTimeout(() => void this.#tick(), rest);
  }

  #oldestWanted(): number {
    let oldest = this.#sequence;
    for (const { after } of this.#listeners) oldest = Math.min(oldest, seenUpTo(after, this.#sequence));
    return oldest;
  }

  #tell({ sample, events, sequence }: LiveReport, listeners: readonly Listener[]): void {
    this.#sequence = sequence;
    this.#history.push(sample);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    const text = message("sample", sample);
    for (const listener of listeners) {
      if (!this.#listeners.has(listener)) continue; // it has left
      const after = seenUpTo(listener.after, sequence);
      const news = events.filter((event) => event.sequence > after)
        .map((event) => message("happened", event, event.sequence));
      listener.after = sequence;
      this.#send(listener, text + news.join(""));
    }
  }

  #keepAlive(): void {
    const now = performance.now();
    for (const listener of this.#listeners) {
      if (now - listener.heardAt >= HEARTBEAT_MS) this.#send(listener, ": nothing new\n\n");
    }
  }

  #send(listener: Listener, text: string): void {
    if (!listener.permitted()) {
      this.#end(listener);
      return;
    }
    if ((listener.controller.desiredSize ?? 0) <= 0) {
      this.#listeners.delete(listener);
      listener.controller.error(new Error("It reads too slowly")); // what waits for it is given up
      return;
    }
    listener.heardAt = performance.now();
    listener.controller.enqueue(this.#encoder.encode(text));
  }

  #end(listener: Listener): void {
    if (this.#listeners.delete(listener)) listener.controller.close();
  }
}

/** Of a sequence that began anew with the gateway, who says that he has seen more has seen nothing. */
function seenUpTo(after: number | undefined, sequence: number): number {
  if (after === undefined) return sequence;
  return after > sequence ? 0 : after;
}

/** JSON has no line breaks of its own, so one line of data is all of it. */
function message(event: string, data: unknown, id?: number): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${
    JSON.stringify(data, maskField)
  }\n\n`;
}
