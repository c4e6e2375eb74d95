import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import type { AcmeCache, CachedCertificate, Failure } from "./cache.ts";
import type { AcmeName, AcmeState, OrderResult, WantedName } from "./contract.ts";
import type { Orderer } from "./directory.ts";
import { AcmeFault } from "./fault.ts";
import { HourlyBudget, renewalTime, retryDelay } from "./schedule.ts";

/** Orders that are under way at once. */
const MAX_ORDERS = 4;
/** Let's Encrypt takes 300 in three hours. */
const ORDERS_PER_HOUR = 90, ORDERS_AT_ONCE = 30;
/** How long a name that failed waits after a start at most: twelve an hour would be too many, if it started so often. */
const AFTER_RESTART_MS = 300_000;
/** A timer is set for no longer: clocks are put right, and machines sleep. */
const MAX_SLEEP_MS = 600_000;

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
  readonly cache: Pick<AcmeCache, "readCertificates" | "readFailures" | "writeCertificate" | "writeFailures">;
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
  #forgetTimer = () => {};
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? SYSTEM_KEEPER_CLOCK;
  }

  /** Takes what the cache has. */
  async load(): Promise<AcmeState> {
    const { cache, log } = this.#parts;
    for (const certificate of await cache.readCertificates(this.#clock.now())) this.#hold(certificate);
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
    for (const [name, running] of this.#running) if (!this.#wanted.has(name)) running.abort();
    if ([...before.keys()].every((name) => this.#wanted.has(name)) && before.size === this.#wanted.size) {
      return this.#wake(); // the challenge may be another one
    }
    this.#changed();
    this.#wake();
  }

  /** As it is at this moment. Of names that nobody wants any more, only certificates are told. */
  state(): AcmeState {
    const now = this.#clock.now();
    const names = new Set([...this.#wanted.keys(), ...this.#certificates.keys()]);
    return {
      certificates: [...this.#certificates.values()].map(({ material }) => material),
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
    const isPending = isRunning || failure === undefined;
    const waits = this.#wanted.has(name) && !isRunning;
    return {
      name,
      state: isValid ? "valid" : isPending ? "pending" : "failed",
      ...(held && { notAfter: held.material.notAfter }),
      ...(failure && { error: failure.error }),
      ...(waits && { nextAttempt: Math.max(this.#dueAt(name), now) }),
    };
  }

  /** When to order for a name, as far as the name itself goes. */
  #dueAt(name: string): number {
    const { renewAt = 0 } = this.#certificates.get(name) ?? {};
    const { nextAttempt = 0 } = this.#failures.get(name) ?? {};
    return Math.max(renewAt, nextAttempt, this.#pausedUntil);
  }

  #hold(certificate: CachedCertificate): void {
    const { name, material: { notAfter }, notBefore } = certificate;
    const renewAt = renewalTime({ notBefore, notAfter }, this.#clock.random());
    this.#certificates.set(name, { ...certificate, renewAt });
  }

  /** Orders what is due, the earliest first, and sets the timer for what will be. */
  #wake(): void {
    this.#forgetTimer();
    if (this.#stopped) return;
    const now = this.#clock.now();
    let next = now + MAX_SLEEP_MS;
    const waiting = [...this.#wanted.values()].filter(({ name }) => !this.#running.has(name))
      .map((wanted) => ({ wanted, dueAt: this.#dueAt(wanted.name) }))
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

  /** Certificates that nobody wants any more end here: their names are not held. */
  #tick(): void {
    const now = this.#clock.now();
    const over = [...this.#certificates].filter(([name, { material }]) =>
      material.notAfter <= now && !this.#wanted.has(name)
    );
    for (const [name] of over) this.#certificates.delete(name);
    if (over.length > 0) this.#changed();
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
    const fault = error instanceof AcmeFault ? error : new AcmeFault("refused", messageOf(error));
    const count = (this.#failures.get(name)?.count ?? 0) + 1;
    const wait = retryDelay(fault.kind, count, {
      retryAfterMs: fault.retryAfterMs,
      random: this.#clock.random(),
    });
    if (fault.forAll) this.#pausedUntil = Math.max(this.#pausedUntil, now + wait);
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

  /** One after another; those of names that nobody wants are forgotten once they may be tried again. */
  #writeFailures(): void {
    const now = this.#clock.now();
    for (const [name, { nextAttempt }] of this.#failures) {
      if (!this.#wanted.has(name) && nextAttempt <= now) this.#failures.delete(name);
    }
    this.#writing = this.#writing.then(() => this.#parts.cache.writeFailures(this.#failures)).catch(
      (error) => {
        this.#parts.log.error("acme_cache_failed", { reason: messageOf(error) });
      },
    );
  }

  #changed(): void {
    this.#parts.changed(this.state());
  }
}

const RESULTS = { refused: "failed", limited: "rate_limited", unreachable: "unreachable" } as const;
