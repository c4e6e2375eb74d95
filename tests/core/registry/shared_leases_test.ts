import assert from "node:assert/strict";
import { LocalRegistry } from "../../../core/registry/local.ts";
import { RegistryReplica } from "../../../core/registry/replica.ts";
import type { ClaimOptions, ClaimResult, Lease, SessionInfo } from "../../../core/registry/registry.ts";
import { until } from "../../support/until.ts";

const KEY = "name:app.example.com";
const SHARED: ClaimOptions = { share: "token:1 http app" };
const GRACE_MS = 60_000;

function session(id: string, agent: string, more: Partial<SessionInfo> = {}): SessionInfo {
  return {
    id,
    node: "a",
    holder: `token:1/${agent}`,
    party: "token:1",
    epoch: 1,
    slot: 0,
    maxSessions: 100,
    graceMs: GRACE_MS,
    ...more,
  };
}

function served(lease: Lease | undefined): string {
  return lease === undefined ? "nobody" : lease.sessions.map(({ id }) => id).join(" ") || lease.holder;
}

const claims: readonly {
  readonly name: string;
  readonly first: ClaimOptions;
  readonly second: ClaimOptions;
  readonly result: ClaimResult;
}[] = [
  { name: "both share", first: SHARED, second: SHARED, result: "granted" },
  { name: "the second does not share", first: SHARED, second: {}, result: "held" },
  { name: "the first does not share", first: {}, second: SHARED, result: "held" },
  { name: "neither shares", first: {}, second: {}, result: "held" },
  { name: "each shares something else", first: SHARED, second: { share: "token:1 tls app" }, result: "held" },
];

for (const { name, first, second, result } of claims) {
  Deno.test(`another agent's claim of a name, when ${name}: ${result}`, () => {
    using registry = new LocalRegistry();
    for (const agent of ["x", "y"]) registry.open(session(agent, agent));
    assert.equal(registry.claim("x", KEY, {}, first), "granted");
    assert.equal(registry.claim("y", KEY, {}, second), result);
    assert.equal(served(registry.lookup(KEY)), result === "granted" ? "x y" : "x");
    assert.equal(registry.lookup(KEY)?.share, first.share);
    assert.equal(registry.leasesOf("token:1/y").length, result === "granted" ? 1 : 0);
  });
}

Deno.test("the last one of several that leaves is who a shared lease is kept for, and the others may come back to it", async () => {
  using registry = new LocalRegistry();
  for (const agent of ["x", "y"]) {
    registry.open(session(agent, agent));
    registry.claim(agent, KEY, {}, SHARED);
  }
  registry.close("y", GRACE_MS);
  assert.equal(served(registry.lookup(KEY)), "x");
  assert.equal(registry.leasesOf("token:1/y").length, 0);
  registry.close("x", GRACE_MS);
  assert.equal(served(registry.lookup(KEY)), "token:1/x");
  assert.equal(registry.leasesOf("token:1/x").length, 1);
  registry.open(session("stranger", "s", { holder: "token:2/s", party: "token:2" }));
  assert.equal(registry.claim("stranger", KEY, {}), "held");
  registry.open(session("y2", "y"));
  assert.equal(registry.claim("y2", KEY, {}, SHARED), "granted");
  assert.equal(registry.leasesOf("token:1/x").length, 0);
  registry.close("y2", 1);
  await until(() => registry.lookup(KEY) === undefined, { what: "the end of the grace" });
});

Deno.test("an agent that shares a name with nobody may have it for itself with its next claim", () => {
  using registry = new LocalRegistry();
  registry.open(session("x", "x"));
  registry.claim("x", KEY, {}, SHARED);
  assert.equal(registry.claim("x", KEY, {}), "granted");
  registry.open(session("y", "y"));
  assert.equal(registry.claim("y", KEY, {}, SHARED), "held");
});

Deno.test("a newer run of one agent ends its older one, and leaves those that share with it alone", () => {
  using registry = new LocalRegistry();
  const evicted: string[] = [];
  registry.listen((event) => event.kind === "evicted" && evicted.push(event.session));
  for (const [id, agent] of [["x", "x"], ["y", "y"]] as const) {
    registry.open(session(id, agent));
    registry.claim(id, KEY, {}, SHARED);
  }
  assert.equal(registry.open(session("x2", "x", { epoch: 7 })), "opened");
  assert.deepEqual(evicted, ["x"]);
  assert.equal(served(registry.lookup(KEY)), "y");
  registry.claim("x2", KEY, {}, SHARED);
  assert.equal(served(registry.lookup(KEY)), "y x2");
  assert.equal(registry.open(session("y2", "y", { epoch: 0 })), "superseded");
});

Deno.test("a party has no more sessions than it may, over all its agents; one that is replaced makes room", () => {
  using registry = new LocalRegistry();
  const limit = { maxSessionsOfParty: 2 };
  assert.equal(registry.open(session("x", "x", limit)), "opened");
  assert.equal(registry.open(session("y", "y", { ...limit, node: "b" })), "opened");
  assert.equal(registry.open(session("z", "z", limit)), "party_limit");
  assert.equal(registry.open(session("x2", "x", limit)), "opened");
  assert.equal(registry.open(session("s", "s", { holder: "token:2/s", party: "token:2" })), "opened");
  registry.close("y", GRACE_MS);
  assert.equal(registry.open(session("z", "z", limit)), "opened");
});

Deno.test("a party has no more keys than it may; a second session at one costs none, a lease that is kept does", async () => {
  using registry = new LocalRegistry();
  const options = { ...SHARED, maxKeysOfParty: 1 };
  for (const agent of ["x", "y"]) registry.open(session(agent, agent));
  assert.equal(registry.claim("x", KEY, {}, options), "granted");
  assert.equal(registry.claim("y", KEY, {}, options), "granted");
  assert.equal(registry.claim("y", "port:1", {}, options), "limit");
  registry.close("x", GRACE_MS);
  registry.release("y", KEY);
  assert.equal(registry.claim("y", "port:1", {}, options), "granted");
  registry.close("y", 1);
  registry.open(session("z", "z"));
  assert.equal(registry.claim("z", KEY, {}, options), "limit");
  await until(() => registry.lookup("port:1") === undefined, { what: "the end of the grace" });
  assert.equal(registry.claim("z", KEY, {}, options), "granted");
});

/** Who holds what, told the plainest way: every session's claims, and for whom a key is kept. */
class Model {
  readonly sessions = new Map<
    string,
    { readonly info: SessionInfo; readonly keys: Map<string, string | undefined> }
  >();
  readonly kept = new Map<string, { readonly holder: string; readonly share: string | undefined }>();

  holdersOf(key: string): SessionInfo[] {
    return [...this.sessions.values()].filter(({ keys }) => keys.has(key)).map(({ info }) => info);
  }

  shareOf(key: string): string | undefined {
    for (const { keys } of this.sessions.values()) if (keys.has(key)) return keys.get(key);
    return this.kept.get(key)?.share;
  }

  open(info: SessionInfo): string {
    const others = [...this.sessions.values()].filter((one) => one.info.holder === info.holder);
    if (others.some((one) => one.info.epoch > info.epoch)) return "superseded";
    for (const { info: other } of others) {
      if (other.epoch < info.epoch || other.slot === info.slot) this.close(other.id, true);
    }
    this.sessions.set(info.id, { info, keys: new Map() });
    return "opened";
  }

  claim(id: string, key: string, share: string | undefined): ClaimResult {
    const session = this.sessions.get(id);
    if (session === undefined) return "gone";
    const serving = this.holdersOf(key);
    const kept = this.kept.get(key);
    const holders = serving.length > 0 ? serving.map(({ holder }) => holder) : kept ? [kept.holder] : [];
    const isFree = holders.every((holder) => holder === session.info.holder);
    if (!isFree && (share === undefined || share !== this.shareOf(key))) return "held";
    this.kept.delete(key);
    session.keys.set(key, share);
    for (const { keys } of this.sessions.values()) if (keys.has(key)) keys.set(key, share);
    return "granted";
  }

  release(id: string, key: string): void {
    this.sessions.get(id)?.keys.delete(key);
  }

  close(id: string, keeps: boolean): void {
    const session = this.sessions.get(id);
    if (session === undefined) return;
    this.sessions.delete(id);
    for (const [key, share] of session.keys) {
      if (keeps && this.holdersOf(key).length === 0) {
        this.kept.set(key, { holder: session.info.holder, share });
      }
    }
  }
}

/** Numbers from 0 to `below`, the same for the same seed (a linear congruential generator). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

Deno.test("whatever agents do in whatever order, leases are as a simple model says", () => {
  for (let seed = 1; seed <= 40; seed++) {
    using registry = new LocalRegistry();
    const replica = new RegistryReplica("b", {
      open: () => assert.fail("not asked"),
      claim: () => assert.fail("not asked"),
      release: () => assert.fail("not asked"),
      close: () => assert.fail("not asked"),
    });
    registry.listen((event) => replica.apply([event]));
    const model = new Model();
    const below = randomOf(seed);
    const keys = ["name:a", "name:b", "port:1"] as const;
    const shares = [undefined, "s", "s", "t"] as const;
    for (let step = 0; step < 300; step++) {
      const id = `s${below(step + 1)}`;
      const key = keys[below(keys.length)] ?? "name:a";
      switch (below(5)) {
        case 0: {
          const info = session(`s${step}`, "xyz"[below(3)] ?? "x", { epoch: below(3), slot: below(2) });
          assert.equal(registry.open(info), model.open(info), `step ${step}`);
          break;
        }
        case 1:
        case 2: {
          const share = shares[below(shares.length)];
          const live = [...model.sessions.keys()];
          const claimer = live[below(live.length)] ?? id;
          assert.equal(
            registry.claim(claimer, key, {}, { share }),
            model.claim(claimer, key, share),
            `step ${step}`,
          );
          break;
        }
        case 3:
          registry.release(id, key);
          model.release(id, key);
          break;
        case 4: {
          const keeps = below(2) === 0;
          registry.close(id, keeps ? GRACE_MS : 0);
          model.close(id, keeps);
        }
      }
      for (const one of keys) check(registry, replica, model, one, `seed ${seed}, step ${step}, ${one}`);
    }
  }
});

function check(
  registry: LocalRegistry,
  replica: RegistryReplica,
  model: Model,
  key: string,
  at: string,
): void {
  const lease = registry.lookup(key);
  const serving = model.holdersOf(key);
  const kept = model.kept.get(key);
  assert.equal(lease !== undefined, serving.length > 0 || kept !== undefined, at);
  assert.deepEqual(replica.lookup(key), lease, at);
  if (lease === undefined) return;
  assert.deepEqual(lease.sessions.map(({ id }) => id).toSorted(), serving.map(({ id }) => id).toSorted(), at);
  assert.equal(lease.share, model.shareOf(key), at);
  const holders = new Set(serving.length > 0 ? serving.map(({ holder }) => holder) : [kept?.holder]);
  assert.ok(holders.has(lease.holder), at);
  for (const agent of ["x", "y", "z"]) {
    const holder = `token:1/${agent}`;
    for (const view of [registry, replica]) {
      assert.equal(
        view.leasesOf(holder).some((one) => one.key === key),
        holders.has(holder),
        `${at}: ${holder}`,
      );
    }
  }
}
