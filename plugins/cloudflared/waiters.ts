import type { ConnectionId } from "../../core/plugin/mod.ts";
import type { Answer } from "./answer.ts";

/** Tells when the client has left. The signal is made when it is asked for: only who waits does. */
export interface Scope {
  readonly signal: AbortSignal;
}

interface Waiter {
  readonly connection: ConnectionId;
  readonly answer: (answer: Answer) => void;
}

/** Connections that wait for a tunnel to be ready, each until its client leaves. */
export class Waiters {
  readonly #waiters = new Set<Waiter>();
  readonly #onLeft: (connection: ConnectionId) => void;

  /** @param onLeft The client of a connection has left, and got {@link CLIENT_LEFT}. */
  constructor(onLeft: (connection: ConnectionId) => void) {
    this.#onLeft = onLeft;
  }

  get size(): number {
    return this.#waiters.size;
  }

  /** Resolves to what {@link answerAll} has for it. The client must not have left already. */
  wait(connection: ConnectionId, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve) => {
      const leave = () => {
        this.#waiters.delete(waiter);
        this.#onLeft(connection);
        resolve(CLIENT_LEFT);
      };
      const waiter: Waiter = {
        connection,
        answer(answer) {
          signal.removeEventListener("abort", leave);
          resolve(answer);
        },
      };
      this.#waiters.add(waiter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** Gives every one its answer; none waits any more then. */
  answerAll(answerFor: (connection: ConnectionId) => Answer): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const { connection, answer } of waiters) answer(answerFor(connection));
  }
}

/** For somebody who is not there to hear it. */
export const CLIENT_LEFT: Answer = {
  kind: "refused",
  failure: { reason: "stopped", detail: "The client left" },
};
