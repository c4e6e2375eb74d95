import type { RequestEvent } from "./backend.ts";
import type { Failure } from "./failure.ts";

/** What becomes of a request, for the log. Told once for each time that it has begun. */
export class RequestRecord {
  /** What the client was answered with, 0 before it was. */
  status = 0;
  bytesIn = 0;
  bytesOut = 0;
  readonly #events: (event: RequestEvent) => void;
  #method = "-";
  #path = "-";
  #version: RequestEvent["version"];
  #begun = 0;
  #isTold = true;

  /** @param version For requests of which nothing is known. */
  constructor(version: RequestEvent["version"], events: (event: RequestEvent) => void) {
    this.#version = version;
    this.#events = events;
  }

  /** The first byte is there. */
  begin(): void {
    this.status = 0;
    this.bytesIn = 0;
    this.bytesOut = 0;
    this.#method = "-";
    this.#path = "-";
    this.#begun = performance.now();
    this.#isTold = false;
  }

  /** The head is there. */
  known(method: string, path: string, version: RequestEvent["version"]): void {
    this.#method = method;
    this.#path = path;
    this.#version = version;
  }

  /** It is over. */
  tell(failure?: Failure): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#events({
      method: this.#method,
      path: this.#path,
      version: this.#version,
      status: this.status,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      ms: performance.now() - this.#begun,
      ...(failure !== undefined && { fault: failure.word }),
      ...(failure?.detail !== undefined && { detail: failure.detail }),
    });
  }
}
