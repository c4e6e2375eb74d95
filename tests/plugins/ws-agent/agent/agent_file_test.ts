import assert from "node:assert/strict";
import { formatProblem } from "../../../../core/config/problem.ts";
import { parseAgentFile } from "../../../../plugins/ws-agent/agent/agent_file.ts";
import { granted } from "../../../support/permissions.ts";

/** The parser of YAML looks for variables that make it trace what it does. */
const ignore = !granted("env");

function parse(text: string, env: Readonly<Record<string, string>> = {}) {
  return parseAgentFile({ text, file: "/etc/agent.yaml" }, (name) => env[name]);
}

Deno.test({
  name: "an agent.yaml with everything in it",
  ignore,
  fn() {
    const text = `
gateway: wss://tunnel.example.com/tunnel/v1
name: office
token: \${POSTERN_TOKEN}
tls: { ca: extra-ca.pem }
connections: 4
reconnect: { min: 1s, max: 5m }
services:
  - { name: app, protocol: http, target: 8080, hostname: App.Example.com, proxyProtocol: v2 }
  - { name: dev, protocol: http, target: "https://10.0.0.5" }
  - { name: ssh, protocol: tcp, target: "[::1]:22", remotePort: 2222, share: true, balance: source-hash }
  - { name: db, protocol: tls, target: "db.internal:5432" }
  - { name: inside, protocol: tcp, target: "10.0.0.50:8080", private: true }
  - { name: game, protocol: udp, target: "127.0.0.1:27015" }
`;
    const result = parse(text, { POSTERN_TOKEN: "the-token" });
    assert.ok(result.ok, result.ok ? "" : result.problems.map(formatProblem).join("\n"));
    const off = { proxyProtocol: "off" };
    assert.deepEqual(result.value, {
      settings: {
        gateway: { secure: true, host: "tunnel.example.com", port: 443, path: "/tunnel/v1" },
        name: "office",
        credentials: { token: "the-token" },
        connections: 4,
        reconnect: { minMs: 1000, maxMs: 300_000 },
        services: [
          {
            name: "app",
            protocol: "http",
            target: { host: "localhost", port: 8080, tls: false },
            hostname: "app.example.com",
            proxyProtocol: "v2",
          },
          { name: "dev", protocol: "http", target: { host: "10.0.0.5", port: 443, tls: true }, ...off },
          {
            name: "ssh",
            protocol: "tcp",
            target: { host: "::1", port: 22, tls: false },
            remotePort: 2222,
            share: true,
            balance: "source-hash",
            ...off,
          },
          { name: "db", protocol: "tls", target: { host: "db.internal", port: 5432, tls: false }, ...off },
          {
            name: "inside",
            protocol: "tcp",
            target: { host: "10.0.0.50", port: 8080, tls: false },
            private: true,
            ...off,
          },
          { name: "game", protocol: "udp", target: { host: "127.0.0.1", port: 27015, tls: false }, ...off },
        ],
      },
      tls: { insecure: false, caFile: "/etc/extra-ca.pem" },
    });
  },
});

Deno.test({
  name: "what is left out has its default",
  ignore,
  fn() {
    const result = parse(
      "gateway: tunnel.example.com:8443\njwt: { secret: a-secret }\nservices: [{ name: a, protocol: http, target: 1 }]",
    );
    assert.ok(result.ok);
    const { settings, tls } = result.value;
    assert.deepEqual(
      [settings.gateway, settings.credentials, settings.connections, settings.reconnect, tls],
      [
        { secure: true, host: "tunnel.example.com", port: 8443, path: "/tunnel/v1" },
        { jwt: { secret: "a-secret", expiresInMs: 3_600_000 } },
        2,
        { minMs: 500, maxMs: 60_000 },
        { insecure: false },
      ],
    );
  },
});

Deno.test({
  name: "a proxy is an address, or none at all",
  ignore,
  fn() {
    const proxyOf = (line: string) => {
      const result = parse(`${GOOD}${line}${A}`, { PASS: "p%40ss" });
      assert.ok(result.ok);
      return result.value.proxy;
    };
    assert.equal(proxyOf(""), undefined);
    assert.equal(proxyOf("proxy: none\n"), "none");
    assert.deepEqual(proxyOf('proxy: "http://me:${PASS}@proxy.internal:3128"\n'), {
      host: "proxy.internal",
      port: 3128,
      credentials: { user: "me", password: "p@ss" },
    });
  },
});

const GOOD = "gateway: wss://g.example\ntoken: t\n";
const A = "services: [{ name: a, protocol: http, target: 1 }]\n";

const WRONG: readonly (readonly [text: string, ...says: string[]])[] = [
  ["", "1:1: gateway: Required: text", "1:1: services: Required: a list"],
  ["- a", '1:1: Expected keys such as "gateway:" at the top'],
  [`gatway: wss://g\n${GOOD}${A}`, '1:1: gatway: Unknown key; did you mean "gateway"?'],
  [`gateway: wss://g\n${A}`, "1:1: token: Required: a token, or jwt in its place"],
  [`${GOOD}jwt: { secret: s }\n${A}`, "3:1: jwt: Either a token or jwt, not both"],
  [
    `gateway: wss://user:pass@g\ntoken: t\n${A}`,
    "1:10: gateway: Not the address of a gateway: there is no place for a user in it",
  ],
  [
    `${GOOD}proxy: "https://u:p@proxy:1"\n${A}`,
    "3:8: proxy: Not the address of a proxy: only http:// proxies",
  ],
  [`${GOOD}proxy: "http://u:p@proxy:1/x"\n${A}`, "3:8: proxy: Not the address of a proxy: it has a user"],
  [`${GOOD}reconnect: { min: 5s, max: 1s }\n${A}`, "3:28: reconnect.max: Less than reconnect.min"],
  [`${GOOD}connections: 17\n${A}`, "3:14: connections: Expected at most 16, got 17"],
  [`${GOOD}services: []`, "3:1: services: Expected at least 1 entry, got a list"],
  [
    `${GOOD}services: [{ name: a b, protocol: http, target: 1 }]`,
    "3:20: services[0].name: A service's name has",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: htp, target: 1 }]`,
    '3:33: services[0].protocol: Expected "http", "tcp", "tls" or "udp", got "htp"',
  ],
  [
    `${GOOD}services: [{ name: a, protocol: tcp, target: 1, hostname: a.b }]`,
    "services[0].hostname: Only http and tls have host names",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: tls, target: 1, remotePort: 1 }]`,
    "services[0].remotePort: Only tcp and udp have ports",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: tcp, target: 1, share: true }]`,
    "services[0].remotePort: Required with share",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: http, target: 1, balance: round-robin }]`,
    "services[0].balance: Only for a service with share",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: http, target: 1, share: true, balance: fair }]`,
    'services[0].balance: Expected "least-streams", "round-robin" or "source-hash", got "fair"',
  ],
  [
    `${GOOD}services: [{ name: a, protocol: udp, target: 1, proxyProtocol: v1 }]`,
    "services[0].proxyProtocol: For udp it is v2 or simple",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: tcp, target: 1, proxyProtocol: simple }]`,
    "services[0].proxyProtocol: Only for udp, and this is tcp",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: tcp, target: "http://a" }]`,
    "services[0].target: Only http services have URLs",
  ],
  [
    `${GOOD}services: [{ name: a, protocol: http, target: "http://a/b" }]`,
    "services[0].target: A target is a place and has no path",
  ],
  [`${GOOD}services: [{ name: a, protocol: http, target: 0 }]`, "services[0].target:"],
  [
    `${GOOD}services: [{ name: a, protocol: http, target: 1 }, { name: a, protocol: tcp, target: 2 }]`,
    'services[1].name: Another service is called "a", too',
  ],
  [`gateway: wss://g\ntoken: "\${NOPE}"\n${A}`, "2:8: token: Environment variable NOPE is not set"],
];

for (const [text, ...says] of WRONG) {
  Deno.test(`agent.yaml: ${says[0]}`, { ignore }, () => {
    const result = parse(text);
    const lines = result.ok ? [] : result.problems.map(formatProblem);
    assert.equal(lines.length, says.length, lines.join("\n"));
    for (const [i, part] of says.entries()) {
      assert.ok(lines[i]?.includes(part), `${lines[i]} has not: ${part}`);
    }
  });
}

Deno.test({
  name: "a secret is never part of what is said",
  ignore,
  fn() {
    const text = "gateway: wss://g\ntoken: { s3cret: s3cret }\njwt: { secret: [s3cret], expiresIn: 1 }\n" +
      `proxy: "http://u:s3cret@proxy:port"\n${A}`;
    const result = parse(text);
    assert.ok(!result.ok);
    const said = result.problems.map(({ message }) => message).join("\n");
    assert.doesNotMatch(said, /s3cret/);
  },
});
