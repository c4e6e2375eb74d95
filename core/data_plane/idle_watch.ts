import { Deadlines } from "./deadlines.ts";
import type { ByteCount } from "./relay.ts";

/** Something that moves bytes and may be ended for not doing so. */
export interface Watched {
  readonly sent: ByteCount;
  readonly received: ByteCount;
}

interface Seen<One extends Watched> {
  readonly watched: One;
  bytes: number;
  quietLooks: number;
}

/** A connection is looked at this many times within its timeout, so it is ended at most a quarter late. */
const LOOKS = 4;

/** Ends what has moved no byte for a while. It compares counts now and then, so moving a byte costs nothing. */
export class IdleWatch<One extends Watched> {
  readonly #seen = new Map<One, Seen<One>>();
  readonly #looks: Deadlines<Seen<One>>;

  /** @param timeoutMs How long nothing may move; the end comes at most a quarter of it later. */
  constructor(timeoutMs: number, expire: (watched: One) => void) {
    this.#looks = new Deadlines(timeoutMs / LOOKS, (seen) => {
      const bytes = seen.watched.sent.bytes + seen.watched.received.bytes;
      seen.quietLooks = bytes === seen.bytes ? seen.quietLooks + 1 : 0;
      seen.bytes = bytes;
      if (seen.quietLooks < LOOKS) {
        this.#looks.add(seen);
      } else {
        this.#seen.delete(seen.watched);
        expire(seen.watched);
      }
    });
  }

  /** Starts to watch; harmless when it is watched already. */
  add(watched: One): void {
    if (this.#seen.has(watched)) return;
    const seen = { watched, bytes: watched.sent.bytes + watched.received.bytes, quietLooks: 0 };
    this.#seen.set(watched, seen);
    this.#looks.add(seen);
  }

  delete(watched: One): void {
    const seen = this.#seen.get(watched);
    if (seen === undefined) return;
    this.#seen.delete(watched);
    this.#looks.delete(seen);
  }

  close(): void {
    this.#seen.clear();
    this.#looks.close();
  }
}
