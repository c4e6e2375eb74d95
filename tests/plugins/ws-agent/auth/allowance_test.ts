import assert from "node:assert/strict";
import fc from "fast-check";
import { parseNamePattern } from "../../../../core/names.ts";
import {
  type Allowance,
  ALLOWANCE_FIELDS,
  DEFAULT_ALLOWANCE,
  denialOf,
  formatPorts,
  mayAccess,
  parsePorts,
} from "../../../../plugins/ws-agent/auth/allowance.ts";
import type { RequestedService } from "../../../../plugins/ws-agent/auth/mod.ts";
import { DOMAIN } from "./harness.ts";

const http = (hostname: string): RequestedService => ({ name: "s", protocol: "http", hostname });
const tls = (hostname: string): RequestedService => ({ name: "s", protocol: "tls", hostname });
const tcp = (port: number): RequestedService => ({ name: "s", protocol: "tcp", port });
const udp = (port: number): RequestedService => ({ name: "s", protocol: "udp", port });

const RESOURCES: Readonly<Record<string, RequestedService>> = {
  "http demo.example.com": http("demo.example.com"),
  "tls demo.example.com": tls("demo.example.com"),
  "http b-1.example.com": http("b-1.example.com"),
  "http deep.demo.example.com": http("deep.demo.example.com"),
  "http example.com": http("example.com"),
  "http api.customer.com": http("api.customer.com"),
  "http notexample.com": http("notexample.com"),
  "http demo.example.com.evil.com": http("demo.example.com.evil.com"),
  "http without a name": { name: "s", protocol: "http" },
  "tcp any": tcp(0),
  "tcp 30000": tcp(30_000),
  "tcp 30101": tcp(30_101),
  "udp 30000": udp(30_000),
  "tcp without a port": { name: "s", protocol: "tcp" },
  "tcp with a foreign name": { name: "s", protocol: "tcp", port: 30_000, hostname: "api.customer.com" },
};

/** Whatever stands in no list is refused: the rows name all that an allowance lets through. */
const TABLE: readonly (readonly [name: string, allowance: Allowance, allowed: readonly string[]])[] = [
  ["nothing said", DEFAULT_ALLOWANCE, [
    "http demo.example.com",
    "tls demo.example.com",
    "http b-1.example.com",
    "tcp any",
    "tcp 30000",
    "tcp 30101",
    "udp 30000",
    "tcp without a port",
  ]],
  ["nothing at all", { subdomains: [], hostnames: [], ports: [] }, []],
  ["one subdomain", { subdomains: ["demo"], hostnames: [], ports: [] }, [
    "http demo.example.com",
    "tls demo.example.com",
  ]],
  ["a pattern of subdomains", { subdomains: ["b-*"], hostnames: [], ports: [] }, ["http b-1.example.com"]],
  ["a foreign name", { subdomains: [], hostnames: [parseNamePattern("api.customer.com")], ports: [] }, [
    "http api.customer.com",
  ]],
  ["a name of the domain in full", {
    subdomains: [],
    hostnames: [parseNamePattern("deep.demo.example.com")],
    ports: [],
  }, [
    "http deep.demo.example.com",
  ]],
  ["some ports", { subdomains: [], hostnames: [], ports: [{ first: 30_000, last: 30_100 }] }, [
    "tcp 30000",
    "udp 30000",
  ]],
  ["any name, one protocol", { hostnames: [], protocols: ["tls"] }, ["tls demo.example.com"]],
  ["ports for udp alone", { subdomains: [], hostnames: [], protocols: ["udp"] }, ["udp 30000"]],
];

for (const [name, allowance, allowed] of TABLE) {
  Deno.test(`whoever may have ${name} gets just that`, () => {
    const granted = Object.keys(RESOURCES).filter((key) => {
      const service = RESOURCES[key];
      return service !== undefined && denialOf(allowance, service, DOMAIN) === undefined;
    });
    assert.deepEqual(granted, allowed);
  });
}

Deno.test("a refusal names the policy", () => {
  const some: Allowance = {
    subdomains: [],
    hostnames: [],
    ports: [{ first: 1, last: 2 }, { first: 9, last: 9 }],
  };
  assert.equal(
    denialOf(some, http("a.example.com"), DOMAIN),
    'This token may not have the name "a.example.com"',
  );
  assert.equal(denialOf(some, tcp(3), DOMAIN), "This token may not have port 3, only those of 1-2, 9");
  assert.equal(
    denialOf(some, tcp(0), DOMAIN),
    "This token may only have ports of 1-2, 9: ask for one of them",
  );
});

Deno.test("whatever name a subdomain pattern lets through, it is one label below the domain", () => {
  const part = fc.string({ unit: fc.constantFrom("a", "b", "-", "1"), minLength: 1, maxLength: 5 });
  const hostname = fc.array(part, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
  fc.assert(fc.property(hostname, (name) => {
    for (const hostname of [name, `${name}.${DOMAIN}`, `${name}${DOMAIN}`]) {
      const isAllowed = denialOf({ subdomains: ["*"], hostnames: [] }, http(hostname), DOMAIN) === undefined;
      const isOneLabel = hostname.endsWith(`.${DOMAIN}`) && hostname.split(".").length === 3;
      assert.equal(isAllowed, isOneLabel, hostname);
    }
  }));
});

Deno.test("ranges of ports are read as they are written, and nothing else is", () => {
  const port = fc.integer({ min: 1, max: 65_535 });
  fc.assert(fc.property(port, port, (a, b) => {
    const range = { first: Math.min(a, b), last: Math.max(a, b) };
    assert.deepEqual(parsePorts(formatPorts(range)), range);
  }));
  for (
    const text of ["", "0", "65536", "2-1", "1-65536", "-1", "1-", "1-2-3", " 1", "1e3", "0x10", "１", "1.5"]
  ) {
    assert.equal(parsePorts(text), undefined, text);
  }
});

Deno.test("a private service needs no name and no port, and its protocol counts", () => {
  const secret: RequestedService = { name: "s", protocol: "http", private: true };
  assert.equal(denialOf({ subdomains: [], hostnames: [], ports: [] }, secret, DOMAIN), undefined);
  assert.match(denialOf({ hostnames: [], protocols: ["tcp"] }, secret, DOMAIN) ?? "", /may not expose http/);
});

const ACCESSES: readonly (readonly [pattern: string, yes: readonly string[], no: readonly string[]])[] = [
  ["alice/db", ["alice/db"], ["alice/dbx", "alicex/db", "xalice/db", "bob/db", "ALICE/db"]],
  ["alice/*", ["alice/db", "alice/x.y"], ["alicex/db", "bob/alice"]],
  ["*/status", ["alice/status", "jwt:a:b/status"], ["alice/status2"]],
  ["jwt:https%3A%2F%2Fid.example:*/db", ["jwt:https%3A%2F%2Fid.example:bob/db"], ["jwt:id.example:bob/db"]],
  ["*/*", ["alice/db"], []],
];

for (const [pattern, yes, no] of ACCESSES) {
  Deno.test(`access ${pattern} lets to ${yes} and not to ${no}`, () => {
    const access = [ALLOWANCE_FIELDS.access.element.parse(pattern)];
    const may = (service: string) => {
      const [owner = "", name = ""] = service.split("/");
      return mayAccess({ hostnames: [], access }, { owner, name });
    };
    assert.deepEqual([yes.every(may), no.some(may)], [true, false]);
  });
}

Deno.test("whoever is not told of an access has none", () => {
  for (const allowance of [DEFAULT_ALLOWANCE, { hostnames: [], access: [] }]) {
    assert.equal(mayAccess(allowance, { owner: "alice", name: "db" }), false);
  }
});

for (
  const pattern of ["db", "*", "alice/", "/db", "a/b/c", "alice /db", "alice/d b", "a/" + "b".repeat(300)]
) {
  Deno.test(`${pattern.slice(0, 20)} is no pattern of accesses`, () => {
    assert.equal(ALLOWANCE_FIELDS.access.element.safeParse(pattern).success, false);
  });
}
