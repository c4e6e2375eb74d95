import { type ByteStream, writeAll } from "../../../core/plugin/mod.ts";
import { CLOSE, type CloseStatus, encodeClose, isNormalClose, WebSocketFault } from "./closing.ts";
import { MAX_HEADER_BYTES, OPCODE, type PutHeader, putHeader, type WebSocketRole } from "./frame.ts";
import { FrameReader } from "./frame_reader.ts";
import type { FramedWriter } from "./framed_writer.ts";
import { applyMask } from "./masking.ts";
import { giveScratch, MAX_PAYLOAD_BYTES, takeScratch } from "./scratch.ts";

/** How long a peer that broke a rule may take for the close frame that tells it so. */
const FAULT_CLOSE_MS = 500;

export interface WebSocketOptions {
  /** Our own. */
  readonly role: WebSocketRole;
  /** What was read of the transport behind the handshake. */
  readonly replay?: Uint8Array;
  /** A clock in milliseconds that never goes back. @default performance.now */
  readonly now?: () => number;
  /**
   * Called where a message of the peer ends, for a protocol to which that means something: with the position in what the `read` that is
   * under way brings.
   */
  readonly onMessageEnd?: (at: number) => void;
}

/**
 * A WebSocket (RFC 6455, without extensions) as one continuous byte stream: where its binary messages begin and end
 * means nothing, unless somebody asks. Owns the transport. It behaves as a `Deno.TcpConn`, with a close frame in the place of FIN:
 *
 * - `read` gives `null` once the peer has closed normally (1000, 1001 or without a code), and may be written to still;
 *   `closeWrite` then echoes the code, which completes the close. The wait for the peer's is the caller's to bound.
 * - A transport that ends without a close frame rejects reads with `ConnectionReset`: something may be missing.
 * - A peer that breaks a rule is sent a close frame that says so, and reads reject with {@link WebSocketFault}. So they do
 *   when it closes with any other code. The caller still has to close.
 * - `close` says goodbye where that needs no waiting. For more than that, `closeWrite` comes first.
 *
 * Pings are answered between two writes, the last one only when several wait. Give `read` a large buffer: it reads the
 * transport right into it.
 */
export class WebSocketBytes implements ByteStream, FramedWriter {
  readonly headroom: number = MAX_HEADER_BYTES;
  readonly maxInPlaceBytes: number = 1024 * 1024;
  readonly #transport: ByteStream;
  readonly #role: WebSocketRole;
  readonly #frames: FrameReader;
  readonly #put: PutHeader = { start: 0, key: 0 };
  #replay: Uint8Array | undefined;
  #closed = false;
  /** Ours was sent, or is next in line. */
  #closeSent = false;
  /** Whether bytes are on their way, and who waits for that to be over. */
  #writing = false;
  #freed: PromiseWithResolvers<void> | undefined;
  #pong: Uint8Array | undefined;

  constructor(
    transport: ByteStream,
    { role, replay, now = () => performance.now(), onMessageEnd }: WebSocketOptions,
  ) {
    this.#transport = transport;
    this.#role = role;
    this.#frames = new FrameReader(role, now, onMessageEnd);
    this.#replay = replay;
  }

  /** What the peer's close frame said, once it has come and been read up to. */
  get peerClose(): CloseStatus | undefined {
    return this.#frames.close;
  }

  async read(into: Uint8Array): Promise<number | null> {
    if (into.length === 0) return 0;
    while (this.#frames.close === undefined && this.#frames.fault === undefined) {
      const received = this.#takeReplay(into) ?? await this.#transport.read(into);
      if (received === null) throw new Deno.errors.ConnectionReset("WebSocket ended without a close frame");
      const length = this.#frames.take(into, received);
      this.#answerPing();
      if (length > 0) return length;
    }
    return await this.#end();
  }

  /** Sends a prefix of `data`, of up to 256 KiB, as one frame. */
  async write(data: Uint8Array): Promise<number> {
    if (data.length === 0) return 0;
    const length = Math.min(data.length, MAX_PAYLOAD_BYTES);
    const end = MAX_HEADER_BYTES + length;
    if (this.#writing || this.#closeSent) await this.#waitForTurn();
    this.#writing = true;
    const scratch = takeScratch(length);
    try {
      scratch.set(length === data.length ? data : data.subarray(0, length), MAX_HEADER_BYTES);
      await this.#send(OPCODE.binary, scratch, MAX_HEADER_BYTES, end);
    } finally {
      giveScratch(scratch);
      this.#unlock();
    }
    return length;
  }

  async writeInPlace(buffer: Uint8Array, start: number, end: number): Promise<void> {
    const length = end - start;
    if (start < MAX_HEADER_BYTES || end > buffer.length || !(length > 0 && length <= this.maxInPlaceBytes)) {
      throw new RangeError(`Cannot frame bytes ${start} to ${end} of ${buffer.length} in place`);
    }
    if (this.#writing || this.#closeSent) await this.#waitForTurn();
    this.#writing = true;
    try {
      await this.#send(OPCODE.binary, buffer, start, end);
    } finally {
      this.#unlock();
    }
  }

  /** Sends a close frame: the peer's code when it has closed, 1000 otherwise. */
  async closeWrite(): Promise<void> {
    await this.closeWith({ ...(this.peerClose ?? { code: CLOSE.normal }), reason: "" });
  }

  /**
   * Sends a close frame that says more than `closeWrite` does, such as 1001 or 1013 and why. Does nothing when one was sent
   * already.
   *
   * @throws {RangeError} For a code that may not be sent (RFC 6455 §7.4).
   */
  async closeWith(status: CloseStatus): Promise<void> {
    if (this.#closed) throw new Deno.errors.BadResource("WebSocket is closed");
    const payload = encodeClose(status);
    if (this.#closeSent) return;
    this.#closeSent = true;
    while (this.#writing) await this.#whenFree();
    this.#writing = true;
    await this.#sendControl(OPCODE.close, payload);
  }

  close(): void {
    // A transport takes a few bytes at once, so that they are on their way before it is closed.
    if (!this.#closed && !this.#writing) this.closeWrite().catch(() => {});
    this.#closed = true;
    this.#closeSent = true;
    this.#transport.close();
  }

  /** Ends without a close frame: the peer is to know that something may be missing. */
  abort(): void {
    this.#closed = true;
    this.#closeSent = true;
    this.#transport.close();
  }

  /** The end of reading. */
  async #end(): Promise<null> {
    if (this.#closed) throw new Deno.errors.BadResource("WebSocket is closed");
    const { fault, close } = this.#frames;
    if (fault !== undefined) {
      await this.#tell({ code: fault.code, reason: fault.message });
      throw fault;
    }
    if (close === undefined || isNormalClose(close)) return null;
    await this.#tell({ ...close, reason: "" });
    throw new WebSocketFault(close.code ?? CLOSE.normal, describeClose(close), true);
  }

  /** Sends a close frame if that can be done soon. */
  async #tell(status: CloseStatus): Promise<void> {
    if (this.#closeSent) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, FAULT_CLOSE_MS);
    try {
      await Promise.race([this.closeWith(status), late.promise]);
    } catch {
      // The transport is broken; what the peer did is said by the fault.
    } finally {
      clearTimeout(timer);
    }
  }

  #answerPing(): void {
    const ping = this.#frames.takePing();
    if (ping === undefined || this.#closeSent) return;
    this.#pong = ping;
    if (!this.#writing) this.#sendPong();
  }

  #sendPong(): void {
    const pong = this.#pong;
    this.#pong = undefined;
    if (pong === undefined || this.#closeSent) return;
    this.#writing = true;
    this.#sendControl(OPCODE.pong, pong).catch(() => {}); // what breaks the transport is met by the next read or write
  }

  /** Called with `#writing` set, which it ends. */
  async #sendControl(opcode: number, payload: Uint8Array): Promise<void> {
    const end = MAX_HEADER_BYTES + payload.length;
    const frame = new Uint8Array(end);
    frame.set(payload, MAX_HEADER_BYTES);
    try {
      await this.#send(opcode, frame, MAX_HEADER_BYTES, end);
    } finally {
      this.#unlock();
    }
  }

  async #send(opcode: number, buffer: Uint8Array, start: number, end: number): Promise<void> {
    const put = this.#put;
    putHeader(buffer, start, this.#role, opcode, end - start, put);
    if (this.#role === "client") applyMask(buffer, start, end, put.key);
    const frame = buffer.subarray(put.start, end);
    const sent = await this.#transport.write(frame);
    if (sent < frame.length) await writeAll(this.#transport, frame.subarray(sent));
  }

  /** Waits until nothing is being sent. Whoever goes on sets `#writing` at once. */
  async #waitForTurn(): Promise<void> {
    if (this.#closed) throw new Deno.errors.BadResource("WebSocket is closed");
    while (this.#writing) {
      await this.#whenFree();
      if (this.#closed) throw new Deno.errors.Interrupted("operation canceled");
    }
    if (this.#closeSent) throw new Deno.errors.BrokenPipe("WebSocket is closed for writing");
  }

  #whenFree(): Promise<void> {
    return (this.#freed ??= Promise.withResolvers()).promise;
  }

  #unlock(): void {
    this.#writing = false;
    if (this.#pong !== undefined && !this.#closeSent) return this.#sendPong();
    const freed = this.#freed;
    this.#freed = undefined;
    freed?.resolve();
  }

  #takeReplay(into: Uint8Array): number | undefined {
    if (this.#closed || this.#replay === undefined || this.#replay.length === 0) return undefined;
    const length = Math.min(into.length, this.#replay.length);
    into.set(this.#replay.subarray(0, length));
    this.#replay = length < this.#replay.length ? this.#replay.subarray(length) : undefined;
    return length;
  }
}

/** A reason comes from a stranger, and may be shown on a terminal. */
function describeClose({ code, reason }: CloseStatus): string {
  const said = reason.replaceAll(/\p{C}/gu, "?");
  return said === "" ? `Peer closed with the status code ${code}` : `Peer closed with ${code}: ${said}`;
}
