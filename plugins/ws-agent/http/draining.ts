/** Who is served, and goes when it is at leisure. */
export interface Drainable {
  /** Serves what is at hand, and nothing else. */
  drain(): void;
}

/**
 * Tells the connections that are open that the gateway is about to end. Not an `AbortSignal`: one that has as many listeners
 * as there are connections looks through all of them for each that comes or goes.
 */
export class Draining {
  readonly #served = new Set<Drainable>();
  #begun = false;

  /** Whether nothing new is to be served. */
  get begun(): boolean {
    return this.#begun;
  }

  /** From here on, what is added is drained too, if it asks {@link begun}. */
  begin(): void {
    this.#begun = true;
    for (const served of [...this.#served]) served.drain();
  }

  add(served: Drainable): void {
    this.#served.add(served);
  }

  delete(served: Drainable): void {
    this.#served.delete(served);
  }
}
