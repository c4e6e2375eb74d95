/** In so many ticks in a row a word is covered up by another data plane that has a socket of its own; one that knows no better is done sooner. */
const TICKS_TO_GIVE_WAY = 3;

interface Dispute {
  /** When this data plane last said again that it has the socket. */
  readonly tick: number;
  /** For how many ticks in a row it has had to. */
  readonly times: number;
}

/**
 * What to do when another data plane says that it has the socket of a port which is open here. As a rule it only repeats what it has
 * heard too late, and is told. But after `portsAddress` has changed, two can have one each, at addresses of their own: then neither of
 * them gives in by being told, and they would tell each other without end.
 */
export class SocketDisputes {
  readonly #disputes = new Map<number, Dispute>();
  #tick = 0;

  /** To be called about once in a second. */
  tick(): void {
    this.#tick++;
    for (const [port, { tick }] of this.#disputes) if (!this.#goesOn(tick)) this.#disputes.delete(port);
  }

  /** The port is not open here any more. */
  forget(port: number): void {
    this.#disputes.delete(port);
  }

  /** @returns Whether to say it again, once in a tick; or to leave the port to the other, which only the greater of the two ids does. */
  covered(port: number, node: string, other: string): "say-again" | "wait" | "give-way" {
    const last = this.#disputes.get(port);
    if (last?.tick === this.#tick) return "wait";
    const times = (last?.times ?? 0) + 1;
    if (times > TICKS_TO_GIVE_WAY && node > other) return "give-way";
    this.#disputes.set(port, { tick: this.#tick, times });
    return "say-again";
  }

  /** What was said in this tick or the one before may be covered up still. */
  #goesOn(tick: number): boolean {
    return this.#tick - tick <= 1;
  }
}
