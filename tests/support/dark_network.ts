import {
  type AgentNetwork,
  type NetworkStream,
  systemNetwork,
} from "../../plugins/ws-agent/agent/network.ts";
import { closeQuietly } from "../../core/byte_stream.ts";

/** As an address for a gateway and targets. */
type Place = Parameters<AgentNetwork["connect"]>[0];

/**
 * A network that can swallow everything, as a NAT does that was started anew: connections stay open, nothing comes, what is sent is
 * lost, their ends too, and nobody is told.
 */
export class DarkNetwork implements AgentNetwork, Disposable {
  readonly lookUp: AgentNetwork["lookUp"];
  readonly startTls: AgentNetwork["startTls"];
  readonly openDatagrams: AgentNetwork["openDatagrams"];
  readonly #swallows: (to: Place) => boolean;
  readonly #streams = new Set<DarkableStream>();
  /** There while it is dark; settles when it is not any more. */
  #night: PromiseWithResolvers<void> | undefined;

  /** @param swallows Which connections go through it. @default all */
  constructor(swallows: (to: Place) => boolean = () => true) {
    this.#swallows = swallows;
    const { lookUp, startTls, openDatagrams } = systemNetwork();
    this.openDatagrams = openDatagrams;
    this.lookUp = lookUp;
    this.startTls = startTls;
  }

  /** Every connection that there is becomes a black hole for good, and new ones are not answered before there is light. */
  darken(): void {
    this.#night ??= Promise.withResolvers();
    for (const stream of this.#streams) stream.darken();
  }

  /** New connections get through, and so do those that somebody still waits for: TCP asks again and again. */
  lighten(): void {
    this.#night?.resolve();
    this.#night = undefined;
  }

  async connect(to: Place, signal: AbortSignal): Promise<NetworkStream> {
    if (!this.#swallows(to)) return await systemNetwork().connect(to, signal);
    if (this.#night) await Promise.race([this.#night.promise, aborted(signal)]);
    const connection = await Deno.connect({ hostname: to.host, port: to.port, signal });
    connection.setNoDelay();
    const stream = new DarkableStream(connection, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /** Closes what was left open in the dark. */
  [Symbol.dispose](): void {
    for (const stream of this.#streams) stream.end();
  }
}

class DarkableStream implements NetworkStream {
  readonly remoteAddress: string;
  readonly #connection: Deno.TcpConn;
  readonly #closed: () => void;
  /** What comes late, in the dark, must not get into memory that has become somebody else's. */
  readonly #buffer = new Uint8Array(4096);
  #dark = false;
  #isClosed = false;
  /** Of the read that is open. */
  #reject = (_: Error) => {};

  constructor(connection: Deno.TcpConn, closed: () => void) {
    this.#connection = connection;
    this.#closed = closed;
    this.remoteAddress = connection.remoteAddr.hostname;
  }

  darken(): void {
    this.#dark = true;
  }

  read(into: Uint8Array): Promise<number | null> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Deno.errors.BadResource("Closed"));
      this.#reject = reject;
      if (this.#dark) return;
      this.#connection.read(this.#buffer.subarray(0, into.length)).then((length) => {
        if (this.#dark) return;
        if (length !== null) into.set(this.#buffer.subarray(0, length));
        resolve(length);
      }, (error) => this.#dark || reject(error));
    });
  }

  write(data: Uint8Array): Promise<number> {
    return this.#dark ? Promise.resolve(data.length) : this.#connection.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#dark ? Promise.resolve() : this.#connection.closeWrite();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#dark) this.#reject(new Deno.errors.Interrupted("Closed"));
    else this.end();
  }

  /** Also in the dark. */
  end(): void {
    this.#closed();
    closeQuietly(this.#connection);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
