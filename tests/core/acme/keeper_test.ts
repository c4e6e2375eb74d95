import assert from "node:assert/strict";
import type { Bundle } from "../../../core/acme/bundle.ts";
import { type CachedCertificate, type Failure, MAX_CERTIFICATES } from "../../../core/acme/cache.ts";
import type { AcmeName, AcmeState, WantedName } from "../../../core/acme/contract.ts";
import { AcmeFault } from "../../../core/acme/fault.ts";
import { Keeper, type KeeperClock } from "../../../core/acme/keeper.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";

const START = Date.UTC(2026, 0, 1);
const MINUTE_MS = 60_000, DAY_MS = 86_400_000;
const LIFE_MS = 90 * DAY_MS;

/** Time that stands still until the test moves it. No jitter. */
class TestClock implements KeeperClock {
  #now = START;
  #timer: { readonly due: number; readonly call: () => void } | undefined;

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = this.#timer = { due: this.#now + ms, call };
    return () => {
      if (this.#timer === timer) this.#timer = undefined;
    };
  }

  random(): number {
    return 0;
  }

  /** Lets time go by, and everything that is due happen. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settled();
      const timer = this.#timer;
      if (timer === undefined || timer.due > end) break;
      this.#timer = undefined;
      this.#now = Math.max(this.#now, timer.due);
      timer.call();
    }
    this.#now = end;
  }
}

/** Every promise that can go on has done so: nothing here waits for more than a few others. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await undefined;
}

type Answer = () => Promise<void>;

/** A keeper with a directory and a cache that do as they are told. */
class Place implements Disposable {
  readonly clock = new TestClock();
  readonly ordered: string[] = [];
  readonly events: LogEvent[] = [];
  readonly removed: string[] = [];
  failures = new Map<string, Failure>();
  cached: CachedCertificate[] = [];
  /** What the directory does with each order. */
  answer: Answer = () => Promise.resolve();
  state: AcmeState | undefined;
  keeper = this.open();

  open(): Keeper {
    return new Keeper({
      clock: this.clock,
      log: createLog("acme", "debug", (event) => this.events.push(event)),
      changed: (state) => this.state = state,
      orderer: {
        order: async ({ name }: WantedName, signal) => {
          this.ordered.push(name);
          await this.answer();
          signal.throwIfAborted();
          return { certPem: `certificate of ${name}`, keyPem: "key" };
        },
      },
      cache: {
        readCertificates: () => Promise.resolve(this.cached),
        readFailures: () => Promise.resolve(new Map(this.failures)),
        writeFailures: (failures) => {
          this.failures = new Map(failures);
          return Promise.resolve();
        },
        removeCertificate: (name) => {
          this.removed.push(name);
          return Promise.resolve();
        },
        writeCertificate: (name: string, bundle: Bundle) => {
          const certificate = certificateOf(name, this.clock.now(), bundle);
          this.cached = [...this.cached.filter((one) => one.name !== name), certificate];
          return Promise.resolve(certificate);
        },
      },
    });
  }

  want(...names: string[]): void {
    this.keeper.want(names.map((name) => ({ name, challenge: "http-01" })));
  }

  row(name: string): AcmeName | undefined {
    return this.keeper.state().names.find((row) => row.name === name);
  }

  [Symbol.dispose](): void {
    this.keeper[Symbol.dispose]();
  }
}

function certificateOf(
  name: string,
  notBefore: number,
  { certPem, keyPem }: Bundle = { certPem: "", keyPem: "" },
): CachedCertificate {
  const notAfter = notBefore + LIFE_MS;
  const material = { names: [name], certPem, keyPem, notAfter, fingerprint: name, source: name };
  return { name, material, notBefore };
}

const unreachable: Answer = () => Promise.reject(new AcmeFault("unreachable", "Cannot ask it"));

Deno.test("a name is ordered once, and again when two thirds of its life are over", async () => {
  using place = new Place();
  await place.keeper.load();
  place.want("a.example.com");
  assert.equal(place.row("a.example.com")?.state, "pending");
  place.want("a.example.com");
  await settled();
  const valid = {
    name: "a.example.com",
    state: "valid",
    notAfter: START + LIFE_MS,
    nextAttempt: START + 60 * DAY_MS,
  };
  assert.deepEqual(place.row("a.example.com"), valid);
  await place.clock.advance(60 * DAY_MS - MINUTE_MS);
  assert.deepEqual(place.ordered, ["a.example.com"]);
  await place.clock.advance(2 * MINUTE_MS);
  assert.deepEqual(place.ordered, ["a.example.com", "a.example.com"]);
  assert.deepEqual(place.keeper.state().orders, {
    issued: 1,
    renewed: 1,
    failed: 0,
    rate_limited: 0,
    unreachable: 0,
  });
});

Deno.test("what the cache has is not asked for", async () => {
  using place = new Place();
  await place.keeper.load();
  place.want("a.example.com");
  await settled();
  using again = new Place();
  again.cached = place.cached;
  assert.deepEqual((await again.keeper.load()).certificates.map(({ names }) => names), [["a.example.com"]]);
  again.want("a.example.com");
  await settled();
  assert.deepEqual(again.ordered, []);
});

Deno.test("a directory that is down is asked again with growing waits, and the certificate stays", async () => {
  using place = new Place();
  await place.keeper.load();
  place.want("a.example.com");
  await settled();
  place.answer = unreachable;
  await place.clock.advance(60 * DAY_MS);
  const failed = place.row("a.example.com");
  assert.equal(failed?.state, "valid");
  assert.equal(failed?.error, "Cannot ask it");
  assert.equal(failed?.nextAttempt, START + 60 * DAY_MS + 2000);
  assert.equal(place.keeper.state().certificates.length, 1);
  await place.clock.advance(60 * MINUTE_MS);
  assert.equal(place.ordered.length, 1 + 14); // after 2, 4, 8, … 512 s, and then every ten minutes
  place.answer = () => Promise.resolve();
  await place.clock.advance(10 * MINUTE_MS);
  assert.equal(place.row("a.example.com")?.error, undefined);
  assert.equal(place.failures.size, 0);
});

Deno.test("a certificate that could not be renewed in time has failed, and is asked for on", async () => {
  using place = new Place();
  await place.keeper.load();
  place.want("a.example.com");
  await settled();
  place.answer = unreachable;
  await place.clock.advance(LIFE_MS);
  assert.equal(place.row("a.example.com")?.state, "failed");
  place.answer = () => Promise.resolve();
  await place.clock.advance(11 * MINUTE_MS);
  assert.equal(place.row("a.example.com")?.state, "valid");
});

Deno.test("one name's failure is no other name's, and outlives a restart", async () => {
  using place = new Place();
  await place.keeper.load();
  place.answer = () => Promise.reject(new AcmeFault("refused", "No"));
  place.want("bad.example.com");
  await settled();
  place.answer = () => Promise.resolve();
  place.want("bad.example.com", "good.example.com");
  await settled();
  assert.equal(place.row("good.example.com")?.state, "valid");
  assert.deepEqual(place.row("bad.example.com"), {
    name: "bad.example.com",
    state: "failed",
    error: "No",
    nextAttempt: START + 5 * MINUTE_MS,
  });
  using again = new Place();
  again.failures = new Map(place.failures);
  again.failures.set("late.example.com", { count: 9, error: "No", nextAttempt: START + DAY_MS });
  again.failures.set("limited.example.com", {
    count: 1,
    error: "No",
    nextAttempt: START + DAY_MS,
    limited: true,
  });
  await again.keeper.load();
  again.want("bad.example.com", "late.example.com", "limited.example.com");
  await settled();
  assert.equal(again.ordered.length, 0);
  await again.clock.advance(5 * MINUTE_MS);
  assert.equal(again.ordered.sort().join(), "bad.example.com,late.example.com");
  await again.clock.advance(DAY_MS);
  assert.equal(again.ordered.filter((name: string) => name === "limited.example.com").length, 1);
});

Deno.test("a directory that is busy gets no order for any name before it said", async () => {
  using place = new Place();
  await place.keeper.load();
  place.answer = () =>
    Promise.reject(new AcmeFault("unreachable", "Busy", { forAll: true, retryAfterMs: 30 * MINUTE_MS }));
  place.want("a.example.com");
  await settled();
  place.answer = () => Promise.resolve();
  place.want("a.example.com", "b.example.com");
  await place.clock.advance(29 * MINUTE_MS);
  assert.deepEqual(place.ordered, ["a.example.com"]);
  assert.deepEqual(place.row("b.example.com"), {
    name: "b.example.com",
    state: "failed", // nobody is to wait for it
    error: "It waits its turn: the directory wants no orders for now",
    nextAttempt: START + 30 * MINUTE_MS,
  });
  await place.clock.advance(2 * MINUTE_MS);
  assert.deepEqual(place.ordered, ["a.example.com", "a.example.com", "b.example.com"]);
});

Deno.test("few orders are under way at once, and few in an hour; nobody is forgotten", async () => {
  using place = new Place();
  await place.keeper.load();
  const gate = Promise.withResolvers<void>();
  place.answer = () => gate.promise;
  const names = Array.from({ length: 100 }, (_, i) => `n${i}.example.com`);
  place.want(...names);
  await settled();
  assert.equal(place.ordered.length, 4);
  gate.resolve();
  await place.clock.advance(1000);
  assert.equal(place.ordered.length, 30);
  const rows = names.map((name) => place.row(name));
  assert.equal(rows.filter((row) => row?.state === "valid" && row.error === undefined).length, 30);
  const queued = rows.filter((row) => row?.state !== "valid");
  assert.ok(queued.every((row) => row?.state === "failed" && row.error?.startsWith("It waits its turn")));
  await place.clock.advance(60 * MINUTE_MS);
  assert.equal(place.ordered.length, 100);
});

Deno.test("a name that nobody holds any more is called off, not renewed, and gone when it expires", async () => {
  using place = new Place();
  await place.keeper.load();
  place.want("a.example.com");
  await settled();
  const gate = Promise.withResolvers<void>();
  place.answer = () => gate.promise;
  place.want("b.example.com");
  await settled();
  place.want();
  gate.resolve();
  await settled();
  assert.deepEqual(place.keeper.state().names.map(({ name }) => name), ["a.example.com"]);
  assert.equal(place.failures.size, 0);
  await place.clock.advance(LIFE_MS + DAY_MS);
  assert.deepEqual(place.ordered, ["a.example.com", "b.example.com"]);
  assert.deepEqual(place.keeper.state().names, []);
  assert.deepEqual(place.state?.certificates, []);
  assert.deepEqual(place.removed, []);
  await place.clock.advance(7 * DAY_MS);
  assert.deepEqual(place.removed, ["a.example.com"]);
});

Deno.test("a renewal waits for those that came before it, and for no other, however many new names come", async () => {
  using place = new Place();
  await place.keeper.load();
  const names = ["old.example.com"];
  place.want(...names);
  await place.clock.advance(60 * DAY_MS - MINUTE_MS);
  for (let i = 0; i < 100; i++) names.push(`before${i}.example.com`);
  for (let minute = 0; minute < 60; minute++) {
    place.want(...names);
    await place.clock.advance(MINUTE_MS);
    for (let i = 0; i < 3; i++) names.push(`behind${minute}-${i}.example.com`);
  }
  assert.equal(place.ordered.filter((name) => name === "old.example.com").length, 2);
  assert.deepEqual(place.ordered.slice(1, 101).filter((name) => !name.startsWith("before")), []);
});

Deno.test("so many certificates are held and no more: of those that nobody wants, the first to expire goes", async () => {
  using place = new Place();
  place.cached = Array.from(
    { length: MAX_CERTIFICATES },
    (_, i) => certificateOf(`n${i}.example.com`, START - i * 1000),
  );
  await place.keeper.load();
  const last = `n${MAX_CERTIFICATES - 1}.example.com`;
  place.want(last, "new.example.com", "other.example.com");
  await settled();
  assert.equal(place.keeper.state().certificates.length, MAX_CERTIFICATES);
  assert.deepEqual(place.removed, [
    `n${MAX_CERTIFICATES - 2}.example.com`,
    `n${MAX_CERTIFICATES - 3}.example.com`,
  ]);
  assert.equal(place.row(last)?.state, "valid");
  assert.equal(place.row("new.example.com")?.state, "valid");
});

Deno.test("what had expired at the start is shown where somebody wants it, and forgotten a week later", async () => {
  using place = new Place();
  place.cached = [
    certificateOf("a.example.com", START - 1000 * DAY_MS),
    certificateOf("b.example.com", START - 900 * DAY_MS),
  ];
  place.answer = unreachable;
  assert.deepEqual((await place.keeper.load()).certificates, []);
  place.want("a.example.com");
  await settled();
  assert.deepEqual(place.state?.certificates.map(({ names }) => names), [["a.example.com"]]);
  assert.equal(place.row("a.example.com")?.state, "failed");
  await place.clock.advance(6 * DAY_MS); // the clock may be wrong
  assert.deepEqual(place.removed, []);
  await place.clock.advance(2 * DAY_MS);
  assert.deepEqual(place.removed, ["b.example.com"]);
});

Deno.test("how long all names wait for a busy directory is no matter of how often one has failed", async () => {
  using place = new Place();
  await place.keeper.load();
  place.answer = () => Promise.reject(new AcmeFault("refused", "No"));
  place.want("a.example.com");
  await place.clock.advance(10 * MINUTE_MS);
  assert.equal(place.ordered.length, 2);
  place.answer = () => Promise.reject(new AcmeFault("limited", "Busy", { forAll: true }));
  await place.clock.advance(5 * MINUTE_MS);
  const now = place.clock.now();
  place.want("a.example.com", "b.example.com");
  assert.equal(place.row("a.example.com")?.nextAttempt, now + 240 * MINUTE_MS);
  assert.equal(place.row("b.example.com")?.nextAttempt, now + 60 * MINUTE_MS);
});

Deno.test("what an error says is told in one bounded line", async () => {
  using place = new Place();
  await place.keeper.load();
  place.answer = () => Promise.reject(new Error(`No\n${"x".repeat(5000)}`));
  place.want("a.example.com");
  await settled();
  const error = place.failures.get("a.example.com")?.error ?? "";
  assert.match(error, /^No x+$/);
  assert.ok(error.length <= 500, `${error.length}`);
});

Deno.test("nothing is ordered behind the end", async () => {
  const place = new Place();
  await place.keeper.load();
  place.keeper[Symbol.dispose]();
  place.want("a.example.com");
  await place.clock.advance(DAY_MS);
  assert.deepEqual(place.ordered, []);
});
