import { type ByteStream, closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import {
  DATA,
  emptyHeader,
  type FrameHeader,
  HEADER_BYTES,
  parseHeader,
  writeHeader,
} from "../../../../plugins/ws-agent/yamux/frame.ts";
import {
  openYamux,
  type YamuxOptions,
  type YamuxSession,
  type YamuxStream,
} from "../../../../plugins/ws-agent/yamux/mod.ts";
import { pipe, type PipeEnd, type PipeOptions } from "../../../support/pipe.ts";

/** One frame as bytes. `length` is that of the payload when there is one. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  length: number,
  payload: Uint8Array = new Uint8Array(),
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  writeHeader(bytes, 0, type, flags, streamId, payload.length || length);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** All of them, one behind the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

/** A frame that came, with its payload. */
export interface SeenFrame extends FrameHeader {
  readonly payload: Uint8Array;
}

/** The other side of a session, which says whatever a test wants it to. */
export class RawPeer {
  readonly #stream: PipeEnd;

  constructor(stream: PipeEnd) {
    this.#stream = stream;
  }

  send(...parts: Uint8Array[]): Promise<void> {
    return writeAll(this.#stream, joined(parts));
  }

  /** The next frame; `undefined` at the transport's end. */
  async next(): Promise<SeenFrame | undefined> {
    const bytes = await this.nextBytes();
    if (bytes === undefined) return undefined;
    const header = emptyHeader();
    parseHeader(bytes, 0, bytes.length, header);
    return { ...header, payload: bytes.subarray(HEADER_BYTES) };
  }

  /** The same as bytes. */
  async nextBytes(): Promise<Uint8Array | undefined> {
    const head = await this.#readExactly(HEADER_BYTES);
    if (head === undefined) return undefined;
    const header = emptyHeader();
    const parsed = parseHeader(head, 0, head.length, header);
    if (parsed !== "yes") throw new Error(`A frame with a bad ${parsed}`);
    if (header.type !== DATA) return head;
    const payload = await this.#readExactly(header.length);
    if (payload === undefined) throw new Error("A frame was cut off");
    return joined([head, payload]);
  }

  /** Every frame up to the transport's end. */
  async rest(): Promise<SeenFrame[]> {
    const frames: SeenFrame[] = [];
    for (let one; (one = await this.next()) !== undefined;) frames.push(one);
    return frames;
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  abort(): void {
    this.#stream.abort();
  }

  close(): void {
    closeQuietly(this.#stream);
  }

  async #readExactly(length: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const read = await this.#stream.read(bytes.subarray(at));
      if (read === null) {
        if (at === 0) return undefined;
        throw new Error("The transport ended in the middle of a frame");
      }
      at += read;
    }
    return bytes;
  }
}

/** Nothing is sent but what a test asks for. */
const QUIET = { pingIntervalMs: 0 } as const;

export interface WithPeer extends Disposable {
  readonly session: YamuxSession;
  readonly peer: RawPeer;
  /** What the session's side of the transport is. */
  readonly transport: PipeEnd;
  /** Streams that the peer has opened. */
  readonly taken: YamuxStream[];
}

/** A session whose other side is raw. It is the server, and so the peer's streams are odd. */
export function withPeer(options: Partial<YamuxOptions> = {}, pipeOptions?: PipeOptions): WithPeer {
  const [ours, theirs] = pipe({ capacity: 2 ** 24, ...pipeOptions });
  const taken: YamuxStream[] = [];
  const session = openYamux(ours, {
    role: "server",
    ...QUIET,
    onStream: (stream) => taken.push(stream),
    ...options,
  });
  const peer = new RawPeer(theirs);
  return {
    session,
    peer,
    transport: ours,
    taken,
    [Symbol.dispose]() {
      session.close();
      peer.close();
    },
  };
}

export interface Pair extends Disposable {
  readonly client: YamuxSession;
  readonly server: YamuxSession;
  /** The next stream that the client has opened, as the server has it. */
  accepted(): Promise<YamuxStream>;
  /** A stream that the client has opened, at both its ends. */
  connect(): Promise<[YamuxStream, YamuxStream]>;
}

/** Two sessions that talk to each other. */
export function pair(
  { client, server, transport, ...pipeOptions }: PipeOptions & {
    readonly client?: Partial<YamuxOptions>;
    readonly server?: Partial<YamuxOptions>;
    readonly transport?: readonly [ByteStream, ByteStream];
  } = {},
): Pair {
  const [a, b] = transport ?? pipe(pipeOptions);
  const waiting: YamuxStream[] = [];
  const wanted: ((stream: YamuxStream) => void)[] = [];
  const clientSession = openYamux(a, { role: "client", ...QUIET, ...client });
  const serverSession = openYamux(b, {
    role: "server",
    ...QUIET,
    onStream(stream) {
      const take = wanted.shift();
      if (take === undefined) waiting.push(stream);
      else take(stream);
    },
    ...server,
  });
  const accepted = () => {
    const stream = waiting.shift();
    if (stream !== undefined) return Promise.resolve(stream);
    return new Promise<YamuxStream>((resolve) => wanted.push(resolve));
  };
  return {
    client: clientSession,
    server: serverSession,
    accepted,
    async connect() {
      const near = clientSession.open();
      return [near, await accepted()];
    },
    [Symbol.dispose]() {
      clientSession.close();
      serverSession.close();
    },
  };
}

/** Lets everything run that can: between two turns of the event loop, all that only waits for promises is done. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Bytes that tell where they belong. */
export function pattern(length: number, salt = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + salt) & 0xff);
}
