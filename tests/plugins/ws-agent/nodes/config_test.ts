import assert from "node:assert/strict";
import { checkValue } from "../../../../core/config/issues.ts";
import { nodeTunnelsConfig, nodeTunnelsOf } from "../../../../plugins/ws-agent/nodes/config.ts";

const GOOD = { name: "db", to: "wss://eu.example.com", ports: 5432, token: "tun_secret" };

function check(...tunnels: unknown[]) {
  return checkValue(nodeTunnelsConfig, tunnels);
}

Deno.test("a node tunnel is read: one port for both sides, or two places; the gateway as agents write it", () => {
  const checked = check(GOOD, {
    ...GOOD,
    name: "web",
    to: "tunnel.example.com:8443",
    ports: { local: "10.0.0.5:80", remote: 30_080 },
    ca: "ca.pem",
  }, { ...GOOD, name: "any", ports: { local: 22 } });
  assert.ok(checked.ok);
  const [db, web, any] = nodeTunnelsOf(checked.value, { "ca.pem": "PEM" });
  assert.deepEqual(db, {
    name: "db",
    to: { secure: true, host: "eu.example.com", port: 443, path: "/tunnel/v1" },
    ports: { local: { host: "localhost", port: 5432, tls: false }, remote: 5432 },
    token: "tun_secret",
  });
  assert.deepEqual(web?.ports, { local: { host: "10.0.0.5", port: 80, tls: false }, remote: 30_080 });
  assert.deepEqual([web?.to.port, web?.ca], [8443, "PEM"]);
  assert.equal(any?.ports.remote, 0);
});

const wrong: readonly (readonly [what: string, change: object, path: string, message: RegExp])[] = [
  ["a name with a space", { name: "a b" }, "0.name", /letters, digits/],
  ["no gateway", { to: "http//x" }, "0.to", /Not the address of a gateway/],
  ["a password in the address", { to: "wss://u:p@eu.example.com" }, "0.to", /no place for a user/],
  ["another machine without TLS", { to: "ws://eu.example.com" }, "0.to", /reads the token/],
  ["port 0 for both", { ports: 0 }, "0.ports", /./],
  ["a port that is none", { ports: { local: 70_000 } }, "0.ports.local", /./],
  ["no token", { token: "" }, "0.token", /./],
  ["a key that is unknown", { prots: 1 }, "0.prots", /./],
];

for (const [what, change, path, message] of wrong) {
  Deno.test(`a node tunnel with ${what} is refused`, () => {
    const checked = check({ ...GOOD, ...change });
    assert.ok(!checked.ok);
    const issue = checked.issues.find((one) => one.path.join(".") === path);
    assert.match(issue?.message ?? JSON.stringify(checked.issues), message);
  });
}

Deno.test("this machine may be reached without TLS; two node tunnels of one name may not be", () => {
  assert.ok(check({ ...GOOD, to: "ws://127.0.0.1:8080" }).ok);
  const twice = check(GOOD, { ...GOOD, ports: 1 });
  assert.ok(!twice.ok);
  assert.deepEqual(twice.issues[0]?.path, [1, "name"]);
});
