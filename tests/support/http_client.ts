import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";

/** A request of a test. */
export interface ClientRequest {
  /** @default "GET" */
  readonly method?: string;
  /** @default "/" */
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with its length. */
  readonly body?: Uint8Array;
}

export interface ClientResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  readonly text: string;
}

/** The other side has closed before the answer was whole. */
export class ConnectionEnded extends Error {
  override readonly name = "ConnectionEnded";
}

/** An HTTP/1.1 client on one connection that is kept alive. It knows answers with a Content-Length, and no others. */
export class HttpClient implements Disposable {
  readonly #stream: ByteStream;
  readonly #host: string;
  #seen = new Uint8Array();

  /** Takes the stream over. */
  constructor(stream: ByteStream, host: string) {
    this.#stream = stream;
    this.#host = host;
  }

  /** Sends a request, and reads its answer whole. */
  async request(request: ClientRequest = {}): Promise<ClientResponse> {
    const [, response] = await Promise.all([this.#send(request), this.#receive(request.method === "HEAD")]);
    return response;
  }

  [Symbol.dispose](): void {
    closeQuietly(this.#stream);
  }

  async #send({ method = "GET", path = "/", headers = {}, body }: ClientRequest): Promise<void> {
    const fields = Object.entries({
      Host: this.#host,
      ...headers,
      ...(body && { "Content-Length": String(body.length) }),
    });
    const head = `${method} ${path} HTTP/1.1\r\n${
      fields.map((field) => `${field.join(": ")}\r\n`).join("")
    }\r\n`;
    await writeAll(this.#stream, new TextEncoder().encode(head));
    if (body) await writeAll(this.#stream, body);
  }

  async #receive(isHead: boolean): Promise<ClientResponse> {
    const [line = "", ...fields] = (await this.#readHead()).split("\r\n");
    const headers = new Map(
      fields.map((field) => {
        const colon = field.indexOf(":");
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
      }),
    );
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(line) ?? [];
    const length = headers.get("content-length");
    if (status === undefined || length === undefined) throw new TypeError(`Not known here: ${line}`);
    const body = await this.#readBytes(isHead ? 0 : Number(length));
    return { status: Number(status), headers, body, text: new TextDecoder().decode(body) };
  }

  async #readHead(): Promise<string> {
    for (;;) {
      const text = new TextDecoder("latin1").decode(this.#seen);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#seen = this.#seen.slice(end + 4);
        return text.slice(0, end);
      }
      await this.#more();
    }
  }

  async #readBytes(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let filled = Math.min(length, this.#seen.length);
    bytes.set(this.#seen.subarray(0, filled));
    this.#seen = this.#seen.slice(filled);
    while (filled < length) {
      const n = await this.#stream.read(bytes.subarray(filled));
      if (n === null) throw new ConnectionEnded(`After ${filled} of ${length} bytes of a body`);
      filled += n;
    }
    return bytes;
  }

  async #more(): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    const length = await this.#stream.read(buffer);
    if (length === null) throw new ConnectionEnded(`After ${this.#seen.length} bytes of a head`);
    const seen = new Uint8Array(this.#seen.length + length);
    seen.set(this.#seen);
    seen.set(buffer.subarray(0, length), this.#seen.length);
    this.#seen = seen;
  }
}
