/** How long after it has ended a listener is opened again, and then tried again. */
const REOPEN_MS = 1000;

type Server = Deno.HttpServer<Deno.NetAddr>;

/**
 * A server that is opened again when it stops accepting by itself, as it does for want of descriptors: the agent
 * goes on without its page meanwhile, and nobody would start it anew.
 */
export class LastingServer {
  readonly addr: Deno.NetAddr;
  readonly #open: (port: number) => Server;
  #server: Server | undefined;
  #reopening: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** @param open Listens again on the port that it had. */
  constructor(first: Server, open: (port: number) => Server) {
    this.addr = first.addr;
    this.#open = open;
    this.#watch(first);
  }

  /** Stops listening, and resolves when every request is answered. */
  async shutdown(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#reopening);
    await this.#server?.shutdown();
  }

  #watch(server: Server): void {
    this.#server = server;
    server.finished.catch(() => {
      this.#server = undefined;
      this.#reopenLater();
    });
  }

  #reopenLater(): void {
    if (!this.#closed) this.#reopening = setTimeout(() => this.#reopen(), REOPEN_MS);
  }

  #reopen(): void {
    try {
      this.#watch(this.#open(this.addr.port));
    } catch { // there are no descriptors yet, or another has the port
      this.#reopenLater();
    }
  }
}
