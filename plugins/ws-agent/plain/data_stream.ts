import { type ByteStream, closeQuietly } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";

/**
 * An agent is told of a client's FIN by a close frame, and programs end both directions then. So it is told only once the service has
 * said nothing for so long: an answer to a request that ended with FIN gets through. Not longer, because most clients that send FIN have
 * left, and count as streams until then.
 */
const QUIET_MS = 1000;
/** What an agent may take to close its side behind that. */
const CLOSE_MS = 5000;

/** A WebSocket as bytes, which can also end so that its peer knows that something may be missing. */
export interface DataSocket extends ByteStream {
  /** Ends without a close frame. */
  abort(): void;
}

/** What a data stream tells its tunnel. */
export interface DataStreamHost {
  readonly clock: Clock;
  received(bytes: number): void;
  sent(bytes: number): void;
  /** It is closed. Called once. */
  over(stream: DataStream): void;
}

/**
 * A public connection in a data WebSocket. Close frames stand for FIN as well as they can: the agent's ends its bytes, and is answered at
 * once; ours waits until the service is silent.
 */
export class DataStream implements ByteStream {
  readonly #socket: DataSocket;
  readonly #host: DataStreamHost;
  #clientEnded = false;
  #agentEnded = false;
  #isReading = false;
  #isClosing = false;
  #isOver = false;
  /** Takes back what is to happen next. */
  #stopTimer: (() => void) | undefined;

  /** @param socket Owned from now on. */
  constructor(socket: DataSocket, host: DataStreamHost) {
    this.#socket = socket;
    this.#host = host;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#receive(into);
    if (length === null) {
      this.#agentEnded = true;
      // Not awaited: behind a write that is stuck it would keep the end from the client.
      this.#socket.closeWrite().catch(() => {});
      return null;
    }
    this.#host.received(length);
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    const length = await this.#socket.write(data);
    this.#host.sent(length);
    return length;
  }

  /** Resolves at once; the close frame follows when nothing has come for a while. */
  closeWrite(): Promise<void> {
    if (!this.#clientEnded) {
      this.#clientEnded = true;
      if (this.#isReading && !this.#isOver) this.#startTimer();
    }
    return Promise.resolve();
  }

  /** Before either side has ended, the agent gets no close frame: it would take half of the bytes for all. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopTimer?.();
    if (this.#clientEnded || this.#agentEnded) closeQuietly(this.#socket);
    else closeQuietly({ close: () => this.#socket.abort() });
    this.#host.over(this);
  }

  /** The service is silent only while it is listened to: a slow client holds up what is there already. */
  async #receive(into: Uint8Array): Promise<number | null> {
    this.#isReading = true;
    if (this.#clientEnded) this.#startTimer();
    try {
      return await this.#socket.read(into);
    } finally {
      this.#isReading = false;
      this.#stopTimer?.();
    }
  }

  #startTimer(): void {
    const { clock } = this.#host;
    this.#stopTimer?.();
    this.#stopTimer = this.#isClosing
      ? clock.after(CLOSE_MS, () => this.close())
      : clock.after(QUIET_MS, () => this.#sendClose());
  }

  #sendClose(): void {
    this.#isClosing = true;
    this.#startTimer();
    this.#socket.closeWrite().catch(() => {}); // what breaks the socket is met by the read that is under way
  }
}
