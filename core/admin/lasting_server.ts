import { GatewayError } from "../errors.ts";

/** How long after it has ended a listener is opened again, and then tried again. */
const REOPEN_MS = 1000;

type Server = Deno.HttpServer<Deno.NetAddr>;

export interface LastingServerOptions {
  /** Listens again on the port that it had. */
  readonly open: (port: number) => Server;
  /** It has stopped accepting. */
  readonly ended?: (reason: unknown) => void;
  /** It may not listen there any more, and never will. Absent: it goes on trying. */
  readonly refused?: (reason: GatewayError) => void;
}

/**
 * A server that is opened again when it stops accepting by itself, as it does for want of descriptors. In place: a
 * worker cannot be started anew then, as Deno ends the whole process when it has no descriptors for one.
 */
export class LastingServer {
  readonly addr: Deno.NetAddr;
  readonly #options: LastingServerOptions;
  #server: Server | undefined;
  #reopening: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(first: Server, options: LastingServerOptions) {
    this.addr = first.addr;
    this.#options = options;
    this.#watch(first);
  }

  /** Stops listening, and resolves when every request is answered. May be called again. */
  async shutdown(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#reopening);
    await this.#server?.shutdown();
  }

  #watch(server: Server): void {
    this.#server = server;
    server.finished.catch((reason) => {
      this.#server = undefined;
      this.#options.ended?.(reason);
      this.#reopenLater();
    });
  }

  #reopenLater(): void {
    if (!this.#closed) this.#reopening = setTimeout(() => this.#reopen(), REOPEN_MS);
  }

  #reopen(): void {
    try {
      this.#watch(this.#options.open(this.addr.port));
    } catch (error) { // there are no descriptors yet, or another has the port
      const { refused } = this.#options;
      if (refused && error instanceof GatewayError && error.code === "permission-denied") refused(error);
      else this.#reopenLater();
    }
  }
}
