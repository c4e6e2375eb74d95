import type { Decision } from "../../core/plugin/mod.ts";
import { affinity, fnv1a, type Target } from "./target.ts";

export const BALANCES = ["round-robin", "least-connections", "source-hash"] as const;
export type Balance = (typeof BALANCES)[number];

/** A decision, and the target that it names first. Made ahead and frozen: many connections get the same one. */
export interface Choice {
  readonly target: Target;
  readonly decision: Decision;
}

/** Turns an ordered list of targets into what the route answers. */
export type DecisionMaker = (to: readonly string[]) => Decision;

/**
 * The targets of one route: which one a client gets, and in what order the others are tried after it.
 *
 * Unhealthy ones come last, in case the checks are wrong; when all are unhealthy, all are treated alike. Both mean
 * that the checks alone never make a service unreachable.
 */
export class TargetGroup {
  readonly targets: readonly Target[];
  readonly #balance: Balance;
  readonly #decide: DecisionMaker;
  /** Targets that clients are spread over, and the ones behind them. */
  #preferred: readonly Target[] = [];
  #lastResort: readonly Target[] = [];
  /** By the index of the target in `#preferred` that comes first. */
  #choices: (Choice | undefined)[] = [];
  #cursor = -1;

  /** @param targets At least one. */
  constructor(targets: readonly Target[], balance: Balance, decide: DecisionMaker) {
    this.targets = targets;
    this.#balance = balance;
    this.#decide = decide;
    this.healthChanged();
  }

  /** Must be called when a target of this group has become healthy or unhealthy. */
  healthChanged(): void {
    const healthy = this.targets.filter((target) => target.healthy);
    this.#preferred = healthy.length === 0 ? this.targets : healthy;
    this.#lastResort = healthy.length === 0 ? [] : this.targets.filter((target) => !target.healthy);
    this.#choices = new Array(this.#preferred.length);
  }

  /** @param address The client's IP address. */
  choose(address: string): Choice {
    if (this.#preferred.length === 1) return this.#startingAt(0);
    switch (this.#balance) {
      case "round-robin":
        return this.#startingAt(this.#next());
      case "least-connections":
        return this.#startingAt(this.#leastConnected());
      case "source-hash":
        return this.#closestTo(address);
    }
  }

  #next(): number {
    this.#cursor = (this.#cursor + 1) % this.#preferred.length;
    return this.#cursor;
  }

  /** Starts behind the last choice, so that equally loaded targets take turns. */
  #leastConnected(): number {
    const start = this.#next();
    let best = start;
    let fewest = Infinity;
    for (let i = 0; i < this.#preferred.length; i++) {
      const index = (start + i) % this.#preferred.length;
      const connections = this.#preferred[index]?.connections ?? Infinity;
      if (connections < fewest) {
        fewest = connections;
        best = index;
      }
    }
    this.#cursor = best;
    return best;
  }

  /** The whole order follows the address: a client whose target can't be reached goes where all its retries go. */
  #closestTo(address: string): Choice {
    const hash = fnv1a(address);
    const order = this.#preferred.toSorted((a, b) => affinity(hash, b) - affinity(hash, a));
    return this.#make(order.concat(this.#lastResort));
  }

  #startingAt(index: number): Choice {
    return this.#choices[index] ??= this.#make([
      ...this.#preferred.slice(index),
      ...this.#preferred.slice(0, index),
      ...this.#lastResort,
    ]);
  }

  #make(order: readonly Target[]): Choice {
    const [first] = order;
    if (first === undefined) throw new RangeError("A route needs a target");
    return { target: first, decision: this.#decide(order.map((target) => target.name)) };
  }
}
