import assert from "node:assert/strict";
import { checkValue } from "../../../core/config/issues.ts";
import { filesOf, wsAgentConfig } from "../../../plugins/ws-agent/config.ts";

const SMALLEST = { domain: "example.com", tokens: "tokens.yaml" };

function parse(more: Record<string, unknown> = {}) {
  const checked = checkValue(wsAgentConfig, { ...SMALLEST, ...more });
  if (!checked.ok) assert.fail(JSON.stringify(checked.issues));
  return checked.value;
}

Deno.test("the smallest section, with every default", () => {
  assert.deepEqual(parse(), {
    domain: "example.com",
    endpoint: "tunnel.example.com",
    controlPath: "/tunnel/v1",
    tokens: "tokens.yaml",
    ports: { first: 30_000, last: 31_000 },
    portsAddress: "0.0.0.0",
    heartbeat: { intervalMs: 15_000, timeoutMs: 20_000 },
    reconnectGraceMs: 10_000,
    limits: {
      tunnels: 1000,
      servicesPerTunnel: 50,
      streamsPerTunnel: 1000,
      failedAuthPerMinute: 10,
      udpFlows: 10_000,
      udpFlowsPerPort: 1000,
      udpFlowsPerSource: 100,
    },
    idleTimeoutMs: 0,
    plainHttp: false,
    plainEndpoint: false,
    node: "example.com",
    nodeTunnels: [],
    access: { maxTtlMs: 86_400_000 },
  });
});

Deno.test("everything given, in canonical form", () => {
  const config = parse({
    domain: "Example.COM.",
    endpoint: "Gate.Example.com",
    controlPath: "/",
    jwt: { secret: "s".repeat(32), issuer: "mytunnel", audience: "tunnels" },
    controller: { url: "https://control.example.com/check" },
    ports: "2222",
    portsAddress: "::ffff:127.0.0.1",
    publicPort: 443,
    heartbeat: { interval: "5s", timeout: "6s" },
    reconnectGrace: 0,
    limits: { tunnels: 5 },
    idleTimeout: "1h",
    plainHttp: true,
    plainEndpoint: true,
    access: { maxTtl: "10m" },
  });
  assert.deepEqual(config.access, { maxTtlMs: 600_000 });
  assert.equal(config.domain, "example.com");
  assert.equal(config.endpoint, "gate.example.com");
  assert.deepEqual(config.jwt, { issuer: "mytunnel", audience: "tunnels", secret: "s".repeat(32) });
  assert.deepEqual(config.controller, { url: "https://control.example.com/check", timeoutMs: 2000 });
  assert.deepEqual(config.ports, { first: 2222, last: 2222 });
  assert.equal(config.portsAddress, "127.0.0.1");
  assert.equal(config.limits.tunnels, 5);
  assert.equal(config.limits.servicesPerTunnel, 50);
  assert.equal(config.idleTimeoutMs, 3_600_000);
});

Deno.test("one port is a range, too, in quotes or not", () => {
  for (const ports of ["2222", 2222]) {
    assert.deepEqual(parse({ ports }).ports, { first: 2222, last: 2222 });
  }
});

const wrong: { name: string; more: Record<string, unknown>; path: string; message: RegExp }[] = [
  { name: "no domain", more: { domain: undefined }, path: "domain", message: /./ },
  {
    name: "accesses for longer than a week",
    more: { access: { maxTtl: "169h" } },
    path: "access.maxTtl",
    message: /./,
  },
  {
    name: "a pattern as domain",
    more: { domain: "*.example.com" },
    path: "domain",
    message: /without a star/,
  },
  {
    name: "the domain as endpoint",
    more: { endpoint: "example.com" },
    path: "endpoint",
    message: /domain itself/,
  },
  { name: "an unknown key", more: { port: 1 }, path: "", message: /port/ },
  {
    name: "a path without its slash",
    more: { controlPath: "tunnel" },
    path: "controlPath",
    message: /a slash/,
  },
  {
    name: "a path with a query",
    more: { controlPath: "/tunnel?x" },
    path: "controlPath",
    message: /a slash/,
  },
  { name: "nobody to let in", more: { tokens: undefined }, path: "", message: /tokens, jwt or controller/ },
  { name: "a short secret", more: { jwt: { secret: "hunter2" } }, path: "jwt.secret", message: /32 bytes/ },
  {
    name: "an empty audience",
    more: { jwt: { secret: "s".repeat(32), audience: "" } },
    path: "jwt.audience",
    message: /./,
  },
  { name: "jwt without keys", more: { jwt: {} }, path: "jwt", message: /either secret .* or jwks/ },
  {
    name: "jwt with both kinds of keys",
    more: { jwt: { secret: "s".repeat(32), jwks: "https://example.com/jwks" } },
    path: "jwt",
    message: /either/,
  },
  {
    name: "keys that anybody on the way can forge",
    more: { jwt: { jwks: "http://example.com/jwks" } },
    path: "jwt.jwks",
    message: /https/,
  },
  {
    name: "a controller that only looks like this machine",
    more: { controller: { url: "http://127.0.0.1.evil.example/" } },
    path: "controller.url",
    message: /https/,
  },
  {
    name: "ports the wrong way round",
    more: { ports: "31000-30000" },
    path: "ports",
    message: /range of ports/,
  },
  { name: "port 0", more: { ports: "0-10" }, path: "ports", message: /range of ports/ },
  {
    name: "ports that are too high",
    more: { ports: "60000-70000" },
    path: "ports",
    message: /range of ports/,
  },
  {
    name: "a name to listen on",
    more: { portsAddress: "localhost" },
    path: "portsAddress",
    message: /IP address/,
  },
  {
    name: "a timeout that healthy agents would run into",
    more: { heartbeat: { interval: "15s", timeout: "15s" } },
    path: "heartbeat.timeout",
    message: /longer than interval/,
  },
  {
    name: "a grace of an hour",
    more: { reconnectGrace: "1h" },
    path: "reconnectGrace",
    message: /at most 5m/,
  },
  { name: "no tunnels at all", more: { limits: { tunnels: 0 } }, path: "limits.tunnels", message: /./ },
  {
    name: "an idle timeout that is none",
    more: { idleTimeout: "10ms" },
    path: "idleTimeout",
    message: /at least 1s/,
  },
];
for (const { name, more, path, message } of wrong) {
  Deno.test(`refuses ${name}`, () => {
    const checked = checkValue(wsAgentConfig, { ...SMALLEST, ...more });
    assert.ok(!checked.ok, "it was taken");
    const found = checked.issues.find((issue) => issue.path.join(".") === path);
    assert.match(found?.message ?? `nothing at ${path}: ${JSON.stringify(checked.issues)}`, message);
    assert.equal(JSON.stringify(checked.issues).includes("hunter2"), false);
  });
}

Deno.test("http to this machine itself is safe enough for keys and controllers", () => {
  for (const url of ["http://127.0.0.1:9000/", "http://localhost/check", "http://[::1]:1/"]) {
    assert.equal(parse({ controller: { url } }).controller?.url, url);
  }
});

Deno.test("the token file is the one file that it names", () => {
  assert.deepEqual(filesOf(parse()), ["tokens.yaml"]);
  assert.deepEqual(filesOf(parse({ tokens: undefined, jwt: { secret: "s".repeat(32) } })), []);
});
