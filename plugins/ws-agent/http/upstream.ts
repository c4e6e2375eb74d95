import { coarseNow } from "../../../core/data_plane/streams/coarse_timeouts.ts";
import { BodyReader, ResponseHead } from "../../../core/http1/mod.ts";
import { type ByteStream, closeQuietly } from "../../../core/plugin/mod.ts";
import type { HttpBackend, IdleKeeper } from "./backend.ts";
import { ReadAhead } from "./read_ahead.ts";

/**
 * For how long a stream that was left idle is good for a request that cannot be sent twice. Services close theirs after 5 s
 * or more, and such a request might just meet that.
 */
const TRUSTED_IDLE_MS = 2000;

/** What ends the waits for a stream: one for all, because making an error costs more than what it is for. */
const OVER = new DOMException("The connection is over", "AbortError");

/** One stream to the service, for one exchange after the other. */
export class Upstream extends ReadAhead {
  readonly head = new ResponseHead();
  readonly body: BodyReader = new BodyReader(this.bytes);
  /** {@link coarseNow} of when it was given back. */
  idleSince = 0;

  override release(): void {
    super.release();
    this.head.fields.release();
  }

  /** Sends FIN and waits for the other. Never rejects. */
  async leave(): Promise<void> {
    try {
      await this.stream.closeWrite();
      await this.fill();
    } catch {
      // It has gone by itself, or was closed here.
    }
  }
}

/** The streams that one public connection uses, and those of them that wait. No other connection's requests go over them. */
export class UpstreamPool implements IdleKeeper {
  readonly #backend: HttpBackend;
  readonly #maxIdle: number;
  readonly #used = new Set<Upstream>();
  readonly #idle: Upstream[] = [];
  /** There while some are waited for. */
  #waits: AbortController | undefined;
  #waiting = 0;
  #closed = false;

  /** @param maxIdle How many are kept while nobody uses them. */
  constructor(backend: HttpBackend, maxIdle: number) {
    this.#backend = backend;
    this.#maxIdle = maxIdle;
    backend.keepers?.add(this);
  }

  /**
   * A stream that nobody else uses until it is given back or dropped: an idle one that is still good, else a new one.
   *
   * @param repeatable Whether the request can be sent again, should the stream turn out to be dead.
   * @param again Whether the request's first stream has died: those that are idle may lead to the same place. @default false
   * @throws What {@link HttpBackend.open} throws, and an `AbortError` when the pool is closed meanwhile.
   */
  take(repeatable: boolean, again = false): Upstream | Promise<Upstream> {
    for (let idle; !again && (idle = this.#idle.pop()) !== undefined;) {
      const trusted = repeatable || coarseNow() - idle.idleSince < TRUSTED_IDLE_MS;
      if (trusted && !idle.closed && idle.bytes.available === 0) {
        this.#used.add(idle);
        return idle;
      }
      idle.release();
    }
    return this.#connect(again);
  }

  async #connect(again: boolean): Promise<Upstream> {
    const stream = await this.#open(again);
    if (this.#closed) {
      closeQuietly(stream);
      throw OVER;
    }
    const upstream = new Upstream(stream);
    this.#used.add(upstream);
    return upstream;
  }

  async #open(again: boolean): Promise<ByteStream> {
    this.#waits ??= new AbortController();
    this.#waiting++;
    try {
      return await this.#backend.open(this.#waits.signal, again);
    } finally {
      if (--this.#waiting === 0) this.#waits = undefined; // most connections never wait again
    }
  }

  /** The exchange is over and has left the stream clean. It waits for the next one; whatever comes unasked spoils it. */
  give(upstream: Upstream): void {
    this.#used.delete(upstream);
    if (this.#closed || this.#idle.length >= this.#maxIdle || upstream.bytes.available > 0) {
      return upstream.release();
    }
    upstream.idleSince = coarseNow();
    upstream.head.fields.release();
    this.#idle.push(upstream);
    upstream.ahead(() => this.#spoilt(upstream));
  }

  #spoilt(upstream: Upstream): void {
    const at = this.#idle.indexOf(upstream);
    if (at >= 0) this.#idle.splice(at, 1);
    if (at >= 0) upstream.release();
    else upstream.close(); // taken a moment ago
  }

  /** The exchange has left the stream in a state that nobody knows. Nothing of it is being read or written any more. */
  drop(upstream: Upstream): void {
    this.#used.delete(upstream);
    upstream.release();
  }

  /**
   * The streams that nobody uses are not needed any more: the service is told so by FIN, and by its own it lets them go. Resolves when they
   * are all closed, which {@link close} hastens. A stream that is closed with its service still there has to be reset: that is an error at
   * both of its ends, and costs more than opening it did.
   */
  async leave(): Promise<void> {
    for (const upstream of this.#idle.splice(0)) {
      this.#used.add(upstream);
      await upstream.leave();
      this.drop(upstream);
    }
  }

  /** Closes all streams and ends all waits for one. Those in use are still to be dropped. */
  close(): void {
    this.#closed = true;
    this.#backend.keepers?.delete(this);
    this.#waits?.abort(OVER);
    for (const upstream of this.#used) upstream.close();
    for (const upstream of this.#idle.splice(0)) upstream.release();
  }
}
