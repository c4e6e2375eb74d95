import { type ByteStream, closeQuietly } from "../../core/plugin/mod.ts";
import type { Clock } from "./clock.ts";

/** Of a first read. Bulk comes behind it. */
const FIRST_READ_BYTES = 4096;
/** From the first byte on: an agent says in one piece who it is, and the first bytes of a client must not be kept from a service for ever. */
const PATIENCE_MS = 1000;

/** Whether these first bytes are an agent's; `undefined`: more have to be seen. @param seen At least one. */
export type IsAgent = (seen: Uint8Array) => boolean | undefined;

/**
 * Whoever connects to a public name: a client, or an agent, which shows in the first bytes. The stream of an agent is not
 * closed from here, and takes nothing any more: it is somebody else's.
 */
export class Caller implements ByteStream {
  readonly #stream: ByteStream;
  readonly #clock: Pick<Clock, "after">;
  readonly #agent = new AbortController();
  /** What was read to see who it is; given out to the first who reads. */
  #first: Promise<Uint8Array | null> | undefined;
  #rest: Uint8Array | undefined;
  /** A read that was begun to see who it is, and took too long; comes behind {@link #first}. */
  #late: Promise<Uint8Array | null> | undefined;
  #opening: Uint8Array | undefined;
  #closed = false;

  constructor(stream: ByteStream, isAgent: IsAgent, clock: Pick<Clock, "after">) {
    this.#stream = stream;
    this.#clock = clock;
    this.#first = this.#readFirst(isAgent);
    this.#first.catch(() => {}); // for whoever reads
  }

  /** Aborted when it turns out to be an agent. */
  get isAgent(): AbortSignal {
    return this.#agent.signal;
  }

  /** What an agent has said; `undefined`: it is none. */
  get opening(): Uint8Array | undefined {
    return this.#opening;
  }

  async read(into: Uint8Array): Promise<number | null> {
    if (this.#first !== undefined) {
      const first = await this.#first;
      this.#first = undefined;
      if (first === null) return null;
      this.#rest = first;
    }
    if (this.#rest === undefined && this.#late !== undefined) {
      const late = await this.#late;
      this.#late = undefined;
      if (late === null) return null;
      this.#rest = late;
    }
    const rest = this.#rest;
    if (rest === undefined) return await this.#stream.read(into);
    const length = Math.min(rest.length, into.length);
    into.set(rest.subarray(0, length));
    this.#rest = length < rest.length ? rest.subarray(length) : undefined;
    return length;
  }

  write(data: Uint8Array): Promise<number> {
    return this.isAgent.aborted ? Promise.reject(notAClient()) : this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.isAgent.aborted ? Promise.reject(notAClient()) : this.#stream.closeWrite();
  }

  close(): void {
    this.#closed = true;
    if (!this.isAgent.aborted) closeQuietly(this.#stream);
  }

  /** Reads as much as it takes to tell, within its time. `null`: it has sent nothing, and FIN. */
  async #readFirst(tells: IsAgent): Promise<Uint8Array | null> {
    const buffer = new Uint8Array(FIRST_READ_BYTES);
    let length = await this.#stream.read(buffer);
    if (length === null) return null;
    using patience = new Patience(this.#clock);
    for (;;) {
      const seen = buffer.subarray(0, length);
      const isAgent = tells(seen);
      if (isAgent === false || this.#closed) return seen;
      if (isAgent) {
        this.#opening = seen;
        this.#agent.abort();
        throw notAClient();
      }
      const reading = this.#stream.read(buffer.subarray(length));
      const read = await Promise.race([reading, patience.over]);
      if (read === "over") {
        this.#late = reading.then((read) =>
          read === null ? null : buffer.subarray(seen.length, seen.length + read)
        );
        this.#late.catch(() => {}); // for whoever reads
        return seen;
      }
      if (read === null) return seen;
      length += read;
    }
  }
}

/** How long to wait for who it is. */
class Patience implements Disposable {
  readonly over: Promise<"over">;
  readonly #stop: () => void;

  constructor(clock: Pick<Clock, "after">) {
    const { promise, resolve } = Promise.withResolvers<"over">();
    this.over = promise;
    this.#stop = clock.after(PATIENCE_MS, () => resolve("over"));
  }

  [Symbol.dispose](): void {
    this.#stop();
  }
}

function notAClient(): Error {
  return new Deno.errors.ConnectionReset("This is an agent, and no client");
}
