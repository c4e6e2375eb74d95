/**
 * What strangers send to make two HTTP parsers disagree, and what must come of it, byte for byte. The parser's tests read it
 * at every cut; the proxy's tests send it over real sockets.
 *
 * @module
 */
import { BODY_ROWS } from "./smuggling_bodies.ts";
import { HEAD_ROWS } from "./smuggling_heads.ts";

/** A request as a parser must see it. */
export interface SeenRequest {
  readonly method: string;
  /** Path and query in origin form. */
  readonly path: string;
  readonly body: string;
}

/** How a sample is refused. */
export interface Refusal {
  /** What the client is answered. */
  readonly status: number;
  /** `HttpFault.word`. */
  readonly word: string;
  /** Where it is found: `body` is after the head was taken, which may have been forwarded by then. */
  readonly in: "head" | "body";
}

/** Bytes of one connection, from its start. After them the client waits, and sends nothing more. */
export interface Sample {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** The requests that are entirely there, in order. No other may reach a service. */
  readonly requests: readonly SeenRequest[];
  /** What comes behind them. Absent: nothing, or the start of something that is in order. */
  readonly refused?: Refusal;
}

/** One line of a table: the name, the bytes as latin-1 text, what is seen, what is refused. */
export type Row = readonly [name: string, text: string, requests: readonly SeenRequest[], refused?: Refusal];

/** The name that every sample is for. */
export const SMUGGLING_HOST = "demo.localhost";

/** Each character as one byte. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Every sample. */
export const SMUGGLING: readonly Sample[] = [...HEAD_ROWS, ...BODY_ROWS].map((
  [name, text, requests, refused],
) => ({
  name,
  bytes: latin1(text),
  requests,
  ...(refused && { refused }),
}));
