import type { Clock } from "../clock.ts";
import { messageOf } from "../../../core/plugin/mod.ts";
import { UpgradeRefused } from "../websocket/response_head.ts";
import { Backoff, type BackoffBounds, pause } from "./backoff.ts";
import type { GatewayLink, LinkEnd } from "./link.ts";
import { endsForGood, lostForGood } from "./refusal.ts";

/** A connection that stood this long was a good one: the next wait is a short one again. */
const STEADY_MS = 10_000;
/** A proof that ends is replaced this long before, or after nine tenths of its time. */
const RENEW_BEFORE_MS = 60_000;

/** What a line has of its agent. */
export interface LineParts {
  readonly index: number;
  readonly reconnect: BackoffBounds;
  readonly clock: Clock;
  readonly random: () => number;
  /** Opens a connection in the slot. */
  open(slot: number, signal: AbortSignal): Promise<GatewayLink>;
  /** A slot that no connection has. */
  freeSlot(): number;
  /** @param before The connection that this one takes the place of; it is the agent's to end. */
  connected(line: Line, link: GatewayLink, before: GatewayLink | undefined): void;
  replacing(index: number, reason: string): void;
  disconnected(index: number, reason: string, wasConnected: boolean, retryMs: number): void;
  lost(reason: string): void;
}

/** Why a connection that stands is left. */
type Leaving = { readonly kind: "ended"; readonly end: LinkEnd } | {
  readonly kind: "replace";
  readonly reason: string;
};

/** Keeps one of the parallel connections to the gateway up. */
export class Line {
  readonly #parts: LineParts;
  readonly #stopped = new AbortController();
  /** The connection that stands. */
  link: GatewayLink | undefined;
  /** The one that stands no longer for anything but the streams that it has, until there is another. */
  retiring: GatewayLink | undefined;
  slot = -1;

  constructor(parts: LineParts) {
    this.#parts = parts;
  }

  /** Keeps it up until it is stopped. Never rejects. Connections that stand then are the caller's to end. */
  async run(): Promise<void> {
    const { index, clock, random, reconnect } = this.#parts;
    const backoff = new Backoff(reconnect, random);
    const { signal } = this.#stopped;
    this.slot = this.#parts.freeSlot();
    while (!signal.aborted) {
      const outcome = await this.#attempt(signal);
      if (signal.aborted) return;
      if (outcome.kind === "lost") return this.#parts.lost(outcome.reason);
      if (outcome.stoodMs >= STEADY_MS) backoff.reset();
      if (outcome.kind === "replace") {
        // At once, but not every agent of the gateway at the same time; a gateway that says so again and again waits.
        const isSteady = outcome.stoodMs >= STEADY_MS;
        await pause(clock, isSteady ? random() * reconnect.minMs : backoff.next(), signal);
        continue;
      }
      const retryMs = backoff.next(outcome.retryAfterMs);
      this.#parts.disconnected(index, outcome.reason, outcome.stoodMs > 0, retryMs);
      await pause(clock, retryMs, signal);
    }
  }

  /** Opens no more connections. */
  stop(): void {
    this.#stopped.abort();
  }

  async #attempt(signal: AbortSignal): Promise<Outcome> {
    const { clock } = this.#parts;
    let link: GatewayLink;
    try {
      link = await this.#parts.open(this.slot, signal);
    } catch (error) {
      return outcomeOf(error);
    }
    if (signal.aborted) {
      link.close("The agent is stopping");
      return { kind: "failed", reason: "", stoodMs: 0 };
    }
    const since = clock.monotonic();
    this.link = link;
    const before = this.retiring;
    this.retiring = undefined;
    this.#parts.connected(this, link, before);
    const left = await this.#leave(link);
    if (signal.aborted) return { kind: "failed", reason: "", stoodMs: 0 };
    this.link = undefined;
    const stoodMs = Math.max(1, clock.monotonic() - since);
    if (left.kind === "replace") {
      this.retiring = link;
      this.slot = this.#parts.freeSlot();
      this.#parts.replacing(this.#parts.index, left.reason);
      return { kind: "replace", stoodMs };
    }
    const { reason, farewell } = left.end;
    if (endsForGood(farewell)) return { kind: "lost", reason };
    return { kind: "failed", reason, stoodMs };
  }

  /** Until the connection ends, or is to be replaced. */
  async #leave(link: GatewayLink): Promise<Leaving> {
    const { clock } = this.#parts;
    const { promise, resolve } = Promise.withResolvers<Leaving>();
    void link.ended.then((end) => resolve({ kind: "ended", end }));
    void link.goneAway.then(() => resolve({ kind: "replace", reason: "The gateway asks to reconnect" }));
    const left = link.expiresAt === undefined ? undefined : link.expiresAt - clock.wall();
    const forget = left === undefined ? () => {} : clock.after(
      Math.max(left - RENEW_BEFORE_MS, left * 0.9),
      () => resolve({ kind: "replace", reason: "Its token is about to expire" }),
    );
    try {
      return await promise;
    } finally {
      forget();
    }
  }
}

type Outcome =
  | { readonly kind: "replace"; readonly stoodMs: number }
  | {
    readonly kind: "failed";
    readonly reason: string;
    readonly stoodMs: number;
    readonly retryAfterMs?: number;
  }
  | { readonly kind: "lost"; readonly reason: string };

function outcomeOf(error: unknown): Outcome {
  const lost = lostForGood(error);
  if (lost !== undefined) return { kind: "lost", reason: lost };
  const retryAfterMs = error instanceof UpgradeRefused ? error.retryAfterMs : undefined;
  return {
    kind: "failed",
    reason: messageOf(error),
    stoodMs: 0,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
}
