import assert from "node:assert/strict";
import { RegistryHub } from "../../../core/registry/hub.ts";
import { RegistryReplica } from "../../../core/registry/replica.ts";
import type { Registry, SessionInfo } from "../../../core/registry/registry.ts";
import { until } from "../../support/until.ts";

const GRACE_MS = 60_000;
const KEY = "name:app.example.com";

function session(id: string, more: Partial<SessionInfo> = {}): SessionInfo {
  return {
    id,
    node: "a",
    holder: "token:1/agent",
    epoch: 1,
    slot: 0,
    maxSessions: 100,
    graceMs: GRACE_MS,
    ...more,
  };
}

/** Two nodes with copies of one truth, and who was evicted where. */
function twoNodes(onName?: (name: string) => Promise<void>) {
  const hub = new RegistryHub(onName && { claimed: onName, ended: () => {} });
  const evicted: string[] = [];
  const node = (name: string): Registry => {
    const replica = new RegistryReplica(name, {
      open: (info) => Promise.resolve(hub.open("p", info)),
      claim: (...args) => hub.claim("p", ...args),
      release: (...args) => Promise.resolve(hub.release("p", ...args)),
      close: (...args) => Promise.resolve(hub.close("p", ...args)),
    });
    hub.attach(name, (_plugin, events) => replica.apply(events));
    replica.watch({ evicted: (id, reason) => evicted.push(`${name} ${id} ${reason}`) });
    return replica;
  };
  return { hub, evicted, a: node("a"), b: node("b"), node, [Symbol.dispose]: () => hub[Symbol.dispose]() };
}

function sessionsOf(registry: Registry, key = KEY): string[] | undefined {
  return registry.lookup(key)?.sessions.map(({ id, node }) => `${id}@${node}`);
}

Deno.test("a claim is seen by every node, by key and by holder", async () => {
  using nodes = twoNodes();
  const { a, b } = nodes;
  assert.equal(await a.open(session("s1")), "opened");
  assert.equal(await a.claim("s1", KEY, { service: "app" }), "granted");
  for (const registry of [a, b]) {
    assert.deepEqual(registry.lookup(KEY), {
      key: KEY,
      holder: "token:1/agent",
      epoch: 1,
      value: { service: "app" },
      sessions: [{ id: "s1", node: "a", holder: "token:1/agent" }],
    });
    assert.deepEqual(registry.leasesOf("token:1/agent").map(({ key }) => key), [KEY]);
    assert.deepEqual(registry.leasesOf("token:2/agent"), []);
  }
});

Deno.test("a node that comes later, or anew, learns what is held", async () => {
  using nodes = twoNodes();
  await nodes.a.open(session("s1"));
  await nodes.a.claim("s1", KEY, {});
  assert.deepEqual(sessionsOf(nodes.node("c")), ["s1@a"]);
});

Deno.test("a stranger cannot have what another holds, nor what it held a moment ago", async () => {
  using nodes = twoNodes();
  const { a, b } = nodes;
  await a.open(session("s1"));
  await a.claim("s1", KEY, {});
  await b.open(session("s2", { node: "b", holder: "token:2/agent", epoch: 99 }));
  assert.equal(await b.claim("s2", KEY, {}), "held");
  await a.close("s1", GRACE_MS);
  assert.equal(await b.claim("s2", KEY, {}), "held");
  assert.deepEqual(sessionsOf(b), []);
  assert.equal(a.lookup(KEY)?.holder, "token:1/agent");
});

const takeovers: readonly {
  readonly name: string;
  readonly next: Partial<SessionInfo>;
  readonly opened: string;
  readonly evicted: string[];
}[] = [
  { name: "the same slot again", next: {}, opened: "opened", evicted: ["a s1 replaced"] },
  { name: "another slot of the same run", next: { slot: 1 }, opened: "opened", evicted: [] },
  { name: "a newer run", next: { epoch: 2, slot: 1 }, opened: "opened", evicted: ["a s1 superseded"] },
  { name: "an older run", next: { epoch: 0 }, opened: "superseded", evicted: [] },
  { name: "another holder in that slot", next: { holder: "token:2/agent" }, opened: "opened", evicted: [] },
];

for (const { name, next, opened, evicted } of takeovers) {
  Deno.test(`a session of ${name}, on another node: ${opened}, evicts ${evicted.length}`, async () => {
    using nodes = twoNodes();
    await nodes.a.open(session("s1"));
    await nodes.a.claim("s1", KEY, {});
    assert.equal(await nodes.b.open(session("s2", { node: "b", ...next })), opened);
    assert.deepEqual(nodes.evicted, evicted);
    assert.deepEqual(sessionsOf(nodes.b), evicted.length > 0 ? [] : ["s1@a"]);
  });
}

Deno.test("whoever evicted its own session has its names at once; the evicted one gets nothing any more", async () => {
  using nodes = twoNodes();
  const { a, b } = nodes;
  await a.open(session("s1"));
  await a.claim("s1", KEY, {});
  await b.open(session("s2", { node: "b", epoch: 2 }));
  assert.equal(await b.claim("s2", KEY, {}), "granted");
  assert.equal(await a.claim("s1", KEY, {}), "gone");
  await a.release("s1", KEY);
  await a.close("s1", 0);
  assert.deepEqual(sessionsOf(a), ["s2@b"]);
});

Deno.test("parallel connections serve a name together, until the last of them leaves", async () => {
  using nodes = twoNodes();
  const { a, b } = nodes;
  await a.open(session("s1"));
  await b.open(session("s2", { node: "b", slot: 1 }));
  for (const [registry, id] of [[a, "s1"], [b, "s2"]] as const) await registry.claim(id, KEY, {});
  assert.deepEqual(sessionsOf(a), ["s1@a", "s2@b"]);
  await a.close("s1", GRACE_MS);
  assert.deepEqual(sessionsOf(a), ["s2@b"]);
  await b.close("s2", 0);
  assert.equal(a.lookup(KEY), undefined);
});

Deno.test("a lease ends when its grace is over, and everybody is told", async () => {
  using nodes = twoNodes();
  const { a, b } = nodes;
  await a.open(session("s1"));
  await a.claim("s1", KEY, {});
  const gone = Promise.withResolvers<string>();
  b.watch({ changed: (key, lease) => lease ?? gone.resolve(key) });
  await a.close("s1", 1);
  assert.equal(await gone.promise, KEY);
  await b.open(session("s2", { node: "b", holder: "token:2/agent" }));
  assert.equal(await b.claim("s2", KEY, {}), "granted");
});

Deno.test("a lease that its holder took back outlives its grace", async () => {
  using nodes = twoNodes();
  const { a } = nodes;
  for (const [slot, key] of [KEY, "port:30000"].entries()) {
    await a.open(session(key, { slot }));
    await a.claim(key, key, {});
  }
  await a.close(KEY, 1);
  await a.open(session("back"));
  assert.equal(await a.claim("back", KEY, {}), "granted");
  await a.close("port:30000", 2); // ends later than the grace of the other would have
  await until(() => a.lookup("port:30000") === undefined, { what: "the other lease's end" });
  assert.deepEqual(sessionsOf(a), ["back@a"]);
});

Deno.test("of a node that is lost the names are kept for their holders", async () => {
  using nodes = twoNodes();
  await nodes.a.open(session("s1"));
  await nodes.a.claim("s1", KEY, {});
  nodes.hub.detach("a");
  assert.deepEqual(sessionsOf(nodes.b), []);
  await nodes.b.open(session("s2", { node: "b" }));
  assert.equal(await nodes.b.claim("s2", KEY, {}), "granted");
});

Deno.test("there are never more sessions than may be, and one that is replaced makes room", async () => {
  using nodes = twoNodes();
  const { a } = nodes;
  assert.equal(await a.open(session("s1", { maxSessions: 1 })), "opened");
  assert.equal(await a.open(session("s2", { maxSessions: 1, holder: "token:2/agent" })), "limit");
  assert.equal(await a.open(session("s3", { maxSessions: 1 })), "opened");
});

Deno.test("what is released is free at once", async () => {
  using nodes = twoNodes();
  const { a, b } = nodes;
  await a.open(session("s1"));
  await a.claim("s1", KEY, {});
  await a.release("s1", KEY);
  assert.equal(b.lookup(KEY), undefined);
  assert.deepEqual(a.leasesOf("token:1/agent"), []);
});

Deno.test("a claim of a host name is answered when its certificate was seen to, and no other claim waits", async () => {
  const names: string[] = [];
  using nodes = twoNodes(async (name) => {
    await Promise.resolve();
    names.push(name);
  });
  const { a } = nodes;
  await a.open(session("s1"));
  await a.claim("s1", KEY, {});
  assert.deepEqual(names, ["app.example.com"]);
  await a.claim("s1", "port:30000", {});
  await a.open(session("s2", { holder: "token:2/agent" }));
  await a.claim("s2", KEY, {});
  assert.deepEqual(names, ["app.example.com"]);
});
