/** Whose turn it is, for each key by itself: the one whose last turn is the longest ago. */
export class Turns {
  readonly #byKey = new Map<string, Map<string, number>>();
  #now = 0;

  /** How many keys are remembered. */
  get size(): number {
    return this.#byKey.size;
  }

  /** When `who` had its last turn: more is later, and 0 is never. */
  last(key: string, who: string): number {
    return this.#byKey.get(key)?.get(who) ?? 0;
  }

  /** The one of `all` whose turn it is. It has had it now. */
  next(key: string, all: Iterable<string>): string | undefined {
    let next: string | undefined;
    for (const who of all) {
      if (next === undefined || this.last(key, who) < this.last(key, next)) next = who;
    }
    if (next !== undefined) this.had(key, next);
    return next;
  }

  had(key: string, who: string): void {
    const turns = this.#byKey.get(key) ?? new Map<string, number>();
    this.#byKey.set(key, turns.set(who, ++this.#now));
  }

  /** Forgets everybody at `key` but these. */
  keep(key: string, all: ReadonlySet<string>): void {
    const turns = this.#byKey.get(key);
    if (turns === undefined) return;
    for (const who of [...turns.keys()]) if (!all.has(who)) turns.delete(who);
    if (turns.size === 0) this.#byKey.delete(key);
  }
}

/**
 * The same one of `all` for the same source, as long as it is among them; who comes or goes moves only its own part of the
 * sources (highest random weight: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998).
 */
export function stickyChoice(source: string, all: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestWeight = -1;
  for (const who of all) {
    const weight = hash(`${source} ${who}`);
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && who > best)) {
      best = who;
      bestWeight = weight;
    }
  }
  return best;
}

/** FNV-1a over the text's code units, then the last step of MurmurHash3, as FNV alone hardly mixes its last bytes. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193);
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
