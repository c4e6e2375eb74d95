import type { YamuxRole } from "./yamux.ts";

const LAST_ID = 2 ** 32 - 1;
/**
 * Streams that a peer opens at the same time in several threads may be announced out of order (hashicorp's does so):
 * this many ids that were left out may still come.
 */
const MOST_SKIPPED = 128;

/** The ids of a session's streams: odd ones are the client's, even ones the server's, and none is used twice. */
export class StreamIds {
  readonly #peerIsOdd: boolean;
  #nextOwn: number;
  #lastOfPeer: number;
  readonly #skipped = new Set<number>();

  constructor(role: YamuxRole) {
    this.#peerIsOdd = role === "server";
    this.#nextOwn = role === "client" ? 1 : 2;
    this.#lastOfPeer = this.#peerIsOdd ? -1 : 0;
  }

  /** An id for a stream of ours, or `undefined` when there are none left. */
  take(): number | undefined {
    if (this.#nextOwn > LAST_ID) return undefined;
    const id = this.#nextOwn;
    this.#nextOwn += 2;
    return id;
  }

  /** The peer opens a stream with this id. @returns False when it may not: it is not one of its own, or used. */
  takePeers(id: number): boolean {
    if (!this.#isPeers(id)) return false;
    if (id <= this.#lastOfPeer) return this.#skipped.delete(id);
    const from = Math.max(this.#lastOfPeer + 2, id - 2 * MOST_SKIPPED);
    for (let skipped = from; skipped < id; skipped += 2) this.#skip(skipped);
    this.#lastOfPeer = id;
    return true;
  }

  /** Whether a stream with this id was ever opened, by either side. */
  wasOpened(id: number): boolean {
    if (!this.#isPeers(id)) return id < this.#nextOwn;
    return id <= this.#lastOfPeer && !this.#skipped.has(id);
  }

  #isPeers(id: number): boolean {
    return (id % 2 === 1) === this.#peerIsOdd;
  }

  #skip(id: number): void {
    this.#skipped.add(id);
    if (this.#skipped.size <= MOST_SKIPPED) return;
    const [oldest] = this.#skipped;
    if (oldest !== undefined) this.#skipped.delete(oldest);
  }
}
