import { type ByteStream, writeAll } from "../../byte_stream.ts";
import type { PrefaceResult } from "./preface.ts";
import { PrefaceParser, type ProxyTrust } from "./preface_parser.ts";

/**
 * The first buffer of a connection, bytes: what a silent stranger costs. The usual ClientHello of 300 to 520 bytes
 * comes in one read; one with a post-quantum key share, about 1.8 KB, in two.
 */
export const FIRST_BUFFER_BYTES = 1024;

export interface PrefaceOptions {
  /** The most that is read, PROXY header and PostgreSQL packets included. */
  readonly maxBytes: number;
  /** Whether this peer's PROXY header is believed, or refused. */
  readonly proxy: ProxyTrust;
}

/**
 * Reads just enough of a new connection to route it, and answers a PostgreSQL SSLRequest (`S`) and GSSENCRequest
 * (`N`) on the way. Until it settles, nobody else reads from or writes to `stream`.
 *
 * There is no deadline here: the caller closes the stream when its own is over.
 *
 * @throws What a read or write of the stream rejects with: its closing by the caller, or the client's reset.
 */
export async function readPreface(stream: ByteStream, options: PrefaceOptions): Promise<PrefaceResult> {
  const parser = new PrefaceParser(options.proxy);
  let buffer = new Uint8Array(Math.min(FIRST_BUFFER_BYTES, options.maxBytes));
  let seen = 0;
  for (;;) {
    if (seen === buffer.length) {
      if (seen >= options.maxBytes) return tooLarge(parser, options.maxBytes);
      buffer = grown(buffer, options.maxBytes);
    }
    const length = await stream.read(seen === 0 ? buffer : buffer.subarray(seen));
    if (length === null) return parser.refuse("client_closed", `The client left after ${seen} bytes`);
    seen += length;
    const step = parser.next(buffer.subarray(0, seen));
    if (step.kind === "answer") await writeAll(stream, step.bytes);
    else if (step.kind !== "more") return withOwnReplay(step, buffer);
    else if (step.total > options.maxBytes) return tooLarge(parser, options.maxBytes);
  }
}

/** Grows with what was sent, never with what was announced: a length field must not make a stranger dear. */
function grown(buffer: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(2 * buffer.length, maxBytes));
  larger.set(buffer);
  return larger;
}

function tooLarge(parser: PrefaceParser, maxBytes: number): PrefaceResult {
  return parser.refuse("preface_too_large", `More than ${maxBytes} bytes before a decision is possible`);
}

/** A large buffer does not live on in what is replayed from it. */
function withOwnReplay(result: PrefaceResult, buffer: Uint8Array): PrefaceResult {
  if (result.kind !== "preface" || buffer.length <= FIRST_BUFFER_BYTES) return result;
  return { kind: "preface", preface: { ...result.preface, replay: result.preface.replay.slice() } };
}
