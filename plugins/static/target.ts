/** How many checks in a row it takes to change what is thought of a target. */
export interface Thresholds {
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

/** One `host:port` that routes lead to, with what is known about it. Routes that name the same one share it. */
export class Target {
  /** As it stands in {@link Forward.to}. */
  readonly name: string;
  /** Mixed with a client's address for `source-hash`; the same in every thread and after every restart. */
  readonly seed: number;
  /** Open connections that went here. */
  connections = 0;
  /** Attempts to connect that came to nothing, since the target was first named. */
  failures = 0;
  #healthy = true;
  #against = 0;

  constructor(name: string) {
    this.name = name;
    this.seed = fnv1a(name);
  }

  get healthy(): boolean {
    return this.#healthy;
  }

  /**
   * Takes in what a check came to.
   *
   * @returns Whether the target is now thought of otherwise than before.
   */
  record(passed: boolean, thresholds: Thresholds): boolean {
    if (passed === this.#healthy) {
      this.#against = 0;
      return false;
    }
    this.#against++;
    if (this.#against < (passed ? thresholds.healthyAfter : thresholds.unhealthyAfter)) return false;
    this.#healthy = passed;
    this.#against = 0;
    return true;
  }

  /** Forgets what checks found: nobody checks this target any more, so nothing would bring it back. */
  assumeHealthy(): void {
    this.#healthy = true;
    this.#against = 0;
  }
}

/** FNV-1a over UTF-16 code units, 32 bits. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * How strongly a client's address is drawn to a target (rendezvous hashing: the highest score gets the client, so a
 * target that goes away moves only its own clients).
 *
 * FNV-1a alone leaves addresses that differ in the last digit in the same order for all targets; the finalizer of
 * MurmurHash3 spreads every bit.
 */
export function affinity(addressHash: number, target: Target): number {
  let hash = addressHash ^ target.seed;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
