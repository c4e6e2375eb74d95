import type { BodyReader } from "../../../../core/http1/mod.ts";

/** What is read away of a body that the handler did not want, so that the next request can come. */
const MAX_UNWANTED_BYTES = 256 * 1024;

/** The body of one request, read only as fast as the handler wants it. */
export class RequestBody {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #body: BodyReader;
  /** Says `100 Continue`, where the client waits for it. */
  readonly #beforeFirst: () => Promise<void>;
  #reading: Promise<void> | undefined;
  #isOver = false;
  /** Whether a peer broke a rule, or left in the middle. */
  #isBroken = false;

  /** @param beforeFirst Awaited before anything is read. */
  constructor(body: BodyReader, beforeFirst: () => Promise<void>) {
    this.#body = body;
    this.#beforeFirst = beforeFirst;
    this.stream = new ReadableStream({
      type: "bytes",
      pull: (controller) => this.#reading = this.#pull(controller),
    }, { highWaterMark: 0 });
  }

  /**
   * Ends it: nothing more comes of it. A little that nobody wanted is read away.
   *
   * @returns Whether the next request may follow.
   * @throws What the stream throws.
   */
  async finish(): Promise<boolean> {
    this.#isOver = true;
    await this.#reading?.catch(() => {});
    for (let unwanted = 0; !this.#body.done && !this.#isBroken;) {
      const data = await this.#body.read();
      if (data === "end") break;
      if (!(data instanceof Uint8Array) || (unwanted += data.length) > MAX_UNWANTED_BYTES) return false;
    }
    return this.#body.done;
  }

  async #pull(controller: ReadableByteStreamController): Promise<void> {
    if (this.#isOver) throw new TypeError("The request is over");
    await this.#beforeFirst();
    const data = await this.#body.read();
    if (data instanceof Uint8Array) return controller.enqueue(data.slice()); // what lies there is read over
    if (data === "end") {
      controller.close();
      controller.byobRequest?.respond(0); // else who reads into memory of their own waits for ever
      return;
    }
    this.#isBroken = true;
    throw new TypeError(`The request's body is malformed: ${data.word}`);
  }
}
