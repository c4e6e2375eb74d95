import type { ExchangeLog } from "../exchange_log.ts";

/** Pages that are open at once; a browser has no more than six such connections to one place. */
const MAX_STREAMS = 16;
/** What changes in so many milliseconds is told at once: a page is made anew for each. */
const QUIET_MS = 250;
/** A page that has gone is noticed when something is sent to it. */
const KEEP_ALIVE_MS = 15_000;

const CHANGED = new TextEncoder().encode("event: changed\ndata:\n\n");
const COMMENT = new TextEncoder().encode(":\n\n");

type Controller = ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

/** Tells open pages that there is something new (server-sent events, WHATWG HTML §9.2). They hold up nobody. */
export class ChangeStreams {
  readonly #open = new Set<Controller>();
  readonly #forget: () => void;
  #telling: ReturnType<typeof setTimeout> | undefined;
  #keeping: ReturnType<typeof setInterval> | undefined;

  constructor(log: ExchangeLog) {
    this.#forget = log.listen(() => {
      if (this.#open.size > 0) this.#telling ??= setTimeout(() => this.#tell(), QUIET_MS);
    });
  }

  /** @returns `undefined` when there are too many. */
  open(): ReadableStream<Uint8Array<ArrayBuffer>> | undefined {
    if (this.#open.size >= MAX_STREAMS) return undefined;
    let opened: Controller | undefined;
    return new ReadableStream({
      start: (controller) => {
        opened = controller;
        this.#open.add(controller);
        this.#keeping ??= setInterval(() => this.#send(COMMENT), KEEP_ALIVE_MS);
        controller.enqueue(COMMENT); // so that the head is sent at once
      },
      cancel: () => {
        if (opened !== undefined) this.#remove(opened);
      },
    });
  }

  /** Ends all of them. */
  close(): void {
    this.#forget();
    clearTimeout(this.#telling);
    for (const controller of this.#open) {
      this.#remove(controller);
      controller.close();
    }
  }

  #tell(): void {
    this.#telling = undefined;
    this.#send(CHANGED);
  }

  #send(bytes: Uint8Array<ArrayBuffer>): void {
    for (const controller of this.#open) {
      // One that takes nothing has enough waiting to know that something has changed.
      if ((controller.desiredSize ?? 0) > 0) controller.enqueue(bytes);
    }
  }

  #remove(controller: Controller): void {
    this.#open.delete(controller);
    if (this.#open.size > 0) return;
    clearInterval(this.#keeping);
    this.#keeping = undefined;
  }
}
