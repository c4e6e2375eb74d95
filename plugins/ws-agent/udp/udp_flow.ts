import {
  type ByteStream,
  closeQuietly,
  type DatagramSocket,
  type Endpoint,
} from "../../../core/plugin/mod.ts";
import type { QueueMemory } from "./datagram_queue.ts";
import { DatagramSender, readDatagrams } from "./datagram_stream.ts";
import type { UdpCounters } from "./udp_counters.ts";

/**
 * What a source may be sent before it has shown that it hears us: this, and {@link UNVERIFIED_FACTOR} times what came from it. The
 * source of a datagram is easily forged. A large answer of DNS fits, and so does a datagram of any size; a stream does not.
 */
const UNVERIFIED_BYTES = 64 * 1024;
/** As for QUIC (RFC 9000 §8.1). */
const UNVERIFIED_FACTOR = 3;

/** How a flow ended. */
export type FlowEnd =
  | "idle_timeout"
  /** It was sent datagrams for minutes, and said nothing. */
  | "source_silent"
  /** The agent or its tunnel is gone, or the agent has refused it. */
  | "stream_ended"
  /** There was no agent to open a stream to. */
  | "no_agent"
  /** Another source needed its place. */
  | "replaced"
  | "port_closed";

/** What a flow needs from the port that it came in by. */
export interface FlowHost {
  readonly socket: Pick<DatagramSocket, "send">;
  readonly memory: QueueMemory;
  readonly counters: UdpCounters;
  /** The stream of the flow has ended, and with it the flow. */
  flowEnded(flow: UdpFlow, end: FlowEnd): void;
  /** It has to make room for another one, of this port or of another. */
  flowReplaced(flow: UdpFlow): void;
  /** Its source has answered an answer: it is no forged one. */
  flowVerified(flow: UdpFlow): void;
}

/** What one public source says to a service, and the other way round: one stream of a tunnel. */
export class UdpFlow {
  readonly id: string;
  /** By which its port finds it. */
  readonly key: string;
  readonly source: Endpoint;
  /** The group of addresses that counts as one source. */
  readonly group: string;
  /** `monotonic` time. */
  readonly since: number;
  /** `monotonic` time, as coarse as the port's own. */
  lastActive: number;
  /** The same of the last datagram of the source. */
  lastHeard: number;
  bytesIn = 0;
  bytesOut = 0;
  datagramsIn = 0;
  datagramsOut = 0;
  dropped = 0;
  isVerified = false;
  isOver = false;
  readonly #peer: Deno.Addr;
  readonly #host: FlowHost;
  readonly #sender: DatagramSender;
  readonly #ended = new AbortController();
  #stream: ByteStream | undefined;

  constructor(
    host: FlowHost,
    { id, key, source, group, peer, now }: Pick<UdpFlow, "id" | "key" | "source" | "group"> & {
      readonly peer: Deno.Addr;
      readonly now: number;
    },
  ) {
    this.#host = host;
    this.#peer = peer;
    this.id = id;
    this.key = key;
    this.source = source;
    this.group = group;
    this.since = this.lastActive = this.lastHeard = now;
    this.#sender = new DatagramSender(host.memory, {
      sent: (datagrams) => host.counters.count("in", "passed", datagrams),
      failed: () => host.flowEnded(this, "stream_ended"),
    });
  }

  /** Whether something has been sent to the source. */
  get isAnswered(): boolean {
    return this.datagramsOut > 0;
  }

  /** Takes a datagram of the source. */
  take(datagram: Uint8Array, now: number): void {
    this.lastActive = this.lastHeard = now;
    this.bytesIn += datagram.length;
    this.datagramsIn++;
    if (!this.isVerified && this.datagramsOut > 0) {
      this.isVerified = true;
      this.#host.flowVerified(this);
    }
    this.#drop(this.#sender.send(datagram), "queue_full");
  }

  /** There is a stream now: what waits goes out, and what comes back is sent to the source. Owns the stream. */
  carry(stream: ByteStream, now: () => number): void {
    if (this.isOver) return closeQuietly(stream);
    this.#stream = stream;
    this.#sender.start(stream); // first: its header goes out together with the first datagram
    readDatagrams(stream, (datagram) => this.#answer(datagram, now())).catch(() => {}).then(() =>
      this.#host.flowEnded(this, "stream_ended")
    );
  }

  /** Aborted when it is over. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Ends it, wherever it belongs. */
  giveWay(): void {
    this.#host.flowReplaced(this);
  }

  /** Called by its port, which forgets it. */
  close(): void {
    this.isOver = true;
    this.#drop(this.#sender.close(), "no_agent");
    this.#ended.abort();
    closeQuietly(this.#stream);
  }

  #drop(datagrams: number, why: "queue_full" | "no_agent"): void {
    if (datagrams === 0) return;
    this.dropped += datagrams;
    this.#host.counters.count("in", why, datagrams);
  }

  #answer(datagram: Uint8Array, now: number): Promise<void> | undefined {
    if (this.isOver) return undefined;
    const { counters, socket } = this.#host;
    if (!this.#maySend(datagram.length)) {
      this.dropped++;
      counters.count("out", "unverified");
      return undefined;
    }
    this.lastActive = now;
    this.bytesOut += datagram.length;
    this.datagramsOut++;
    return socket.send(datagram, this.#peer).then(this.#sent, this.#notSent);
  }

  #maySend(length: number): boolean {
    return this.isVerified ||
      this.bytesOut + length <= UNVERIFIED_BYTES + UNVERIFIED_FACTOR * this.bytesIn;
  }

  readonly #sent = (): void => {
    this.#host.counters.count("out", "passed");
  };

  readonly #notSent = (): void => {
    this.dropped++;
    this.#host.counters.count("out", "not_sent");
  };
}
