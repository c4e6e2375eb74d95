import { Deadlines } from "../../../../core/data_plane/deadlines.ts";
import type { PublicConnection } from "./handler.ts";

/** Whether a public connection is served. One that throws, or takes too long, says no. */
export type AcceptConnection = (connection: PublicConnection) => boolean | Promise<boolean>;

/** Asks the program about public connections, for a bounded time each. */
export class Admission {
  readonly #accept: AcceptConnection | undefined;
  readonly #late: Deadlines<() => void>;

  /** @param timeoutMs How long an answer may take. */
  constructor(accept: AcceptConnection | undefined, timeoutMs: number) {
    this.#accept = accept;
    this.#late = new Deadlines(timeoutMs, (giveUp) => giveUp());
  }

  /**
   * Whether it may be served. Only a plain `true` lets it in.
   *
   * @param failed Told of what the program has thrown, and of an answer that did not come in time.
   * @param gone Aborted when nobody wants to know any more: the answer is no then.
   */
  async admits(
    connection: PublicConnection,
    failed: (error: unknown) => void,
    gone: AbortSignal,
  ): Promise<boolean> {
    if (this.#accept === undefined) return true;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const giveUp = () => reject(new Error("onConnection did not answer in time"));
    const leave = () => resolve(false);
    gone.addEventListener("abort", leave);
    this.#late.add(giveUp);
    try {
      Promise.resolve(this.#accept(connection)).then(resolve, reject);
      return await promise === true && !gone.aborted;
    } catch (error) {
      promise.catch(() => {});
      failed(error);
      return false;
    } finally {
      gone.removeEventListener("abort", leave);
      this.#late.delete(giveUp);
    }
  }

  /** Frees the timer. */
  close(): void {
    this.#late.close();
  }
}
