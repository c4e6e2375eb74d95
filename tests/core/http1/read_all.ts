import type { ByteStream } from "../../../core/byte_stream.ts";
import { BodyReader, ByteReader, type HttpFault, RequestHead } from "../../../core/http1/mod.ts";
import type { Refusal, SeenRequest } from "../../support/smuggling.ts";

/** A stream that yields `pieces` one after the other, and then FIN. */
export function streamOf(pieces: readonly Uint8Array[]): ByteStream {
  const left = pieces.filter((piece) => piece.length > 0).map((piece) => piece.slice());
  return {
    read(into) {
      const [first] = left;
      if (first === undefined) return Promise.resolve(null);
      const length = Math.min(first.length, into.length);
      into.set(first.subarray(0, length));
      if (length === first.length) left.shift();
      else left[0] = first.subarray(length);
      return Promise.resolve(length);
    },
    write: () => Promise.reject(new Error("only read from")),
    closeWrite: () => Promise.resolve(),
    close() {},
  };
}

/** `bytes` in pieces of at most `size`. */
export function inPiecesOf(size: number, bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

export function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** What a connection's bytes come to. */
export interface Reading {
  readonly requests: SeenRequest[];
  readonly refused?: Refusal;
}

/** Reads requests until one is refused, the connection is to be closed, or the bytes end. */
export async function readRequests(pieces: readonly Uint8Array[]): Promise<Reading> {
  const reader = new ByteReader(streamOf(pieces));
  const head = new RequestHead();
  const body = new BodyReader(reader);
  const requests: SeenRequest[] = [];
  const refuse = (fault: HttpFault, where: "head" | "body") => ({
    requests,
    refused: { status: fault.status, word: fault.word, in: where },
  });
  try {
    for (;;) {
      let result = head.parse(reader.bytes);
      while (result === "more") {
        if (!await reader.fill()) return { requests };
        result = head.parse(reader.bytes);
      }
      if (result !== "done") return refuse(result, "head");
      const { method, path } = head;
      reader.consume(head.length);
      body.start(head.body, head.contentLength);
      let text = "";
      let data = await body.read();
      for (; data instanceof Uint8Array; data = await body.read()) text += textOf(data);
      if (data !== "end") return data.word === "body-cut-short" ? { requests } : refuse(data, "body");
      requests.push({ method, path, body: text });
      if (!head.keepAlive) return { requests };
    }
  } finally {
    reader.release();
  }
}
