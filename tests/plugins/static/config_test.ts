import assert from "node:assert/strict";
import { checkValue } from "../../../core/config/issues.ts";
import { staticConfig } from "../../../plugins/static/config.ts";

/** What is wrong with a section, as `path: message` lines. */
function problems(section: unknown): string[] {
  const checked = checkValue(staticConfig, section);
  return checked.ok ? [] : checked.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

Deno.test("a route comes out in canonical form, with every default", () => {
  const checked = checkValue(staticConfig, {
    routes: [{ sni: "DB.Bücher.example.", to: "[2001:DB8::1]:5432", healthCheck: { interval: "1m" } }],
  });
  assert.deepEqual(checked, {
    ok: true,
    value: {
      routes: [{
        sni: ["db.xn--bcher-kva.example"],
        terminate: false,
        to: ["[2001:db8::1]:5432"],
        proxyProtocol: "off",
        balance: "round-robin",
        healthCheck: { intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 2, healthyAfter: 2 },
      }],
    },
  });
});

const good: { name: string; section: unknown }[] = [
  { name: "no section", section: undefined },
  { name: "a section with nothing in it", section: null },
  { name: "no routes", section: { routes: [] } },
  { name: "a protocol alone", section: { routes: [{ protocol: "ssh", to: "a:22" }] } },
  { name: "a catch-all for TLS", section: { routes: [{ protocol: "tls", to: "a:1" }] } },
  {
    name: "one name for each protocol, and one for the rest",
    section: {
      routes: [
        { sni: "a.example", protocol: "postgres", to: "a:1" },
        { sni: "a.example", protocol: "tls", to: "a:2" },
        { sni: "a.example", to: "a:3" },
        { sni: "*.example", to: "a:4" },
      ],
    },
  },
  {
    name: "one target in two routes, checked by one of them",
    section: {
      routes: [{ sni: "a.example", to: "a:1", healthCheck: {} }, { sni: "b.example", to: "a:1" }],
    },
  },
];
for (const { name, section } of good) {
  Deno.test(`accepts ${name}`, () => assert.deepEqual(problems(section), []));
}

const bad: { name: string; routes: unknown; says: RegExp }[] = [
  {
    name: "a route that matches nothing",
    routes: [{ to: "a:1" }],
    says: /^routes\.0: A route needs sni, protocol or both/,
  },
  { name: "a route that leads nowhere", routes: [{ sni: "a.example" }], says: /^routes\.0\.to: Required/ },
  {
    name: "an unknown key",
    routes: [{ sni: "a.example", balanse: "source-hash", to: "a:1" }],
    says: /^routes\.0\.balanse: Unknown key; did you mean "balance"/,
  },
  {
    name: "an empty list of targets",
    routes: [{ sni: "a.example", to: [] }],
    says: /^routes\.0\.to: Give at least one target/,
  },
  {
    name: "an empty list of names",
    routes: [{ sni: [], to: "a:1" }],
    says: /^routes\.0\.sni: Give at least one name/,
  },
  {
    name: "a target without a port",
    routes: [{ sni: "a.example", to: "a" }],
    says: /^routes\.0\.to: "a" is no "host:port": The port is missing/,
  },
  {
    name: "a bad target in a list",
    routes: [{ sni: "a.example", to: ["a:1", "a:70000"] }],
    says: /^routes\.0\.to\.1: "a:70000" is no "host:port"/,
  },
  { name: "port 0", routes: [{ sni: "a.example", to: "a:0" }], says: /^routes\.0\.to: .*from 1 to 65535/ },
  {
    name: "a target that is a number",
    routes: [{ sni: "a.example", to: 5432 }],
    says: /^routes\.0\.to: Expected an address such as/,
  },
  {
    name: "the same target twice",
    routes: [{ sni: "a.example", to: ["[::1]:5", "[0::1]:5"] }],
    says: /^routes\.0\.to\.1: The target "\[::1\]:5" is given twice/,
  },
  {
    name: "an IP address as a name",
    routes: [{ sni: "10.0.0.1", to: "a:1" }],
    says: /^routes\.0\.sni: "10\.0\.0\.1" is no name to match/,
  },
  {
    name: "a star in the middle",
    routes: [{ sni: "a.*.example", to: "a:1" }],
    says: /^routes\.0\.sni: "a\.\*\.example" is no name to match/,
  },
  {
    name: "a star for part of a label",
    routes: [{ sni: "a*.example", to: "a:1" }],
    says: /is no name to match/,
  },
  {
    name: "an unknown protocol",
    routes: [{ protocol: "smtp", to: "a:1" }],
    says: /^routes\.0\.protocol: Expected "tls", "postgres", .* got "smtp"/,
  },
  {
    name: "a name with a protocol that has none",
    routes: [{ sni: "a.example", protocol: "ssh", to: "a:1" }],
    says: /^routes\.0\.sni: Clients of protocol ssh send no server name/,
  },
  {
    name: "terminate without TLS",
    routes: [{ protocol: "http", terminate: true, to: "a:1" }],
    says: /^routes\.0\.terminate: There is no TLS to terminate/,
  },
  {
    name: "terminate without a name",
    routes: [{ protocol: "tls", terminate: true, to: "a:1" }],
    says: /^routes\.0\.terminate: .* needs sni/,
  },
  {
    name: "alpn without terminate",
    routes: [{ sni: "a.example", alpn: ["h2"], to: "a:1" }],
    says: /^routes\.0\.alpn: Without terminate/,
  },
  {
    name: "an empty alpn",
    routes: [{ sni: "a.example", terminate: true, alpn: [], to: "a:1" }],
    says: /^routes\.0\.alpn: Give at least one/,
  },
  {
    name: "an impossible ALPN protocol",
    routes: [{ sni: "a.example", terminate: true, alpn: [""], to: "a:1" }],
    says: /^routes\.0\.alpn\.0: Expected an ALPN protocol/,
  },
  {
    name: "an unknown PROXY version",
    routes: [{ sni: "a.example", proxyProtocol: "v3", to: "a:1" }],
    says: /^routes\.0\.proxyProtocol: Expected "off", "v1", "v2" or "pass"/,
  },
  {
    name: "an unknown balance",
    routes: [{ sni: "a.example", balance: "random", to: "a:1" }],
    says: /^routes\.0\.balance: Expected "round-robin"/,
  },
  {
    name: "an interval of nothing",
    routes: [{ sni: "a.example", to: "a:1", healthCheck: { interval: 0 } }],
    says: /^routes\.0\.healthCheck\.interval: Expected at least 100ms/,
  },
  {
    name: "a duration without a unit",
    routes: [{ sni: "a.example", to: "a:1", healthCheck: { timeout: 2 } }],
    says: /^routes\.0\.healthCheck\.timeout: Expected a duration/,
  },
  {
    name: "zero checks to be unhealthy",
    routes: [{ sni: "a.example", to: "a:1", healthCheck: { unhealthyAfter: 0 } }],
    says: /^routes\.0\.healthCheck\.unhealthyAfter: Expected at least 1/,
  },
  {
    name: "one target checked in two ways",
    routes: [
      { sni: "a.example", to: "a:1", healthCheck: {} },
      { sni: "b.example", to: "a:1", healthCheck: { interval: "9s" } },
    ],
    says: /^routes\.1\.healthCheck: routes\[0\] checks the same target "a:1" in another way/,
  },
  {
    name: "two catch-alls for one protocol",
    routes: [{ protocol: "ssh", to: "a:1" }, { protocol: "ssh", to: "a:2" }],
    says: /^routes\.1\.protocol: Protocol ssh is taken by routes\[0\] already/,
  },
  {
    name: "one name and protocol twice",
    routes: [{ sni: "a.example", protocol: "tls", to: "a:1" }, {
      sni: "a.example",
      protocol: "tls",
      to: "a:2",
    }],
    says: /^routes\.1\.sni: The name "a\.example" with protocol tls is taken by routes\[0\] already/,
  },
  {
    name: "one name twice in a list",
    routes: [{ sni: ["a.example", "A.example"], to: "a:1" }],
    says: /^routes\.0\.sni: The name "a\.example" is given twice/,
  },
];
for (const { name, routes, says } of bad) {
  Deno.test(`refuses ${name}`, () => {
    const [first = "", ...more] = problems({ routes });
    assert.match(first, says);
    assert.deepEqual(more, []);
  });
}

for (const again of ["DB.example.com", "db.example.com.", "db.EXAMPLE.com."]) {
  Deno.test(`"${again}" and "db.example.com" are one name`, () => {
    const routes = [{ sni: "db.example.com", to: "a:1" }, { sni: again, to: "a:2" }];
    assert.match(problems({ routes })[0] ?? "", /is taken by routes\[0\] already/);
  });
}
for (const again of ["*.xn--bcher-kva.example", "*.BÜCHER.example", "*.bu\u0308cher.example."]) {
  Deno.test(`"${again}" and "*.bücher.example" are one name`, () => {
    const routes = [{ sni: "*.bücher.example", to: "a:1" }, { sni: again, to: "a:2" }];
    assert.match(problems({ routes })[0] ?? "", /is taken by routes\[0\] already/);
  });
}
