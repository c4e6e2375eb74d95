import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { type AcmeCache, type CachedCertificate, type Failure, MAX_CERTIFICATES } from "./cache.ts";
import type { AcmeName, AcmeState, OrderResult, WantedName } from "./contract.ts";
import type { Orderer } from "./directory.ts";
import { AcmeFault } from "./fault.ts";
import { plainText } from "./http.ts";
import { HourlyBudget, renewalTime, retryDelay } from "./schedule.ts";

/** Orders that are under way at once. */
const MAX_ORDERS = 4;
/** Let's Encrypt takes 300 in three hours. */
const ORDERS_PER_HOUR = 90, ORDERS_AT_ONCE = 30;
/** How long a name that failed waits after a start at most: twelve an hour would be too many, if it started so often. */
const AFTER_RESTART_MS = 300_000;
/** A timer is set for no longer: clocks are put right, and machines sleep. */
const MAX_SLEEP_MS = 600_000;
/** A name whose order begins later than that has no clients waiting: they would wait for nothing. */
const SOON_MS = 15_000;
/**
 * For how long a certificate that nobody wants is kept behind its end, and behind a start at least: a clock that is wrong
 * when the gateway starts must not cost all of them.
 */
const KEEP_EXPIRED_MS = 7 * 86_400_000;

/** The time, and what is done when some of it has gone by. */
export interface KeeperClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls once after `ms`. @returns Forgets it. */
  after(ms: number, call: () => void): () => void;
  /** From 0 to 1. */
  random(): number;
}

export const SYSTEM_KEEPER_CLOCK: KeeperClock = {
  now: () => Date.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

export interface KeeperParts {
  readonly cache: Pick<
    AcmeCache,
    "readCertificates" | "readFailures" | "writeCertificate" | "removeCertificate" | "writeFailures"
  >;
  readonly orderer: Orderer;
  readonly log: Log;
  readonly clock?: KeeperClock;
  /** Called after every change of {@link Keeper.state}. */
  readonly changed: (state: AcmeState) => void;
}

interface Held extends CachedCertificate {
  readonly renewAt: number;
}

/** Has a certificate for every name that is wanted, and renews it in time. */
export class Keeper implements Disposable {
  readonly #parts: KeeperParts;
  readonly #clock: KeeperClock;
  readonly #certificates = new Map<string, Held>();
  #failures = new Map<string, Failure>();
  #wanted = new Map<string, WantedName>();
  /** Since when each of them is wanted: the first to come is the first to be asked for. */
  #since = new Map<string, number>();
  /** Names whose orders are under way. */
  readonly #running = new Map<string, AbortController>();
  readonly #orders: Record<OrderResult, number> = {
    issued: 0,
    renewed: 0,
    failed: 0,
    rate_limited: 0,
    unreachable: 0,
  };
  readonly #budget = new HourlyBudget(ORDERS_PER_HOUR, ORDERS_AT_ONCE);
  /** The directory wants no order before. */
  #pausedUntil = 0;
  readonly #startedAt: number;
  #forgetTimer = () => {};
  /** How many certificates were told of: one that has expired may be told of no more. */
  #shown = 0;
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? SYSTEM_KEEPER_CLOCK;
    this.#startedAt = this.#clock.now();
  }

  /** Takes what the cache has. */
  async load(): Promise<AcmeState> {
    const { cache, log } = this.#parts;
    for (const certificate of await cache.readCertificates()) this.#hold(certificate);
    this.#failures = new Map(
      [...await cache.readFailures()].map(([name, failure]) => [name, this.#sooner(failure)]),
    );
    log.info("acme_cache_loaded", { certificates: this.#certificates.size, failures: this.#failures.size });
    return this.state();
  }

  /** All names that there are to be certificates for, from now on. */
  want(names: readonly WantedName[]): void {
    const before = this.#wanted;
    this.#wanted = new Map(names.map((wanted) => [wanted.name, wanted]));
    const now = this.#clock.now();
    this.#since = new Map(names.map(({ name }) => [name, this.#since.get(name) ?? now]));
    for (const [name, running] of this.#running) if (!this.#wanted.has(name)) running.abort();
    if ([...before.keys()].every((name) => this.#wanted.has(name)) && before.size === this.#wanted.size) {
      return this.#wake(); // the challenge may be another one
    }
    this.#changed();
    this.#wake();
  }

  /** As it is at this moment. Of names that nobody wants any more, only certificates that have not expired are told. */
  state(): AcmeState {
    const now = this.#clock.now();
    const shown = [...this.#certificates.values()].filter(({ name, material }) =>
      material.notAfter > now || this.#wanted.has(name)
    );
    const names = new Set([...this.#wanted.keys(), ...shown.map(({ name }) => name)]);
    return {
      certificates: shown.map(({ material }) => material),
      names: [...names].map((name) => this.#describe(name, now)),
      orders: { ...this.#orders },
    };
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#forgetTimer();
    for (const running of this.#running.values()) running.abort();
  }

  /** Whoever starts the gateway anew has put something right, perhaps. One that starts again and again asks no more often. */
  #sooner(failure: Failure): Failure {
    if (failure.limited) return failure;
    return { ...failure, nextAttempt: Math.min(failure.nextAttempt, this.#clock.now() + AFTER_RESTART_MS) };
  }

  #describe(name: string, now: number): AcmeName {
    const held = this.#certificates.get(name);
    const failure = this.#failures.get(name);
    const isRunning = this.#running.has(name);
    const isValid = held !== undefined && held.material.notAfter > now;
    const reason = failure?.error ?? (isRunning || isValid ? undefined : this.#whyLater(now));
    const isPending = isRunning || reason === undefined;
    const waits = this.#wanted.has(name) && !isRunning;
    return {
      name,
      state: isValid ? "valid" : isPending ? "pending" : "failed",
      ...(held && { notAfter: held.material.notAfter }),
      ...(reason !== undefined && { error: reason }),
      ...(waits && { nextAttempt: Math.max(this.#dueAt(name, now), now) }),
    };
  }

  /** Why no order begins soon, whatever the name; `undefined`: one may. */
  #whyLater(now: number): string | undefined {
    if (this.#pausedUntil > now + SOON_MS) return "It waits its turn: the directory wants no orders for now";
    if (this.#budget.nextAt > now + SOON_MS) return "It waits its turn: there are many names to ask for";
    return undefined;
  }

  /** When to order for a name, as far as the name itself goes. */
  #dueAt(name: string, now: number): number {
    const since = Math.min(this.#since.get(name) ?? 0, now); // the clock may have been set back
    const { renewAt = since } = this.#certificates.get(name) ?? {};
    const { nextAttempt = 0 } = this.#failures.get(name) ?? {};
    return Math.max(renewAt, nextAttempt, this.#pausedUntil);
  }

  #hold(certificate: CachedCertificate): void {
    const { name, material: { notAfter }, notBefore } = certificate;
    const renewAt = renewalTime({ notBefore, notAfter }, this.#clock.random());
    this.#certificates.set(name, { ...certificate, renewAt });
    if (this.#certificates.size <= MAX_CERTIFICATES) return;
    const [first] = this.#unwanted().sort((a, b) => a.material.notAfter - b.material.notAfter);
    if (first !== undefined) this.#forget(first.name);
  }

  #unwanted(): Held[] {
    return [...this.#certificates.values()].filter(({ name }) =>
      !this.#wanted.has(name) && !this.#running.has(name)
    );
  }

  /** In memory now, and on the disk behind what is being written. */
  #forget(name: string): void {
    this.#certificates.delete(name);
    this.#write(() => this.#parts.cache.removeCertificate(name));
  }

  /** Orders what is due, the earliest first, and sets the timer for what will be. */
  #wake(): void {
    this.#forgetTimer();
    if (this.#stopped) return;
    const now = this.#clock.now();
    let next = now + MAX_SLEEP_MS;
    const waiting = [...this.#wanted.values()].filter(({ name }) => !this.#running.has(name))
      .map((wanted) => ({ wanted, dueAt: this.#dueAt(wanted.name, now) }))
      .sort((a, b) => a.dueAt - b.dueAt);
    for (const { wanted, dueAt } of waiting) {
      if (dueAt > now) {
        next = Math.min(next, dueAt);
        break;
      }
      if (this.#running.size >= MAX_ORDERS) break; // the next one that ends wakes us
      if (!this.#budget.take(now)) {
        next = Math.min(next, this.#budget.nextAt);
        break;
      }
      void this.#order(wanted);
    }
    this.#forgetTimer = this.#clock.after(Math.max(1, next - now), () => this.#tick());
  }

  /** Certificates that nobody wants any more end here, some days behind their own end. */
  #tick(): void {
    const now = this.#clock.now();
    for (const { name, material } of this.#unwanted()) {
      if (Math.max(material.notAfter, this.#startedAt) + KEEP_EXPIRED_MS <= now) this.#forget(name);
    }
    const shown = this.state().certificates.length;
    if (shown !== this.#shown) this.#changed();
    this.#wake();
  }

  /** Never rejects. */
  async #order(wanted: WantedName): Promise<void> {
    const { name, challenge } = wanted;
    const { orderer, cache, log } = this.#parts;
    const ended = new AbortController();
    const renews = this.#certificates.has(name);
    const before = this.#clock.now();
    this.#running.set(name, ended);
    this.#changed();
    log.info("acme_order", { name, challenge, renews });
    try {
      const bundle = await orderer.order(wanted, ended.signal);
      await this.#writing; // one that was forgotten is gone from the disk before it comes anew
      const certificate = await cache.writeCertificate(name, bundle);
      if (this.#stopped) return;
      this.#hold(certificate);
      this.#orders[renews ? "renewed" : "issued"]++;
      if (this.#failures.delete(name)) this.#writeFailures();
      const expires = new Date(certificate.material.notAfter).toISOString();
      log.info("acme_certificate", { name, renews, expires, ms: Math.round(this.#clock.now() - before) });
    } catch (error) {
      if (!ended.signal.aborted && !this.#stopped) this.#failed(name, error);
    } finally {
      this.#running.delete(name);
      if (!this.#stopped) {
        this.#changed();
        this.#wake();
      }
    }
  }

  #failed(name: string, error: unknown): void {
    const now = this.#clock.now();
    const fault = error instanceof AcmeFault ? error : new AcmeFault("refused", plainText(messageOf(error)));
    const count = (this.#failures.get(name)?.count ?? 0) + 1;
    const wait = retryDelay(fault.kind, count, {
      retryAfterMs: fault.retryAfterMs,
      random: this.#clock.random(),
    });
    if (fault.forAll) {
      // How often this name has failed is nothing to the others.
      const pause = retryDelay(fault.kind, 1, {
        retryAfterMs: fault.retryAfterMs,
        random: this.#clock.random(),
      });
      this.#pausedUntil = Math.max(this.#pausedUntil, now + pause);
    }
    const failure: Failure = {
      count,
      error: fault.message,
      nextAttempt: now + wait,
      ...(fault.kind === "limited" && { limited: true }),
    };
    this.#failures.set(name, failure);
    this.#writeFailures();
    this.#orders[RESULTS[fault.kind]]++;
    const expires = this.#certificates.get(name)?.material.notAfter;
    this.#parts.log.error("acme_order_failed", {
      name,
      reason: fault.message,
      failures: count,
      nextAttempt: new Date(failure.nextAttempt).toISOString(),
      expires: expires === undefined ? undefined : new Date(expires).toISOString(),
    });
  }

  /** Those of names that nobody wants are forgotten once they may be tried again. */
  #writeFailures(): void {
    const now = this.#clock.now();
    for (const [name, { nextAttempt }] of this.#failures) {
      if (!this.#wanted.has(name) && nextAttempt <= now) this.#failures.delete(name);
    }
    this.#write(() => this.#parts.cache.writeFailures(this.#failures));
  }

  /** One after another. */
  #write(write: () => Promise<void>): void {
    this.#writing = this.#writing.then(write).catch((error) => {
      this.#parts.log.error("acme_cache_failed", { reason: messageOf(error) });
    });
  }

  #changed(): void {
    const state = this.state();
    this.#shown = state.certificates.length;
    this.#parts.changed(state);
  }
}

const RESULTS = { refused: "failed", limited: "rate_limited", unreachable: "unreachable" } as const;
