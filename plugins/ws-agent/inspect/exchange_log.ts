import type { CapturedBody } from "./captured_body.ts";
import type { Exchange } from "./exchange.ts";

export interface ExchangeLogLimits {
  /** How many exchanges are remembered. */
  readonly exchanges: number;
  /** How much memory their heads and bodies may have together. */
  readonly bytes: number;
}

/** More than anybody looks through, and the memory of a few browser tabs' pictures. */
export const EXCHANGE_LOG_LIMITS: ExchangeLogLimits = { exchanges: 100, bytes: 8 * 1024 * 1024 };

/** What the objects of an exchange need besides the text in them; rather too much. */
const EXCHANGE_BYTES = 2048;

interface Entry {
  readonly exchange: Exchange;
  bytes: number;
}

/**
 * The last exchanges. When there are too many, or they need too much, the oldest go first, also those that are still going on: of
 * these nothing is kept any more then.
 */
export class ExchangeLog {
  readonly #limits: ExchangeLogLimits;
  /** Oldest first. */
  readonly #entries = new Map<number, Entry>();
  readonly #listeners = new Set<() => void>();
  #bytes = 0;
  #lastId = 0;

  constructor(limits: ExchangeLogLimits = EXCHANGE_LOG_LIMITS) {
    this.#limits = limits;
  }

  /** How much memory is accounted for, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many there have been since the start. */
  get total(): number {
    return this.#lastId;
  }

  /** Newest first. */
  list(): readonly Exchange[] {
    return Array.from(this.#entries.values(), ({ exchange }) => exchange).reverse();
  }

  get(id: number): Exchange | undefined {
    return this.#entries.get(id)?.exchange;
  }

  /**
   * Takes a new one in, under the next id.
   *
   * @param headBytes The length of the request's head.
   */
  add(exchange: Omit<Exchange, "id">, headBytes: number): Exchange {
    const added: Exchange = { ...exchange, id: ++this.#lastId };
    this.#entries.set(added.id, { exchange: added, bytes: 0 });
    this.#grow(added, EXCHANGE_BYTES + headBytes);
    this.changed();
    return added;
  }

  /** Accounts for the head of its response. */
  answered(exchange: Exchange, headBytes: number): void {
    this.#grow(exchange, headBytes);
    this.changed();
  }

  /** Keeps of a body what may be kept. */
  keep(exchange: Exchange, body: CapturedBody, data: Uint8Array): void {
    if (this.#entries.has(exchange.id)) this.#grow(exchange, body.add(data));
    else body.pass(data.length);
  }

  clear(): void {
    for (const entry of this.#entries.values()) this.#drop(entry);
    this.changed();
  }

  /** Tells everybody who listens that there is something new to show. */
  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** @returns Ends the listening. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #grow(exchange: Exchange, bytes: number): void {
    const entry = this.#entries.get(exchange.id);
    if (entry === undefined) return;
    entry.bytes += bytes;
    this.#bytes += bytes;
    for (const oldest of this.#entries.values()) {
      if (this.#entries.size <= this.#limits.exchanges && this.#bytes <= this.#limits.bytes) break;
      this.#drop(oldest);
    }
  }

  /** Its connection may go on for long, and holds it until then: what is large must go now. */
  #drop({ exchange, bytes }: Entry): void {
    this.#entries.delete(exchange.id);
    this.#bytes -= bytes;
    for (const message of [exchange.request, exchange.response]) {
      message?.body.release();
      if (message) message.fields = "";
    }
  }
}
