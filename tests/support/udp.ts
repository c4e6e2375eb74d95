import { closeQuietly } from "../../core/byte_stream.ts";
import { until } from "./until.ts";

/** A UDP socket on loopback that keeps what comes, and may answer it. */
export class UdpSocket implements Disposable {
  readonly socket: Deno.DatagramConn;
  readonly received: { readonly data: Uint8Array; readonly from: Deno.NetAddr }[] = [];
  /** Called with each datagram; what it returns is sent back. */
  answer: ((data: Uint8Array, from: Deno.NetAddr) => Uint8Array | undefined) | undefined;
  #taken = 0;

  constructor(hostname = "127.0.0.1") {
    this.socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
    void this.#run();
  }

  /** One that sends back all that comes. */
  static echo(): UdpSocket {
    const socket = new UdpSocket();
    socket.answer = (data) => data;
    return socket;
  }

  get port(): number {
    return (this.socket.addr as Deno.NetAddr).port;
  }

  async send(data: Uint8Array, port: number): Promise<void> {
    await this.socket.send(data, { transport: "udp", hostname: "127.0.0.1", port });
  }

  /** The next datagram that has not been asked for. */
  async next(deadlineMs?: number): Promise<Uint8Array> {
    const { data } = await until(() => this.received[this.#taken], {
      what: `datagram ${this.#taken}`,
      ...(deadlineMs !== undefined && { deadlineMs }),
    });
    this.#taken++;
    return data;
  }

  /** Sends a datagram, and resolves to what comes next. */
  async ask(data: Uint8Array, port: number): Promise<Uint8Array> {
    await this.send(data, port);
    return await this.next();
  }

  [Symbol.dispose](): void {
    closeQuietly(this.socket);
  }

  async #run(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (;;) {
        const [data, from] = await this.socket.receive(buffer);
        const copy = data.slice();
        this.received.push({ data: copy, from: from as Deno.NetAddr });
        const answer = this.answer?.(copy, from as Deno.NetAddr);
        if (answer !== undefined) await this.socket.send(answer, from);
      }
    } catch {
      // Closed.
    }
  }
}
