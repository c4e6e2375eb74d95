import { ByteReader, type HttpFault, RequestHead } from "../../core/http1/mod.ts";
import type { ByteStream } from "../../core/plugin/mod.ts";

/** The head of the first request on a connection, and all that was read with it. */
export interface FirstRequest {
  readonly head: RequestHead;
  /** Every byte that was read, the head's own among them. */
  readonly seen: Uint8Array;
}

/** An agent that speaks yamux without a WebSocket around it. */
export interface BareYamux {
  /** All that was read. */
  readonly yamux: Uint8Array;
}

/** What the first byte shows that is not HTTP. */
export type NotHttp =
  /** The client left. */
  | "left"
  | "unknown";

/** The first byte of every yamux frame. */
const YAMUX_VERSION = 0;
const UPPER_A = 0x41, UPPER_Z = 0x5a;

/** Reads a head, bounded by what the parser takes; how long it may take is for the caller to bound, by closing the stream. */
export async function readFirstRequest(
  stream: ByteStream,
): Promise<FirstRequest | BareYamux | HttpFault | NotHttp> {
  const reader = new ByteReader(stream);
  const head = new RequestHead();
  try {
    for (;;) {
      if (!await reader.fill()) return "left";
      const [first = YAMUX_VERSION] = reader.bytes;
      if (first === YAMUX_VERSION) return { yamux: reader.bytes.slice() };
      if (first < UPPER_A || first > UPPER_Z) return "unknown";
      const result = head.parse(reader.bytes);
      if (result === "more") continue;
      return result === "done" ? kept(head, reader.bytes) : result;
    }
  } finally {
    reader.release();
  }
}

/** The reader's buffer is somebody else's next: the head's positions are in a copy from here on. */
function kept(head: RequestHead, bytes: Uint8Array): FirstRequest {
  const seen = bytes.slice();
  head.fields.bytes = seen;
  return { head, seen };
}
