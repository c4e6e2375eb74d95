import { HeadWriter, hopByHopAnd, LAST_CHUNK } from "../../../../core/http1/mod.ts";
import { type ByteStream, writeAll } from "../../../../core/plugin/mod.ts";

/** What the server says of the connection itself, whatever the handler says. */
const OURS: ReadonlySet<string> = new Set(hopByHopAnd(["trailer"]).names);
/** Chunks up to here are sent with their head in one write. */
const SMALL_BYTES = 16 * 1024;
const CRLF = "\r\n";

/** What a response answers. */
export interface Answered {
  readonly method: string;
  readonly version: "1.0" | "1.1";
  /** Whether the connection goes on. */
  readonly keepAlive: boolean;
  /** Aborted when there is nobody to answer any more. */
  readonly signal: AbortSignal;
}

/** How the body of a response is delimited, RFC 9112 §6.3. */
type Framing = { readonly kind: "none" | "chunked" | "until-close" } | {
  readonly kind: "length";
  readonly length: number;
};

/**
 * A handler's response, ready to be sent. Made before a byte of it goes out: what no head can hold is found here.
 *
 * @throws {TypeError} For what no response can be.
 */
export class OutgoingResponse {
  /** Whether the client can tell where it ends without the connection's end. */
  readonly keepsAlive: boolean;
  readonly #body: ReadableStream<Uint8Array> | null;
  readonly #framing: Framing;
  readonly #writer: HeadWriter;
  readonly #signal: AbortSignal;

  constructor(response: unknown, to: Answered, writer: HeadWriter) {
    if (!(response instanceof Response)) throw new TypeError("A handler must answer with a Response");
    if (response.status < 200) throw new TypeError(`No response can have the status ${response.status}`);
    if (response.bodyUsed || response.body?.locked) throw new TypeError("The response's body is in use");
    this.#body = response.body;
    this.#framing = framingOf(response, to);
    this.#signal = to.signal;
    this.keepsAlive = to.keepAlive && this.#framing.kind !== "until-close";
    this.#writer = writer;
    this.#writeHead(response, to);
  }

  /**
   * Sends it. Rejects when the connection is to be reset: the client must not take half of it for all.
   *
   * @param beforeHead Awaited before the first byte, when the body has been asked for its first bytes. Must not reject.
   * @throws What the handler's stream or the connection throws.
   */
  async send(stream: ByteStream, beforeHead: () => Promise<void>): Promise<void> {
    if (this.#framing.kind === "none" || this.#body === null) {
      await beforeHead();
      await writeAll(stream, this.#writer.bytes());
      return await this.#body?.cancel();
    }
    const reader = this.#body.getReader();
    const cancel = () => void reader.cancel(this.#signal.reason).catch(() => {});
    this.#signal.addEventListener("abort", cancel);
    if (this.#signal.aborted) cancel();
    try {
      await this.#sendBody(reader, stream, beforeHead);
    } catch (error) {
      reader.cancel(error).catch(() => {});
      throw error;
    } finally {
      this.#signal.removeEventListener("abort", cancel);
    }
  }

  async #sendBody(
    reader: ReadableStreamDefaultReader<Uint8Array>,
    stream: ByteStream,
    beforeHead: () => Promise<void>,
  ): Promise<void> {
    let sent = 0;
    // A handler that takes its time for the first bytes is no reason to keep the head back.
    const reading = reader.read();
    const isThere = await isSoon(reading);
    await beforeHead();
    if (!isThere) {
      await writeAll(stream, this.#writer.bytes());
      this.#writer.clear();
    }
    let first: ReadableStreamReadResult<Uint8Array> | undefined = await reading;
    for (;;) {
      const { done, value } = first ?? await reader.read();
      first = undefined;
      this.#signal.throwIfAborted(); // a stream that was cancelled looks like one that has ended
      if (done) break;
      if (!(value instanceof Uint8Array)) throw new TypeError("A response's body is made of Uint8Array");
      sent += value.length;
      if (this.#framing.kind === "length" && sent > this.#framing.length) throw wrongLength();
      await this.#sendData(value, stream);
    }
    if (this.#framing.kind === "length" && sent < this.#framing.length) throw wrongLength();
    if (this.#framing.kind === "chunked") this.#writer.raw(LAST_CHUNK);
    if (this.#writer.length > 0) await writeAll(stream, this.#writer.bytes());
  }

  /** With what still waits in the writer before it. */
  async #sendData(data: Uint8Array, stream: ByteStream): Promise<void> {
    const writer = this.#writer;
    const isChunked = this.#framing.kind === "chunked";
    if (data.length <= SMALL_BYTES) {
      if (isChunked) writer.chunk(data);
      else writer.raw(data);
      if (writer.length > 0) await writeAll(stream, writer.bytes());
      writer.clear();
      return;
    }
    if (isChunked) writer.raw(encode(data.length.toString(16) + CRLF));
    if (writer.length > 0) await writeAll(stream, writer.bytes());
    await writeAll(stream, data);
    writer.clear();
    if (isChunked) writer.raw(encode(CRLF)); // goes out with what comes next
  }

  #writeHead({ status, statusText, headers }: Response, { version, keepAlive }: Answered): void {
    const writer = this.#writer.clear();
    if (statusText === "") writer.statusLine(status);
    else writer.statusLine(status, statusText);
    for (const [name, value] of headers) if (!OURS.has(name)) writer.field(name, value);
    if (!headers.has("date")) writer.field("Date", new Date().toUTCString());
    const framing = this.#framing;
    const declared = framing.kind === "none" ? headers.get("content-length") : null;
    if (framing.kind === "chunked") writer.field("Transfer-Encoding", "chunked");
    else if (framing.kind === "length") writer.field("Content-Length", framing.length);
    // What a GET would have brought (RFC 9110 §8.6); 204 never says it.
    else if (declared !== null && status !== 204) writer.field("Content-Length", parseLength(declared));
    if (!this.keepsAlive) writer.field("Connection", "close");
    else if (keepAlive && version === "1.0") writer.field("Connection", "keep-alive");
    writer.end();
  }
}

function framingOf({ status, body, headers }: Response, { method, version }: Answered): Framing {
  if (method === "HEAD" || status === 204 || status === 304) return { kind: "none" };
  if (body === null) return { kind: "length", length: 0 };
  const declared = headers.get("content-length");
  if (declared !== null) return { kind: "length", length: parseLength(declared) };
  return { kind: version === "1.1" ? "chunked" : "until-close" };
}

function parseLength(text: string): number {
  const length = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(length)) throw new TypeError("The response's Content-Length is no length");
  return length;
}

function wrongLength(): TypeError {
  return new TypeError("The response's body has another length than its Content-Length says");
}

/** Whether the result of `work` is there at once. */
async function isSoon(work: Promise<unknown>): Promise<boolean> {
  let isThere = false;
  work.then(() => isThere = true, () => isThere = true);
  // A stream over bytes that lie ready takes a few turns of the microtask queue, and no more.
  for (let turn = 0; turn < READY_TURNS && !isThere; turn++) await undefined;
  return isThere;
}

/** Measured: a Blob takes 4, text and bytes 2. */
const READY_TURNS = 8;

const encoder = new TextEncoder();

function encode(text: string): Uint8Array {
  return encoder.encode(text);
}
