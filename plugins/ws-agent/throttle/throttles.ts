import type { ByteStream } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import type { Sessions } from "../session/sessions.ts";
import type { TunnelSession } from "../session/session.ts";
import { Bandwidth } from "./bandwidth.ts";
import { type StreamThrottle, ThrottledStream } from "./throttled_stream.ts";

/** How often those who wait are looked at, by one timer for all, and only while there are any. */
const TICK_MS = 20;

/** Bytes a second, in place of none: more than any machine moves, and a number to count with. */
const UNLIMITED = 2 ** 50;

export interface ThrottlesTools {
  readonly sessions: Pick<Sessions, "of">;
  readonly clock: Clock;
  /** How many data planes there are: each has an equal part of a limit, so that all together keep it. */
  readonly nodes: number;
}

/** Keeps the streams of each token below its bandwidth. Those of tokens without one are passed on as they are. */
export class Throttles implements Disposable {
  readonly #tools: ThrottlesTools;
  readonly #byPrincipal = new Map<string, StreamThrottle>();
  #stopTicking: (() => void) | undefined;

  constructor(tools: ThrottlesTools) {
    this.#tools = tools;
  }

  /** Whether somebody waits. */
  get ticking(): boolean {
    return this.#stopTicking !== undefined;
  }

  /** Owns the stream. */
  throttle(stream: ByteStream, { grant }: Pick<TunnelSession, "grant">): ByteStream {
    const bandwidth = grant.limits?.bandwidth;
    if (bandwidth === undefined) return stream;
    return new ThrottledStream(stream, this.#of(grant.principal, bandwidth));
  }

  /** Tokens may have changed: what is throttled already goes by what they say now. */
  refresh(): void {
    for (const [principal, throttle] of this.#byPrincipal) {
      const [session] = this.#tools.sessions.of(principal);
      this.#setRate(throttle, session?.grant.limits?.bandwidth ?? UNLIMITED);
    }
    this.#tick(); // nobody waits for a limit that there is no more
  }

  /** A tunnel has ended. */
  ended({ grant: { principal } }: Pick<TunnelSession, "grant">): void {
    const throttle = this.#byPrincipal.get(principal);
    if (throttle === undefined || this.#tools.sessions.of(principal).size > 0) return;
    this.#byPrincipal.delete(principal);
    giveUpAll(throttle);
  }

  /** Everybody who waits has waited in vain. */
  [Symbol.dispose](): void {
    for (const throttle of this.#byPrincipal.values()) giveUpAll(throttle);
    this.#byPrincipal.clear();
    this.#stop();
  }

  #of(principal: string, bandwidth: number): StreamThrottle {
    const known = this.#byPrincipal.get(principal);
    if (known !== undefined) {
      this.#setRate(known, bandwidth); // what says who this is may have changed, as a controller's answer does
      return known;
    }
    const { clock, nodes } = this.#tools;
    const now = clock.monotonic();
    const fresh: StreamThrottle = {
      sending: new Bandwidth(bandwidth / nodes, now),
      receiving: new Bandwidth(bandwidth / nodes, now),
      now: () => clock.monotonic(),
      wait: (bandwidth, payment) => {
        // Nobody would ever let it go on: the last tunnel of the token has ended.
        if (this.#byPrincipal.get(principal) !== fresh) {
          throw new Deno.errors.Interrupted("The tunnel has ended");
        }
        bandwidth.wait(payment);
        this.#stopTicking ??= clock.every(TICK_MS, () => this.#tick());
      },
    };
    this.#byPrincipal.set(principal, fresh);
    return fresh;
  }

  #setRate({ sending, receiving }: StreamThrottle, bandwidth: number): void {
    const now = this.#tools.clock.monotonic();
    for (const one of [sending, receiving]) one.setRate(bandwidth / this.#tools.nodes, now);
  }

  #tick(): void {
    const now = this.#tools.clock.monotonic();
    let waiting = 0;
    for (const { sending, receiving } of this.#byPrincipal.values()) {
      for (const bandwidth of [sending, receiving]) {
        if (bandwidth.waiting > 0) bandwidth.tick(now);
        waiting += bandwidth.waiting;
      }
    }
    if (waiting === 0) this.#stop();
  }

  #stop(): void {
    this.#stopTicking?.();
    this.#stopTicking = undefined;
  }
}

function giveUpAll({ sending, receiving }: StreamThrottle): void {
  sending.giveUpAll();
  receiving.giveUpAll();
}
