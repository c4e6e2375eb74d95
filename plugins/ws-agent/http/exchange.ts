import type { HeadWriter, HttpFault } from "../../../core/http1/mod.ts";
import { writeAll } from "../../../core/plugin/mod.ts";
import type { Failure } from "./failure.ts";
import { statusOf } from "./refusal.ts";
import { Upstream, type UpstreamPool } from "./upstream.ts";

/** RFC 9110 §9.2.2, without what no service is asked twice: doing these again is the same as doing them once. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** A service that is busy says 102 every few seconds, for minutes. One that says it for ever is broken. */
const MAX_INFORMATIONAL = 100;

/** A request as it goes to the service. */
export interface OutgoingRequest {
  readonly method: string;
  /** The head, and as much of the body as lies ready. Stays as it is until the exchange has begun. */
  readonly head: HeadWriter;
  /** What comes behind that; absent: all of the request is in {@link head}. */
  readonly body?: RequestBody | undefined;
  /** The protocols of its Upgrade field, in lower case; absent: it has none. */
  readonly upgrade?: string | undefined;
}

/** The part of a request's body that is still to come. */
export interface RequestBody {
  /**
   * The next bytes as the service is to get them, framing included; valid until the next call. `broken`: the client has
   * left or broken a rule, and there will be no end. Never rejects.
   */
  next(): Promise<Uint8Array | "end" | "broken">;
}

const ABORTED: Failure = { status: 502, word: "aborted" };
const UNREACHABLE: Failure = { status: 502, word: "agent_lost" };
/** Without one byte of an answer: the only end after which something may be sent again. */
const DIED: Failure = { status: 502, word: "service_closed" };

/** What the client is told when there is no stream, and the word for it. */
const WORDS = { 404: "unknown_name", 502: "agent_lost", 503: "over_limit", 504: "agent_timeout" } as const;

/**
 * One request, and the response to it, over a stream of the pool.
 *
 * Begins again, once, on another stream: when nothing of the request has gone out; or when all of it is at hand, doing it
 * twice does no harm, and nothing of a response has come.
 */
export class Exchange {
  readonly #pool: UpstreamPool;
  readonly #request: OutgoingRequest;
  readonly #repeatable: boolean;
  #upstream: Upstream | undefined;
  #aborted = false;
  #stopWaiting: (() => void) | undefined;
  #informational = 0;
  /** Bytes of the request that have gone out. */
  #sent = 0;
  #isSent = false;
  #sending: Promise<void> = Promise.resolve();

  constructor(pool: UpstreamPool, request: OutgoingRequest) {
    this.#pool = pool;
    this.#request = request;
    this.#repeatable = request.body === undefined && IDEMPOTENT.has(request.method);
  }

  /** The stream, once {@link begin} has brought a head. Its `head` is the response's, and its `body` is to be read. */
  get upstream(): Upstream {
    if (this.#upstream === undefined) throw new TypeError("The exchange has not begun");
    return this.#upstream;
  }

  /** Whether all of the request has gone out. */
  get isSent(): boolean {
    return this.#isSent;
  }

  /** Resolves when nothing of the request is read or sent any more. Never rejects. */
  get sending(): Promise<void> {
    return this.#sending;
  }

  /** Sends the request. Resolves to `head` when that of a response has come, which may be a 1xx: see {@link next}. */
  async begin(): Promise<"head" | Failure> {
    for (let again = false;; again = true) {
      let upstream: Upstream;
      try {
        const taken = this.#pool.take(this.#repeatable, again);
        upstream = taken instanceof Upstream ? taken : await this.#waitFor(taken);
      } catch (error) {
        if (this.#aborted) return ABORTED;
        const status = statusOf(error);
        // Whoever it was sent to was there a moment ago: it is gone, and not unknown.
        if (again && status === 404) return UNREACHABLE;
        if (status !== undefined) return { status, word: WORDS[status] };
        if (again) return UNREACHABLE;
        continue;
      }
      this.#upstream = upstream;
      this.#sent = 0;
      this.#sending = this.#send(upstream);
      const outcome = await this.next();
      if (outcome === "head") return outcome;
      const mayRepeat = await this.#giveUp(upstream);
      if (this.#aborted) return ABORTED;
      if (outcome !== DIED || again || !mayRepeat) return outcome;
    }
  }

  #waitFor(opening: Promise<Upstream>): Promise<Upstream> {
    return new Promise((resolve, reject) => {
      this.#stopWaiting = () => reject(new DOMException("The request was given up", "AbortError"));
      opening.then((upstream) => {
        this.#stopWaiting = undefined;
        if (this.#aborted) this.#pool.give(upstream);
        else resolve(upstream);
      }, reject);
    });
  }

  async #send(upstream: Upstream): Promise<void> {
    const { head, body } = this.#request;
    const { stream } = upstream;
    try {
      const bytes = head.bytes();
      while (this.#sent < bytes.length) {
        this.#sent += await stream.write(this.#sent === 0 ? bytes : bytes.subarray(this.#sent));
      }
    } catch (error) {
      // Closed from here in the middle of a write: nobody knows how much of it has gone out.
      if (error instanceof Deno.errors.Interrupted) this.#sent = Math.max(this.#sent, 1);
      return upstream.close(); // a read would wait for ever at one that is only half dead
    }
    if (body === undefined) this.#isSent = true;
    else await this.#sendBody(upstream, body);
  }

  async #sendBody(upstream: Upstream, body: RequestBody): Promise<void> {
    try {
      while (!upstream.closed) {
        const piece = await body.next();
        if (piece === "broken") return upstream.close();
        if (piece === "end") {
          this.#isSent = true;
          return;
        }
        await writeAll(upstream.stream, piece);
      }
    } catch {
      // A service may answer early and take no more: then its answer is still to be read.
    }
  }

  /** The next head of a response, once {@link begin} or this has brought a 1xx. */
  async next(): Promise<"head" | Failure> {
    const { upstream } = this;
    const { bytes, head } = upstream;
    for (;;) {
      if (bytes.available > 0) {
        const parsed = head.parse(bytes.bytes, this.#request.method);
        if (parsed === "done") return this.#accept(upstream);
        if (parsed !== "more") return badResponse(parsed.word);
      }
      try {
        if (!await upstream.fill()) return this.#ended(bytes.available);
      } catch {
        return this.#ended(bytes.available);
      }
    }
  }

  #ended(seen: number): Failure {
    if (this.#aborted) return ABORTED;
    return seen === 0 && this.#informational === 0 ? DIED : badResponse("head-cut-short");
  }

  #accept({ bytes, head }: Upstream): "head" | Failure {
    bytes.consume(head.length);
    if (head.status >= 200) return "head";
    if (head.status === 101) return this.#mayUpgrade(head.upgrade) ? "head" : badResponse("unasked-upgrade");
    this.#informational++;
    return this.#informational > MAX_INFORMATIONAL ? badResponse("too-many-informational") : "head";
  }

  #mayUpgrade(chosen: string | undefined): boolean {
    const { upgrade } = this.#request;
    return chosen !== undefined && upgrade !== undefined && tokens(upgrade).includes(chosen);
  }

  /** @returns Whether all of this may be done again. */
  async #giveUp(upstream: Upstream): Promise<boolean> {
    upstream.close();
    // What was at hand entirely, or has not begun to leave, is through with it at once now. A body may take its time.
    if (this.#repeatable || this.#sent === 0) await this.#sending;
    this.#drop(upstream);
    return this.#repeatable || this.#sent === 0;
  }

  /** Not before nothing is written out of its memory any more. */
  #drop(upstream: Upstream): void {
    if (this.#upstream === upstream) this.#upstream = undefined;
    this.#sending.then(() => this.#pool.drop(upstream));
  }

  /** The client has left, or waited for long enough: whatever is waited for here ends. */
  abort(): void {
    this.#aborted = true;
    this.#upstream?.close();
    this.#stopWaiting?.();
  }

  /**
   * The exchange is over, however it went. Nothing of the response may be looked at any more. The stream waits for the next
   * one if both messages have come to their ends.
   */
  end(): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    const { body, head } = upstream;
    const clean = this.#isSent && !this.#aborted && body.done && head.status >= 200 && head.keepAlive;
    if (clean) {
      this.#upstream = undefined;
      return this.#pool.give(upstream);
    }
    upstream.close();
    this.#drop(upstream);
  }
}

function badResponse(word: HttpFault["word"]): Failure {
  return { status: 502, word: "bad_response", detail: word };
}

function tokens(list: string): string[] {
  return list.split(",").map((token) => token.trim());
}
