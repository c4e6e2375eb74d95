import { addressBytes } from "../net/address.ts";

/** The part of the config's `limits` that is looked at before a byte is read. */
export interface ConnectionLimits extends SourceLimits {
  readonly maxConnections: number;
}

/** The limits of one source of connections. */
export interface SourceLimits {
  /** 0: no limit. */
  readonly maxConnectionsPerSource: number;
  /** New connections a second. 0: no limit. */
  readonly maxAcceptRatePerSource: number;
}

/** Each is a `reason` label of `postern_rejected_total`. */
export type BrokenLimit = "max_connections" | "max_connections_per_source" | "max_accept_rate_per_source";

/** Rows of the sketch, and counters in each: with 10,000 sources a row is one seventh full. 1 MiB a table. */
const ROWS = 4;
const COLUMNS = 65_536;
const TABLE = ROWS * COLUMNS;
/** The header's words: open connections in all, the hash seed, the second that the rate table counts. */
const OPEN = 0, SEED = 1, SECOND = 2, HEADER = 4;
/** The words of a ledger before its table: connections held, whether it is settled. */
const HELD = 0, SETTLED = 1, LEDGER_HEADER = 2;
const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT;

/**
 * How many connections are open, in all and by source, counted over every data plane of the process.
 *
 * The counters lie in shared memory of a fixed size. Sources are counted in a count-min sketch, keyed with a
 * random seed: an answer is exact or, when a source collides with others in all four rows, too high. With 10,000
 * connections from as many sources that happens to about one source in 2,000.
 *
 * What one data plane holds of the counts is in its ledger, so that it can be given back should that plane die.
 */
export class SharedLimits {
  readonly memory: SharedArrayBuffer;
  readonly #header: Int32Array;
  readonly #open: Int32Array;
  readonly #rate: Int32Array;
  readonly #ledger: Int32Array;
  readonly #ledgerOpen: Int32Array;
  /** The source's slot in each row, by the last {@link #locate}. */
  readonly #slots = new Uint32Array(ROWS);

  /**
   * @param memory Another data plane's `memory`, to count together with it.
   * @param ledger Of this data plane alone; see {@link openLedger}.
   */
  constructor(
    memory: SharedArrayBuffer = new SharedArrayBuffer((HEADER + 2 * TABLE) * WORD_BYTES),
    ledger: SharedArrayBuffer = openLedger(),
  ) {
    this.memory = memory;
    this.#ledger = new Int32Array(ledger, 0, LEDGER_HEADER);
    this.#ledgerOpen = new Int32Array(ledger, LEDGER_HEADER * WORD_BYTES, TABLE);
    this.#header = new Int32Array(memory, 0, HEADER);
    this.#open = new Int32Array(memory, HEADER * WORD_BYTES, TABLE);
    this.#rate = new Int32Array(memory, (HEADER + TABLE) * WORD_BYTES, TABLE);
    const [random = 0] = crypto.getRandomValues(new Int32Array(1));
    Atomics.compareExchange(this.#header, SEED, 0, random | 1);
  }

  /** Open connections over all data planes. */
  get open(): number {
    return Atomics.load(this.#header, OPEN);
  }

  /**
   * Counts a new connection, unless that breaks a limit. Each `undefined` is followed by one {@link release}.
   *
   * @param source Where the TCP connection is from, as a canonical address.
   * @returns The limit that would be broken.
   */
  admit(source: string, limits: ConnectionLimits): BrokenLimit | undefined {
    if (Atomics.add(this.#header, OPEN, 1) >= limits.maxConnections) {
      Atomics.sub(this.#header, OPEN, 1);
      return "max_connections";
    }
    const broken = this.admitSource(source, limits);
    if (broken === undefined) Atomics.add(this.#ledger, HELD, 1);
    else Atomics.sub(this.#header, OPEN, 1);
    return broken;
  }

  /**
   * The part of {@link admit} that is about the source, for a client whose address stands in a trusted proxy's
   * header. Each `undefined` is followed by one {@link releaseSource}.
   */
  admitSource(source: string, limits: SourceLimits): BrokenLimit | undefined {
    if (limits.maxConnectionsPerSource === 0 && limits.maxAcceptRatePerSource === 0) return undefined;
    this.#locate(source);
    return this.#overSource(limits);
  }

  /** Ends what {@link admit} began; `limits` are those that were given to it, whatever a reload brought since. */
  release(source: string, limits: ConnectionLimits): void {
    if (Atomics.load(this.#ledger, SETTLED) !== 0) return; // it was taken for dead: all is given back already
    Atomics.sub(this.#header, OPEN, 1);
    Atomics.sub(this.#ledger, HELD, 1);
    this.releaseSource(source, limits);
  }

  /** Ends what {@link admitSource} began. */
  releaseSource(source: string, limits: SourceLimits): void {
    if (limits.maxConnectionsPerSource === 0 || Atomics.load(this.#ledger, SETTLED) !== 0) return;
    this.#locate(source);
    this.#decrementOpen();
  }

  /** Gives back what a data plane held when it died. Once for each ledger; whoever had it counts no more. */
  settle(ledger: SharedArrayBuffer): void {
    const header = new Int32Array(ledger, 0, LEDGER_HEADER);
    if (Atomics.exchange(header, SETTLED, 1) !== 0) return;
    Atomics.sub(this.#header, OPEN, Atomics.load(header, HELD));
    const held = new Int32Array(ledger, LEDGER_HEADER * WORD_BYTES, TABLE);
    for (let slot = 0; slot < TABLE; slot++) {
      const count = held[slot];
      if (count) Atomics.sub(this.#open, slot, count);
    }
  }

  #overSource(
    { maxConnectionsPerSource, maxAcceptRatePerSource }: SourceLimits,
  ): BrokenLimit | undefined {
    if (maxAcceptRatePerSource > 0) {
      this.#startSecond();
      if (this.#increment(this.#rate) > maxAcceptRatePerSource) return "max_accept_rate_per_source";
    }
    if (maxConnectionsPerSource > 0) {
      const over = this.#increment(this.#open) > maxConnectionsPerSource;
      this.#increment(this.#ledgerOpen);
      if (!over) return undefined;
      this.#decrementOpen();
      return "max_connections_per_source";
    }
    return undefined;
  }

  /** Adds one in every row; the least of the four is the count. */
  #increment(table: Int32Array): number {
    let least = Infinity;
    for (const slot of this.#slots) least = Math.min(least, Atomics.add(table, slot, 1) + 1);
    return least;
  }

  #decrementOpen(): void {
    for (const slot of this.#slots) {
      Atomics.sub(this.#open, slot, 1);
      Atomics.sub(this.#ledgerOpen, slot, 1);
    }
  }

  /** The rate table holds the current second only. Whoever sees a new second first clears it. */
  #startSecond(): void {
    const second = Math.trunc(Date.now() / 1000) | 0;
    const counted = Atomics.load(this.#header, SECOND);
    if (counted === second) return;
    if (Atomics.compareExchange(this.#header, SECOND, counted, second) === counted) this.#rate.fill(0);
  }

  #locate(source: string): void {
    let hash = Atomics.load(this.#header, SEED);
    if (source.includes(":")) { // an IPv6 subscriber has a /64 at least
      for (const byte of addressBytes(source).subarray(0, 8)) hash = Math.imul(hash ^ byte, FNV_PRIME);
    } else {
      for (let i = 0; i < source.length; i++) hash = Math.imul(hash ^ source.charCodeAt(i), FNV_PRIME);
    }
    for (let row = 0; row < ROWS; row++) {
      hash = mix(hash + row);
      this.#slots[row] = row * COLUMNS + (hash >>> 0) % COLUMNS;
    }
  }
}

/** Memory for a data plane to note in what it holds of the counts. */
export function openLedger(): SharedArrayBuffer {
  return new SharedArrayBuffer((LEDGER_HEADER + TABLE) * WORD_BYTES);
}

/** FNV-1a's 32-bit prime. */
const FNV_PRIME = 0x01000193;

/** Spreads every bit over the whole word (an xor-multiply finalizer). */
function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39);
  return hash ^ (hash >>> 15);
}
