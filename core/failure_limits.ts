import { addressBytes } from "./net/address.ts";

const MINUTE_MS = 60_000;
/** About 2 MB. Strangers choose the addresses, so there must be an end to what is kept of them. */
const MAX_SOURCES = 16_384;
/** A subscriber has a /64 at least (RFC 6177 §2), and all of its addresses at hand. */
const IPV6_PREFIX_BYTES = 8;

/**
 * Counts failures by source: as many as the limit at once, and then as they are forgotten, evenly over a minute
 * (the generic cell rate algorithm, ITU-T I.371). One number a source, no timers.
 */
export class FailureLimits {
  /** Source → when all of its failures are forgotten, by the caller's clock. The one that failed last comes last. */
  readonly #clearAt = new Map<string, number>();
  readonly #maxSources: number;
  #perFailureMs = 0;

  /** @param perMinute 0: no limit. */
  constructor(perMinute: number, maxSources: number = MAX_SOURCES) {
    this.#maxSources = maxSources;
    this.perMinute = perMinute;
  }

  set perMinute(perMinute: number) {
    this.#perFailureMs = perMinute === 0 ? 0 : MINUTE_MS / perMinute;
    if (perMinute === 0) this.#clearAt.clear();
  }

  /** Sources of which something is kept. */
  get sources(): number {
    return this.#clearAt.size;
  }

  /** @param address The source's IP address. @param now In milliseconds; must not go back. */
  isOver(address: string, now: number): boolean {
    if (this.#clearAt.size === 0) return false; // spares the key, as long as nobody fails
    const clearAt = this.#clearAt.get(sourceKey(address)) ?? 0;
    // Half a failure of slack: the sums are of fractions.
    return clearAt - now > MINUTE_MS - this.#perFailureMs / 2;
  }

  failed(address: string, now: number): void {
    if (this.#perFailureMs === 0) return;
    const key = sourceKey(address);
    const clearAt = Math.max(this.#clearAt.get(key) ?? 0, now) + this.#perFailureMs;
    this.#clearAt.delete(key);
    if (this.#clearAt.size >= this.#maxSources) this.#makeRoom();
    this.#clearAt.set(key, Math.min(clearAt, now + MINUTE_MS));
  }

  /** Who failed longest ago is forgotten first. */
  #makeRoom(): void {
    const oldest = this.#clearAt.keys().next();
    if (!oldest.done) this.#clearAt.delete(oldest.value);
  }
}

/**
 * What counts as one source: an IPv4 address, or a /64 of IPv6.
 *
 * @param address In canonical form.
 */
export function sourceKey(address: string): string {
  if (!address.includes(":")) return address;
  return addressBytes(address).subarray(0, IPV6_PREFIX_BYTES).toHex();
}
