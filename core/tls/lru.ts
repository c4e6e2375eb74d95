/** A map that forgets what was not used for longest when it is full. */
export class Lru<V> {
  readonly #max: number;
  readonly #entries = new Map<string, V>();

  /** @param max Entries at most. */
  constructor(max: number) {
    this.#max = max;
  }

  /** Counts as use. */
  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key); // a Map keeps the order of insertion: what was used last stands at the end
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#max) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  /** Counts as no use. */
  values(): V[] {
    return [...this.#entries.values()];
  }

  clear(): void {
    this.#entries.clear();
  }
}
