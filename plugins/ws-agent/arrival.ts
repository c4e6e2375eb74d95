import { closeQuietly } from "../../core/plugin/mod.ts";
import type { Clock } from "./clock.ts";

/** A connection to the endpoint, from its first byte until its agent is in: it ends at a fixed time, whatever it sends. */
export class Arrival implements Disposable {
  readonly #controller = new AbortController();
  readonly #stopTimer: () => void;
  #closing: { close(): void };
  timedOut = false;

  /** @param stream What is closed at the end, until {@link hand}. */
  constructor(stream: { close(): void }, clock: Clock, ms: number) {
    this.#closing = stream;
    this.#stopTimer = clock.after(ms, () => {
      this.timedOut = true;
      this.end();
    });
  }

  /** Aborted at the end of the connection, if that comes before its agent is in. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Somebody else owns the stream from here on, and is closed in its place. */
  hand(owner: { close(): void }): void {
    this.#closing = owner;
    if (this.signal.aborted) closeQuietly(owner);
  }

  /** Ends the connection at once. Harmless when repeated. */
  end(): void {
    this.#stopTimer();
    if (this.signal.aborted) return;
    this.#controller.abort();
    closeQuietly(this.#closing);
  }

  /** The agent is in, or the connection over: nothing ends it from here any more. */
  [Symbol.dispose](): void {
    this.#stopTimer();
  }
}
