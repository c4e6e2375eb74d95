import { type ByteStream, closeQuietly, messageOf, writeAll } from "../../../core/plugin/mod.ts";
import { type Exchange, type HeaderList, headersOf, type Origin } from "./exchange.ts";
import type { ExchangeLog } from "./exchange_log.ts";
import { ExchangeTap } from "./exchange_tap.ts";

/** A replay that is not made, and why. */
export class ReplayRefused extends Error {
  override readonly name = "ReplayRefused";
}

export interface ReplayParts {
  readonly log: ExchangeLog;
  /** Connects to the target that the request went to. */
  readonly dial: (origin: Origin, signal: AbortSignal) => Promise<ByteStream>;
  readonly now: () => number;
  /** How long a target may take for all of its answer. @default 30 seconds */
  readonly timeoutMs?: number | undefined;
}

/** Replays at once: they are made by hand. */
const MAX_RUNNING = 8;
const TIMEOUT_MS = 30_000;
const READ_BYTES = 16 * 1024;

/** What is about one connection, and is said anew for another (RFC 9110 §7.6.1). */
const HOP_BY_HOP = new Set([
  "connection",
  "content-length",
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Sends requests that have been seen to their targets again. What comes of it is an exchange of its own. */
export class Replayer {
  readonly #parts: ReplayParts;
  readonly #running = new Set<AbortController>();
  readonly #ends = new Set<Promise<void>>();

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  /**
   * Begins a replay.
   *
   * @returns The new exchange, and what settles when it is over; that never rejects.
   * @throws {ReplayRefused}
   */
  replay(exchange: Exchange): { readonly exchange: Exchange; readonly ended: Promise<void> } {
    const problem = this.#running.size >= MAX_RUNNING ? "Too many replays at once" : replayProblem(exchange);
    if (problem !== undefined) throw new ReplayRefused(problem);
    const { log, now } = this.#parts;
    const tap = new ExchangeTap({ log, origin: exchange.origin, now, replayOf: exchange.id });
    const bytes = replayBytes(exchange);
    tap.request(bytes);
    const { latest } = tap;
    if (latest === undefined) throw new ReplayRefused("It would be no request any more");
    const ended = this.#run(exchange.origin, tap, bytes);
    this.#ends.add(ended);
    void ended.then(() => this.#ends.delete(ended));
    return { exchange: latest, ended };
  }

  /** Ends what runs, and waits for it. */
  async close(): Promise<void> {
    for (const one of this.#running) one.abort();
    await Promise.all(this.#ends);
  }

  async #run(origin: Origin, tap: ExchangeTap, bytes: Uint8Array): Promise<void> {
    const ending = new AbortController();
    this.#running.add(ending);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      ending.abort();
    }, this.#parts.timeoutMs ?? TIMEOUT_MS);
    try {
      await this.#exchange(origin, tap, bytes, ending.signal);
      tap.end();
    } catch (error) {
      tap.end(isLate ? "It took too long" : ending.signal.aborted ? "Stopped" : messageOf(error));
    } finally {
      clearTimeout(timer);
      this.#running.delete(ending);
    }
  }

  async #exchange(origin: Origin, tap: ExchangeTap, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const stream = await this.#parts.dial(origin, signal);
    const close = () => closeQuietly(stream);
    signal.addEventListener("abort", close);
    try {
      signal.throwIfAborted();
      // Beside the reading: a service may answer, and close, before it has read all.
      const writing = writeAll(stream, bytes).catch(() => {});
      const buffer = new Uint8Array(READ_BYTES);
      while (tap.isOpen) {
        const length = await stream.read(buffer);
        if (length === null) break;
        tap.response(buffer.subarray(0, length));
      }
      close();
      await writing;
    } finally {
      signal.removeEventListener("abort", close);
      close();
    }
  }
}

/** Why an exchange cannot be replayed, or `undefined` when it can. */
export function replayProblem({ request }: Exchange): string | undefined {
  if (request.upgrade !== undefined) return "A change of protocol cannot be replayed";
  if (!request.isComplete) return "The request has not come to its end";
  if (!request.body.isWhole) return "Its body is too long to be kept, so it cannot be sent again";
  return undefined;
}

/** The request once more, for a connection that is closed after it. */
function replayBytes({ request }: Exchange): Uint8Array {
  const { method, target, body } = request;
  const headers = headersOf(request);
  const listed = connectionOptions(headers);
  const kept = headers.filter(([name]) =>
    !HOP_BY_HOP.has(name.toLowerCase()) && !listed.has(name.toLowerCase())
  );
  const hadBody = headers.some(([name]) => /^(?:content-length|transfer-encoding)$/i.test(name));
  const head = [
    `${method} ${target} HTTP/1.1`,
    ...kept.map(([name, value]) => `${name}: ${value}`),
    ...hadBody ? [`Content-Length: ${body.total}`] : [],
    "Connection: close",
    "",
    "",
  ].join("\r\n");
  const bytes = new Uint8Array(head.length + body.bytes.length);
  for (let i = 0; i < head.length; i++) bytes[i] = head.charCodeAt(i); // each character is one byte
  bytes.set(body.bytes, head.length);
  return bytes;
}

function connectionOptions(headers: HeaderList): Set<string> {
  const values = headers.filter(([name]) => name.toLowerCase() === "connection").map(([, value]) => value);
  return new Set(values.flatMap((value) => value.toLowerCase().split(",").map((option) => option.trim())));
}
