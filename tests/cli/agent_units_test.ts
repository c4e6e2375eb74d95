import assert from "node:assert/strict";
import { dealOut, netOf, unitName, type UnitPlan } from "../../cli/agent_units.ts";
import type { AgentService, AgentSettings } from "../../plugins/ws-agent/agent/settings.ts";
import { parseTarget } from "../../plugins/ws-agent/agent/target.ts";

function service(name: string, target: string | number): AgentService {
  return { name, protocol: "tcp", target: parseTarget(target), proxyProtocol: "off" };
}

function settings(services: readonly AgentService[], host = "tunnel.example.com"): AgentSettings {
  return {
    gateway: { secure: true, host, port: 443, path: "/" },
    name: "a",
    credentials: { token: "t" },
    tls: { insecure: false },
    connections: 2,
    reconnect: { minMs: 1, maxMs: 2 },
    services,
  };
}

const shown = (plans: readonly UnitPlan[]) =>
  plans.map(({ index, services }) => `${index}: ${services.map(({ name }) => name).join(" ")}`);

Deno.test("a worker may connect to the gateway and to its targets", () => {
  const services = [
    service("a", 3000),
    service("b", "10.0.0.5:80"),
    service("c", "[fd00::1]:81"),
    service("d", "db.internal:5432"),
  ];
  assert.deepEqual(netOf(settings(services), services), [
    "10.0.0.5:80",
    "127.0.0.1:3000",
    "[::1]:3000",
    "[fd00::1]:81",
    "db.internal:5432",
    "tunnel.example.com:443",
  ]);
  assert.deepEqual(netOf(settings([], "tunnel.localhost"), []), ["127.0.0.1:443"]);
  const proxied = { ...settings([]), proxy: { host: "proxy.internal", port: 3128 } };
  assert.deepEqual(netOf(proxied, []), ["proxy.internal:3128"], "and not to the gateway itself");
  const datagrams: AgentService[] = [
    { ...service("a", 3000), protocol: "udp" },
    { ...service("b", "[fd00::1]:81"), protocol: "udp" },
    { ...service("c", "dns.internal:53"), protocol: "udp", addresses: ["10.0.0.9", "169.254.169.254"] },
  ];
  assert.deepEqual(netOf(settings(datagrams), datagrams), [
    "0.0.0.0:0",
    "10.0.0.9:53",
    "127.0.0.1:0",
    "127.0.0.1:3000",
    "[::1]:0",
    "[::1]:3000",
    "[::]:0",
    "[fd00::1]:81",
    "tunnel.example.com:443",
  ]);
});

Deno.test("what stays stays where it is; what no worker may connect to gets a worker of its own", () => {
  const a = service("a", 1), b = service("b", 2), c = service("c", 3);
  const first = dealOut([], settings([a, b]));
  assert.deepEqual(shown(first), ["0: a b"]);
  const second = dealOut(first, settings([a, b, c]));
  assert.deepEqual(shown(second), ["0: a b", "1: c"]);
  assert.equal(second[0]?.net, first[0]?.net);
  assert.deepEqual(shown(dealOut(second, settings([a, c]))), ["0: a", "1: c"]);
  assert.deepEqual(shown(dealOut(second, settings([c]))), ["1: c"]);
  assert.deepEqual(shown(dealOut(second, settings([service("new", 1), b, c]))), ["0: b new", "1: c"]);
});

Deno.test("a service that leads elsewhere goes to a worker that may connect there", () => {
  const a = service("a", 1), b = service("b", 2), c = service("c", 3);
  const present = dealOut(dealOut([], settings([a, b])), settings([a, b, c]));
  assert.deepEqual(shown(dealOut(present, settings([service("a", 2), b, c]))), ["0: a b", "1: c"]);
  assert.deepEqual(shown(dealOut(present, settings([service("a", 3), b, c]))), ["0: b", "1: c a"]);
  assert.deepEqual(shown(dealOut(present, settings([service("a", 4), b, c]))), ["0: b", "1: c", "2: a"]);
});

Deno.test("for another gateway all workers are other ones", () => {
  const a = service("a", 1);
  const present = dealOut([], settings([a]));
  assert.deepEqual(shown(dealOut(present, settings([a], "other.example.com"))), ["1: a"]);
});

Deno.test("workers have names of their own to the gateway, and the first one that of the agent", () => {
  assert.deepEqual([unitName("a", 0), unitName("a", 1)], ["a", "a#1"]);
});
