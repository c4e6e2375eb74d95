import type { ByteStream } from "../byte_stream.ts";
import { uint32 } from "./preface/parsed.ts";
import type { CancelKey } from "./preface/postgres.ts";

// Formats: PostgreSQL's manual, "Message Formats".

/** Type (1), then a length (4) that counts itself but not the type. */
const HEADER_BYTES = 5, LENGTH_BYTES = 4;
/** The length of BackendKeyData: itself, process id, key of 4 to 256 bytes. */
const MIN_KEY_DATA = 12, MAX_KEY_DATA = 264;
/** A login takes a few hundred bytes; a notice or a GSS token may be longer. */
const MAX_LOGIN_BYTES = 64 * 1024;

const AUTHENTICATION = "R".charCodeAt(0), BACKEND_KEY_DATA = "K".charCodeAt(0);
/** What may come before BackendKeyData and is none of our business: also ParameterStatus, NoticeResponse, NegotiateProtocolVersion. */
const PASSED_OVER: ReadonlySet<number> = new Set([
  AUTHENTICATION,
  "S".charCodeAt(0),
  "N".charCodeAt(0),
  "v".charCodeAt(0),
]);

/**
 * Finds BackendKeyData in the first messages of a PostgreSQL server, however they are cut. Reads nothing but types
 * and lengths of all others.
 */
export class BackendKeyParser {
  readonly #message = new Uint8Array(LENGTH_BYTES + MAX_KEY_DATA + 1);
  /** How much of a header, or of BackendKeyData, is in `#message`. */
  #filled = 0;
  /** Bytes of a message that is passed over, still to come. */
  #skip = 0;
  #seen = 0;

  /**
   * @param bytes What came next; only read, and not kept.
   * @returns The key, whose secret is a copy; `more` to be given what comes next; `none` when there will be no key:
   * the login has failed, or this is not what PostgreSQL says.
   */
  push(bytes: Uint8Array): CancelKey | "more" | "none" {
    this.#seen += bytes.length;
    for (let at = 0; at < bytes.length;) {
      if (this.#skip > 0) {
        const length = Math.min(this.#skip, bytes.length - at);
        this.#skip -= length;
        at += length;
        continue;
      }
      this.#message[this.#filled++] = bytes[at++] ?? 0;
      if (this.#filled < HEADER_BYTES) continue;
      const found = this.#take();
      if (found !== "more") return found;
    }
    return this.#seen + this.#skip > MAX_LOGIN_BYTES ? "none" : "more";
  }

  /** With the header, and perhaps some of what follows, in `#message`. */
  #take(): CancelKey | "more" | "none" {
    const type = this.#message[0] ?? 0;
    const length = uint32(this.#message, 1);
    if (type === BACKEND_KEY_DATA) return this.#takeKey(length);
    if (!PASSED_OVER.has(type) || length < LENGTH_BYTES || length > MAX_LOGIN_BYTES) return "none";
    this.#skip = length - LENGTH_BYTES;
    this.#filled = 0;
    return "more";
  }

  #takeKey(length: number): CancelKey | "more" | "none" {
    if (length < MIN_KEY_DATA || length > MAX_KEY_DATA) return "none";
    if (this.#filled < 1 + length) return "more";
    return {
      processId: uint32(this.#message, HEADER_BYTES),
      secret: this.#message.slice(HEADER_BYTES + 4, 1 + length),
    };
  }
}

/**
 * A PostgreSQL server's stream as it is, of which the first messages are looked at as they pass. It costs nothing
 * once the key has come by, or is not to be expected any more.
 */
export class KeyWatchingStream implements ByteStream {
  readonly #stream: ByteStream;
  readonly #onKey: (key: CancelKey) => void;
  readonly #onClose: () => void;
  #parser: BackendKeyParser | undefined = new BackendKeyParser();

  /**
   * @param onKey Called once at most, and not behind `onClose`. Must not throw.
   * @param onClose Called whenever the stream is closed. Must not throw.
   */
  constructor(stream: ByteStream, onKey: (key: CancelKey) => void, onClose: () => void) {
    this.#stream = stream;
    this.#onKey = onKey;
    this.#onClose = onClose;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#parser === undefined ? this.#stream.read(into) : this.#watch(this.#parser, into);
  }

  async #watch(parser: BackendKeyParser, into: Uint8Array): Promise<number | null> {
    const length = await this.#stream.read(into);
    if (this.#parser === undefined) return length; // closed meanwhile: nobody would take the key out again
    const found = length === null ? "none" : parser.push(into.subarray(0, length));
    if (found === "more") return length;
    this.#parser = undefined;
    if (found !== "none") this.#onKey(found);
    return length;
  }

  write(data: Uint8Array): Promise<number> {
    return this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#parser = undefined;
    this.#onClose();
    this.#stream.close();
  }
}
