import assert from "node:assert/strict";
import denoJson from "../../../deno.json" with { type: "json" };
import { checkValue } from "../../../core/config/issues.ts";
import { resolvePermissions } from "../../../core/config/permissions.ts";
import { filesOf, type MtlsConfig, mtlsConfig } from "../../../plugins/mtls-postgres/config.ts";

const database = { host: "127.0.0.1", user: "postern", name: "access" };
const SECTION = {
  domain: "connect.example.com",
  issuer: "example.com",
  caCertificates: ["ca.pem"],
  database,
};

function configOf(section: object): MtlsConfig {
  const checked = checkValue(mtlsConfig, { ...SECTION, ...section });
  return checked.ok ? checked.value : assert.fail(JSON.stringify(checked.issues));
}

Deno.test("the shortest section has the defaults of the docs", () => {
  assert.deepEqual(configOf({}), {
    domain: "connect.example.com",
    issuer: "example.com",
    caCertificates: ["ca.pem"],
    crls: [],
    database: {
      kind: "postgres",
      addresses: ["127.0.0.1:5432"],
      host: "127.0.0.1",
      port: 5432,
      user: "postern",
      name: "access",
      tls: "off",
      poolSize: 10,
      queryTimeoutMs: 2000,
    },
    defaultPort: 22,
    cacheTtlMs: 5000,
    recheckIntervalMs: 30_000,
    failuresPerMinute: 30,
    proxyProtocol: "off",
    folders: [],
  });
});

const bad: readonly (readonly [name: string, section: object, path: string, message: RegExp])[] = [
  ["no CA", { caCertificates: [] }, "caCertificates", /at least 1 entry/],
  ["a CA without a path", { caCertificates: [""] }, "caCertificates.0", /not empty/],
  ["no domain", { domain: undefined }, "domain", /Required/],
  ["a domain with a star", { domain: "*.example.com" }, "domain", /without a star/],
  ["a domain that is an address", { domain: "10.0.0.1" }, "domain", /no name/],
  ["an issuer in upper case", { issuer: "Example.com" }, "issuer", /trust domain/],
  ["an issuer with a scheme", { issuer: "spiffe://example.com" }, "issuer", /trust domain/],
  ["another word for a database", { database: "sqlite" }, "database", /embedded/],
  ["no database", { database: undefined }, "database", /Required/],
  ["a misspelt key", { cacheTTL: "5s" }, "cacheTTL", /did you mean "cacheTtl"/],
  [
    "a misspelt key of the database",
    { database: { ...database, pasword: "x" } },
    "database.pasword",
    /password/,
  ],
  ["a host with a port", { database: { ...database, host: "db:5432" } }, "database.host", /without a port/],
  [
    "a host that is a socket",
    { database: { ...database, host: "/run/postgres" } },
    "database.host",
    /a host/,
  ],
  [
    "a remote host without a word on TLS",
    { database: { ...database, host: "db.internal" } },
    "database.tls",
    /off/,
  ],
  ["a duration without unit", { cacheTtl: 5 }, "cacheTtl", /a duration/],
  ["a cache for hours", { cacheTtl: "1h" }, "cacheTtl", /at most/],
  ["rechecks without end", { recheckInterval: "0s" }, "recheckInterval", /at least/],
  ["port 0", { defaultPort: 0 }, "defaultPort", /at least 1/],
  ["a PROXY header to pass on", { proxyProtocol: "pass" }, "proxyProtocol", /"v2"/],
  ["less than no failures", { failuresPerMinute: -1 }, "failuresPerMinute", /at least 0/],
  ["a seed for a database of one's own", { seed: "seed.sql" }, "seed", /psql -f/],
  ["an insecure key for TLS", { targetTls: { verify: false } }, "targetTls.verify", /Unknown key/],
];

for (const [name, section, path, message] of bad) {
  Deno.test(`refused: ${name}`, () => {
    const checked = checkValue(mtlsConfig, { ...SECTION, ...section });
    assert.ok(!checked.ok);
    const issue = checked.issues.find((one) => one.path.join(".") === path);
    assert.ok(issue, JSON.stringify(checked.issues));
    assert.match(issue.message, message);
  });
}

Deno.test("a password is not in a message about it", () => {
  const checked = checkValue(mtlsConfig, { ...SECTION, database: { ...database, password: 12345678 } });
  assert.ok(!checked.ok);
  assert.doesNotMatch(JSON.stringify(checked.issues), /12345678/);
});

const declared = denoJson.plugins["mtls-postgres"].permissions;

for (
  const [name, section, net, folders] of [
    ["a database on this machine", {}, ["127.0.0.1:5432"], false],
    ["IPv6", { database: { ...database, host: "::1", port: 6000 } }, ["[::1]:6000"], false],
    ["a name", { database: { ...database, host: "Db.Internal", tls: { ca: "db.pem" } } }, [
      "db.internal:5432",
    ], false],
    ["the embedded one", { database: "embedded" }, false, [".postern/mtls-postgres"]],
  ] as const
) {
  Deno.test(`the worker is granted what ${name} needs, and nothing else`, () => {
    const { permissions, problems } = resolvePermissions(declared, configOf(section));
    assert.deepEqual(problems, []);
    assert.deepEqual(permissions.net, net);
    assert.deepEqual(permissions.read, folders);
    assert.deepEqual(permissions.write, folders);
    assert.deepEqual(permissions.env, ["PGPASSWORD"]);
    for (const kind of ["run", "sys", "ffi", "import"] as const) assert.equal(permissions[kind], false);
  });
}

Deno.test("every file of the section is named once", () => {
  const config = configOf({
    caCertificates: ["a.pem", "b.pem", "a.pem"],
    crls: ["a.crl"],
    database: { ...database, tls: { ca: "db.pem" } },
    targetTls: { ca: "b.pem" },
  });
  assert.deepEqual(filesOf(config), ["a.pem", "b.pem", "a.crl", "db.pem"]);
  const embedded = configOf({ caCertificates: ["a.pem"], database: "embedded", seed: "seed.sql" });
  assert.deepEqual(filesOf(embedded), ["a.pem", "seed.sql"]);
});
