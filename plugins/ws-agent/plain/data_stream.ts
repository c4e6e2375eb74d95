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
  readonly #socket: ByteStream;
  readonly #host: DataStreamHost;
  /** Present once the client has ended: takes back what is to happen next. */
  #stopTimer: (() => void) | undefined;
  #isClosing = false;
  #isOver = false;

  /** @param socket A WebSocket as bytes; owned from now on. */
  constructor(socket: ByteStream, host: DataStreamHost) {
    this.#socket = socket;
    this.#host = host;
  }

  async read(into: Uint8Array): Promise<number | null> {
    const length = await this.#socket.read(into);
    if (length === null) {
      await this.#socket.closeWrite();
      return null;
    }
    this.#host.received(length);
    if (this.#stopTimer !== undefined && !this.#isClosing) this.#waitForQuiet();
    return length;
  }

  async write(data: Uint8Array): Promise<number> {
    const length = await this.#socket.write(data);
    this.#host.sent(length);
    return length;
  }

  /** Resolves at once; the close frame follows when nothing has come for a while. */
  closeWrite(): Promise<void> {
    if (!this.#isOver && this.#stopTimer === undefined) this.#waitForQuiet();
    return Promise.resolve();
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopTimer?.();
    closeQuietly(this.#socket);
    this.#host.over(this);
  }

  #waitForQuiet(): void {
    this.#stopTimer?.();
    this.#stopTimer = this.#host.clock.after(QUIET_MS, () => this.#sendClose());
  }

  #sendClose(): void {
    this.#isClosing = true;
    this.#stopTimer = this.#host.clock.after(CLOSE_MS, () => this.close());
    this.#socket.closeWrite().catch(() => {}); // what breaks the socket is met by the read that is under way
  }
}
