import type { Stream } from "./stream.ts";

/** Streams that wait for their turn to send, first come first served. A stream is in one queue at most, and once. */
export class StreamQueue {
  #first: Stream | undefined;
  #last: Stream | undefined;

  get first(): Stream | undefined {
    return this.#first;
  }

  push(stream: Stream): void {
    stream.isQueued = true;
    if (this.#last === undefined) this.#first = stream;
    else this.#last.next = stream;
    this.#last = stream;
  }

  shift(): Stream | undefined {
    const stream = this.#first;
    if (stream === undefined) return undefined;
    this.#first = stream.next;
    if (this.#first === undefined) this.#last = undefined;
    stream.next = undefined;
    stream.isQueued = false;
    return stream;
  }
}
