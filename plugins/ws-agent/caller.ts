import { type ByteStream, closeQuietly } from "../../core/plugin/mod.ts";

/** Of a first read. Bulk comes behind it. */
const FIRST_READ_BYTES = 4096;

/** Whether these first bytes are an agent's; `undefined`: more have to be seen. @param seen At least one. */
export type IsAgent = (seen: Uint8Array) => boolean | undefined;

/**
 * Whoever connects to a public name: a client, or an agent, which shows in the first bytes. The stream of an agent is not
 * closed from here, and takes nothing any more: it is somebody else's.
 */
export class Caller implements ByteStream {
  readonly #stream: ByteStream;
  readonly #agent = new AbortController();
  /** What was read to see who it is; given out to the first who reads. */
  #first: Promise<Uint8Array | null> | undefined;
  #rest: Uint8Array | undefined;
  #opening: Uint8Array | undefined;
  #closed = false;

  constructor(stream: ByteStream, isAgent: IsAgent) {
    this.#stream = stream;
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

  /** Reads as much as it takes to tell. `null`: it has sent nothing, and FIN. */
  async #readFirst(tells: IsAgent): Promise<Uint8Array | null> {
    const buffer = new Uint8Array(FIRST_READ_BYTES);
    for (let length = 0;;) {
      const read = await this.#stream.read(buffer.subarray(length));
      if (read === null) return length === 0 ? null : buffer.subarray(0, length);
      length += read;
      const isAgent = tells(buffer.subarray(0, length));
      if (isAgent === undefined) continue;
      if (!isAgent || this.#closed) return buffer.subarray(0, length);
      this.#opening = buffer.subarray(0, length);
      this.#agent.abort();
      throw notAClient();
    }
  }
}

function notAClient(): Error {
  return new Deno.errors.ConnectionReset("This is an agent, and no client");
}
