import type { LendingStream } from "../../../core/plugin/mod.ts";
import type { YamuxStream } from "../yamux/yamux.ts";

/** A relay closes what has failed. To the public, a service that broke off must not look like one that has finished. */
export class ResetOnClose implements LendingStream {
  readonly #stream: YamuxStream;

  constructor(stream: YamuxStream) {
    this.#stream = stream;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#stream.read(into);
  }

  borrow(): Promise<Uint8Array | null> {
    return this.#stream.borrow();
  }

  giveBack(length: number): void {
    this.#stream.giveBack(length);
  }

  write(data: Uint8Array): Promise<number> {
    return this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#stream.reset();
  }
}
