/** Servers of `Deno.serve` that end by themselves when a test says so, as they do for want of descriptors. */
export class EndingServers implements Disposable {
  /** Why no other is opened. */
  refuse: Error | undefined;
  readonly #serve = Deno.serve;
  readonly #servers = new Set<Deno.HttpServer>();
  readonly #ended = new WeakSet<Deno.HttpServer>();

  /** From now on; dispose it to have the real ones again. */
  constructor() {
    const serve = (...args: unknown[]) => {
      if (this.refuse) throw this.refuse;
      return this.#wrap(Reflect.apply(this.#serve, Deno, args));
    };
    Deno.serve = serve as typeof Deno.serve;
  }

  /** Ends all there are. */
  async end(): Promise<void> {
    for (const server of this.#servers) {
      this.#ended.add(server);
      await server.shutdown();
    }
  }

  [Symbol.dispose](): void {
    Deno.serve = this.#serve;
  }

  #wrap(server: Deno.HttpServer): Deno.HttpServer {
    this.#servers.add(server);
    const finished = server.finished.then(() => {
      this.#servers.delete(server);
      if (this.#ended.has(server)) throw new Error("Too many open files");
    });
    finished.catch(() => {}); // whose it is, listens too
    return { ...server, addr: server.addr, finished, shutdown: () => server.shutdown() };
  }
}
