import assert from "node:assert/strict";
import { checkValue } from "../../../core/config/issues.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import type { ConnectionInfo, Decision } from "../../../core/plugin/contract.ts";
import definition from "../../../plugins/static/mod.ts";
import { type StaticConfig, staticConfig } from "../../../plugins/static/config.ts";
import { StaticPlugin } from "../../../plugins/static/plugin.ts";
import { pluginContext } from "../../support/plugin_context.ts";
import { until } from "../../support/until.ts";
import { clientHello, connection, tlsConnection } from "../connection.ts";
import { FakeTools, settle } from "./fake_tools.ts";

function parse(...routes: unknown[]): StaticConfig {
  const checked = checkValue(staticConfig, { routes });
  if (!checked.ok) assert.fail(JSON.stringify(checked.issues));
  return checked.value;
}

function start(tools: FakeTools, ...routes: unknown[]) {
  const events: LogEvent[] = [];
  const log = createLog("plugin:static", "info", (event) => events.push(event));
  return { plugin: new StaticPlugin(parse(...routes), log, tools), events };
}

function firstTarget(decision: Decision | undefined): string | undefined {
  const forward = decision?.kind === "terminate" ? decision.then : decision;
  if (forward?.kind !== "forward") return undefined;
  return typeof forward.to === "string" ? forward.to : forward.to[0];
}

/** Open connections of each target, as the metrics tell them. */
function counts(plugin: StaticPlugin): Record<string, number> {
  const samples = plugin.metrics().filter((sample) => sample.name === "static_target_connections");
  return Object.fromEntries(samples.map(({ labels, value }) => [labels.target, value]));
}

function closed(plugin: StaticPlugin, { id }: ConnectionInfo): void {
  plugin.closed({ connection: id, bytesIn: 0, bytesOut: 0, ms: 1, result: "ok" });
}

const POOL = { sni: "a.example", to: ["a:1", "b:1", "c:1"] };
const CHECK = { interval: "1s", timeout: "1s", unhealthyAfter: 1, healthyAfter: 1 };

const decisions: { name: string; route: unknown; asked: ConnectionInfo; decision: Decision }[] = [
  {
    name: "forward to one target",
    route: { sni: "a.example", to: "a:1" },
    asked: tlsConnection("a.example"),
    decision: { kind: "forward", to: "a:1", proxyProtocol: "off" },
  },
  {
    name: "forward with a PROXY header to several",
    route: { protocol: "ssh", to: ["a:22", "b:22"], proxyProtocol: "v2" },
    asked: connection({ protocol: "ssh" }),
    decision: { kind: "forward", to: ["a:22", "b:22"], proxyProtocol: "v2" },
  },
  {
    name: "terminate, with what happens behind the handshake",
    route: { sni: "a.example", terminate: true, alpn: ["h2", "http/1.1"], to: "a:80", proxyProtocol: "pass" },
    asked: tlsConnection("a.example"),
    decision: {
      kind: "terminate",
      alpn: ["h2", "http/1.1"],
      then: { kind: "forward", to: "a:80", proxyProtocol: "pass" },
    },
  },
  {
    name: "terminate without ALPN",
    route: { sni: "a.example", terminate: true, to: "a:80" },
    asked: tlsConnection("a.example"),
    decision: { kind: "terminate", then: { kind: "forward", to: "a:80", proxyProtocol: "off" } },
  },
  {
    name: "terminate PostgreSQL with the ALPN that direct clients insist on",
    route: { sni: "a.example", protocol: "postgres", terminate: true, to: "a:5432" },
    asked: connection({ protocol: "postgres", tls: clientHello("a.example") }),
    decision: {
      kind: "terminate",
      alpn: ["postgresql"],
      then: { kind: "forward", to: "a:5432", proxyProtocol: "off" },
    },
  },
];
for (const { name, route, asked, decision } of decisions) {
  Deno.test(`decides: ${name}`, async () => {
    await using plugin = start(new FakeTools(), route).plugin;
    const first = plugin.route(asked);
    assert.deepEqual(first, decision);
    assert.ok(Object.isFrozen(first));
    assert.deepEqual(definition.explain?.(parse(route), asked).decision, decision);
  });
}

Deno.test("explain says why each route fits or not", () => {
  const config = parse(
    { sni: "*.example", to: "a:1" },
    { sni: "a.example", protocol: "postgres", to: ["b:1", "c:1"] },
    { protocol: "ssh", to: "d:1" },
  );
  const taken = connection({ protocol: "postgres", tls: clientHello("a.example") });
  assert.deepEqual(definition.explain?.(config, taken).steps, [
    'The client speaks postgres with TLS and asks for "a.example"',
    "routes[0] (*.example) fits too, but is less specific",
    "routes[1] (a.example with protocol postgres) takes it",
    "It goes to one of b:1, c:1 (round-robin); the others are tried when it can't be reached",
  ]);
  const left = definition.explain?.(config, connection({ protocol: "http" }));
  assert.deepEqual(left, {
    steps: [
      "The client speaks http and has no server name to ask for",
      "routes[0] (*.example) does not fit: it needs a server name",
      "routes[1] (a.example with protocol postgres) does not fit: it needs a server name",
      "routes[2] (protocol ssh) does not fit: another protocol",
      "No route takes it: the next plugin is asked",
    ],
  });
});

Deno.test("counts a connection at the target that was decided on, until it is closed", async () => {
  await using plugin = start(new FakeTools(), POOL).plugin;
  const asked = tlsConnection("a.example");
  assert.equal(firstTarget(plugin.route(asked)), "a:1");
  assert.deepEqual(counts(plugin), { "a:1": 1, "b:1": 0, "c:1": 0 });
  plugin.dialed({ connection: asked.id, target: "a:1", ms: 1 });
  assert.deepEqual(counts(plugin), { "a:1": 1, "b:1": 0, "c:1": 0 });
  closed(plugin, asked);
  closed(plugin, asked);
  assert.deepEqual(counts(plugin), { "a:1": 0, "b:1": 0, "c:1": 0 });
});

Deno.test("moves the count to the target that was reached", async () => {
  await using plugin = start(new FakeTools(), POOL).plugin;
  const asked = tlsConnection("a.example");
  plugin.route(asked);
  plugin.dialed({ connection: asked.id, target: "a:1", ms: 1, failure: "refused" });
  assert.deepEqual(counts(plugin), { "a:1": 0, "b:1": 0, "c:1": 0 });
  plugin.dialed({ connection: asked.id, target: "b:1", ms: 1, failure: "refused" });
  plugin.dialed({ connection: asked.id, target: "c:1", ms: 1 });
  assert.deepEqual(counts(plugin), { "a:1": 0, "b:1": 0, "c:1": 1 });
  closed(plugin, asked);
  assert.deepEqual(counts(plugin), { "a:1": 0, "b:1": 0, "c:1": 0 });
});

Deno.test("counts nothing for a connection that reached no target, or is closed before it is dialed", async () => {
  await using plugin = start(new FakeTools(), POOL).plugin;
  const unlucky = tlsConnection("a.example");
  plugin.route(unlucky);
  for (const target of POOL.to) plugin.dialed({ connection: unlucky.id, target, ms: 1, failure: "refused" });
  closed(plugin, unlucky);
  const gone = tlsConnection("a.example");
  plugin.route(gone);
  closed(plugin, gone);
  plugin.dialed({ connection: gone.id, target: "b:1", ms: 1 });
  assert.deepEqual(counts(plugin), { "a:1": 0, "b:1": 0, "c:1": 0 });
});

Deno.test("least-connections follows what really is open, also for decisions made in one go", async () => {
  await using plugin = start(new FakeTools(), { ...POOL, balance: "least-connections" }).plugin;
  const open = Array.from({ length: 6 }, () => tlsConnection("a.example"));
  for (const asked of open) plugin.route(asked);
  assert.deepEqual(counts(plugin), { "a:1": 2, "b:1": 2, "c:1": 2 });
  for (const asked of open.slice(0, 3)) closed(plugin, asked);
  closed(plugin, open[4] ?? assert.fail()); // a second one of b:1
  assert.equal(firstTarget(plugin.route(tlsConnection("a.example"))), "b:1");
});

Deno.test("an unhealthy target is passed over, told, and comes back", async () => {
  const tools = new FakeTools();
  tools.dead.add("a:1");
  const { plugin, events } = start(tools, { ...POOL, healthCheck: CHECK });
  await using _plugin = plugin;
  await settle();
  const used = () =>
    new Set(Array.from({ length: 6 }, () => firstTarget(plugin.route(tlsConnection("a.example")))));
  assert.deepEqual([...used()].toSorted(), ["b:1", "c:1"]);
  assert.deepEqual(plugin.status(), {
    ready: true,
    reason: "1 of 3 targets unhealthy",
    details: { routes: 1, targets: 3, unhealthy: ["a:1"] },
  });
  const health = plugin.metrics().filter((sample) => sample.name === "static_target_healthy");
  assert.deepEqual(health.map(({ labels, value }) => [labels.target, value]), [["a:1", 0], ["b:1", 1], [
    "c:1",
    1,
  ]]);
  assert.deepEqual(plugin.routes()[0]?.targets?.map((target) => target.healthy), [false, true, true]);
  tools.dead.clear();
  await tools.pass(1000);
  assert.deepEqual([...used()].toSorted(), ["a:1", "b:1", "c:1"]);
  assert.deepEqual(events.map(({ level, event, fields }) => [level, event, fields]), [
    ["warn", "target_unhealthy", { target: "a:1", reason: "Connection refused" }],
    ["info", "target_healthy", { target: "a:1" }],
  ]);
});

Deno.test("a client's failed attempt makes the check look at once", async () => {
  const tools = new FakeTools();
  await using plugin = start(tools, { ...POOL, healthCheck: CHECK }).plugin;
  await settle();
  tools.dead.add("a:1");
  const asked = tlsConnection("a.example");
  plugin.route(asked);
  plugin.dialed({ connection: asked.id, target: "a:1", ms: 1, failure: "refused" });
  await settle();
  assert.deepEqual(plugin.status().details?.unhealthy, ["a:1"]);
});

Deno.test("a reload keeps health, connections and checks of the targets that stay", async () => {
  const tools = new FakeTools();
  tools.dead.add("a:1");
  await using plugin = start(tools, { ...POOL, healthCheck: CHECK }).plugin;
  await settle();
  const asked = tlsConnection("a.example");
  plugin.route(asked);
  const [target = ""] = Object.entries(counts(plugin)).find(([, open]) => open === 1) ?? [];
  const begun = tools.checks.length;
  await plugin.reload(parse({ sni: "b.example", to: ["a:1", target, "d:1"], healthCheck: CHECK }));
  assert.deepEqual(tools.checks.slice(begun), ["d:1"], "only the new one is checked at once");
  assert.deepEqual(plugin.status().details?.unhealthy, ["a:1"]);
  assert.equal(counts(plugin)[target], 1);
  assert.equal(plugin.route(tlsConnection("a.example")), undefined);
  assert.notEqual(firstTarget(plugin.route(tlsConnection("b.example"))), "a:1");
  closed(plugin, asked);
});

Deno.test("a target that a reload leaves out is counted until its last connection ends, and checked no more", async () => {
  const tools = new FakeTools();
  await using plugin = start(tools, { sni: "a.example", to: "a:1", healthCheck: CHECK }).plugin;
  await settle();
  const asked = tlsConnection("a.example");
  plugin.route(asked);
  await plugin.reload(parse({ sni: "a.example", to: "b:1" }));
  assert.deepEqual(counts(plugin), { "a:1": 1, "b:1": 0 });
  assert.equal(tools.timers, 0);
  closed(plugin, asked);
  assert.deepEqual(counts(plugin), { "b:1": 0 });
});

Deno.test("a target that loses its check is taken for healthy", async () => {
  const tools = new FakeTools();
  tools.dead.add("a:1");
  await using plugin = start(tools, { ...POOL, healthCheck: CHECK }).plugin;
  await settle();
  await plugin.reload(parse(POOL));
  assert.deepEqual(plugin.status().details?.unhealthy, []);
});

Deno.test("ending leaves nothing behind", async () => {
  const tools = new FakeTools();
  tools.silent.add("b:1");
  const { plugin } = start(tools, { ...POOL, healthCheck: CHECK });
  await plugin[Symbol.asyncDispose]();
  await plugin[Symbol.asyncDispose]();
  tools.assertNothingLeft();
});

Deno.test("over real sockets: a target that stops is taken out, and brought back when it listens again", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const target = `127.0.0.1:${port}`;
  const healthCheck = { interval: "100ms", timeout: "1s", unhealthyAfter: 2, healthyAfter: 2 };
  const config = parse({ sni: "a.example", to: target, healthCheck });
  const plugin = await definition.start(config, pluginContext({ name: "static" }));
  const unhealthy = async () => (await plugin.status?.())?.details?.unhealthy;
  let accepted = 0;
  const serve = async (listener: Deno.TcpListener) => {
    for await (const conn of listener) {
      accepted++;
      conn.close();
    }
  };
  try {
    const first = serve(listener);
    await until(() => accepted >= 2, { what: "two checks" });
    assert.deepEqual(await unhealthy(), []);
    listener.close();
    await first;
    await until(async () => (await unhealthy() as string[]).length === 1, {
      what: "the target to be taken out",
    });
    using again = Deno.listen({ hostname: "127.0.0.1", port });
    const second = serve(again);
    await until(async () => (await unhealthy() as string[]).length === 0, {
      what: "the target to be brought back",
    });
    again.close();
    await second;
  } finally {
    await plugin[Symbol.asyncDispose]?.();
  }
});
