import { closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import type { Address } from "../../support/processes.ts";

/** A way to a server that can be cut, blocked and opened again. */
export class Forwarder implements Disposable {
  readonly address: Address;
  readonly #target: Address;
  #listener: Deno.Listener | undefined;
  readonly #open = new Set<Deno.Conn>();
  #silent = false;

  constructor(target: Address) {
    this.#target = target;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { hostname, port } = this.#listener.addr as Deno.NetAddr;
    this.address = { hostname, port };
    void this.#accept(this.#listener);
  }

  /** Ends every connection, and refuses new ones. */
  cut(): void {
    this.#listener?.close();
    this.#listener = undefined;
    for (const conn of this.#open) closeQuietly(conn);
    this.#open.clear();
  }

  /** Goes on as before. */
  restore(): void {
    this.#silent = false;
    this.#listener = Deno.listen(this.address);
    void this.#accept(this.#listener);
  }

  /** From now on takes everything, and passes on nothing. */
  silence(): void {
    this.#silent = true;
  }

  [Symbol.dispose](): void {
    this.cut();
  }

  async #accept(listener: Deno.Listener): Promise<void> {
    try {
      for await (const client of listener) {
        this.#open.add(client);
        if (!this.#silent) void this.#connect(client);
      }
    } catch {
      // Closed while it waited.
    }
  }

  async #connect(client: Deno.Conn): Promise<void> {
    const server = await Deno.connect(this.#target);
    if (!this.#open.has(client)) return closeQuietly(server);
    this.#open.add(server);
    void this.#pump(client, server);
    void this.#pump(server, client);
  }

  async #pump(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    try {
      for (let n; (n = await from.read(buffer)) !== null;) {
        if (!this.#silent) await writeAll(to, buffer.subarray(0, n));
      }
    } catch {
      // Cut, or closed by the other side.
    }
    closeQuietly(to);
    this.#open.delete(to);
  }
}
