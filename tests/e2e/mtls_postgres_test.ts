import assert from "node:assert/strict";
import { createAuthority, type LeafOptions, type TestAuthority } from "../support/certificates.ts";
import { startEcho } from "../support/echo.ts";
import { type Postgres, startPostgres } from "../support/postgres.ts";
import { type Address, freeAddress, hostPort } from "../support/processes.ts";
import { can } from "./can.ts";
import {
  addHost,
  type ConnectOptions,
  DOMAIN,
  makeTables,
  MtlsGateway,
  spiffeId,
  sql,
} from "./mtls_gateway.ts";

const ignore = !can("initdb", "postgres", "psql");
const DAY_MS = 86_400_000;

let stack: AsyncDisposableStack;
let server: Postgres;
/** Where each test has its echo server. */
let backend: Address;
let there: MtlsGateway;
let rotated: TestAuthority, stranger: TestAuthority, namesake: TestAuthority;
let below: TestAuthority;

Deno.test.beforeAll(async () => {
  if (ignore) return;
  await using opening = new AsyncDisposableStack();
  backend = freeAddress();
  server = opening.use(await startPostgres({ tls: "off" }));
  const first = await createAuthority("Client CA");
  rotated = await createAuthority("Client CA 2");
  stranger = await createAuthority("Somebody's CA");
  namesake = await createAuthority("Client CA");
  below = await first.intermediate("Client CA, issuing");
  await makeTables(server);
  there = opening.use(
    await MtlsGateway.start({
      database: server.address,
      defaultPort: backend.port,
      authorities: [first, rotated],
    }),
  );
  await fill();
  stack = opening.move();
});
Deno.test.afterAll(async () => await stack?.disposeAsync());

/** Two organizations, with users, teams and hosts of their own, and mistakes of their operator. */
async function fill(): Promise<void> {
  await sql(
    server,
    `INSERT INTO users (user_id, org_id) VALUES
      ('alice', 'acme'), ('bob', 'acme'), ('dave', 'acme'), ('carol', 'globex'), ('müller', 'acme');
    INSERT INTO teams (team_id, org_id, user_ids) VALUES
      ('ops', 'acme', '{bob,carol}'), ('globex-ops', 'globex', '{alice,carol}'), ('empty', 'acme', '{}')`,
  );
  const address = hostPort(backend);
  await addHost(server, "host-1", { address, users: ["alice"] });
  await addHost(server, "team", { address, teams: ["ops"] });
  await addHost(server, "both", { address, users: ["alice"], teams: ["ops", "empty"] });
  await addHost(server, "nobody", { address });
  await addHost(server, "gone-team", { address, teams: ["no-such-team"] });
  await addHost(server, "foreign-team", { address, teams: ["globex-ops"] });
  await addHost(server, "empty-team", { address, teams: ["empty"] });
  await addHost(server, "globex", { address, org: "globex", users: ["alice", "carol"] });
  await addHost(server, "no-port", { address: "127.0.0.1", users: ["alice"] });
  await addHost(server, "garbage", { address: "not an address", users: ["alice"] });
  await addHost(server, "admin", { address: there.gateway.adminUrl.slice(7), users: ["alice"] });
  await addHost(server, "stranger", { address, users: ["mallory", "alice2"] });
  await addHost(server, "under_score", { address, users: ["alice"] });
  await addHost(server, "Upper", { address, users: ["alice"] });
}

interface Case {
  readonly name: string;
  readonly host?: string;
  /** `none`: the client shows no certificate. */
  readonly leaf?: LeafOptions | "none";
  readonly from?: () => TestAuthority;
  readonly options?: ConnectOptions;
  /** The audit line's reason; absent: the client gets in. */
  readonly refused?: string;
}

const id = (...uris: string[]): LeafOptions => ({ uris });

const cases: readonly Case[] = [
  { name: "a listed user" },
  { name: "a listed user, TLS 1.2", options: { version: "TLSv1.2" } },
  { name: "a listed user, TLS 1.3", options: { version: "TLSv1.3" } },
  { name: "a name in upper case", options: { serverName: `HOST-1.${DOMAIN.toUpperCase()}` } },
  { name: "a certificate of the second CA", from: () => rotated },
  { name: "a certificate of an intermediate CA, sent along", from: () => below },
  { name: "a member of a listed team", host: "team", leaf: id(spiffeId("bob")) },
  { name: "a listed user where a team is listed too", host: "both" },
  { name: "a team's member where users are listed too", host: "both", leaf: id(spiffeId("bob")) },
  { name: "a host without a port", host: "no-port" },
  { name: "a host with an underscore", host: "under_score" },
  {
    name: "a user of another organization at its own host",
    host: "globex",
    leaf: id(spiffeId("carol", "globex")),
  },
  {
    name: "DNS names beside the SPIFFE ID",
    leaf: { ...id(spiffeId("alice")), names: ["alice.example.com"] },
  },

  { name: "no certificate", leaf: "none", refused: "tls_no_certificate" },
  {
    name: "no certificate, TLS 1.2",
    leaf: "none",
    options: { version: "TLSv1.2" },
    refused: "tls_no_certificate",
  },
  { name: "an unknown CA", from: () => stranger, refused: "tls_bad_certificate" },
  {
    name: "an unknown CA, TLS 1.2",
    from: () => stranger,
    options: { version: "TLSv1.2" },
    refused: "tls_bad_certificate",
  },
  { name: "an unknown CA with a known name", from: () => namesake, refused: "tls_bad_certificate" },
  {
    name: "an expired certificate",
    leaf: { notAfter: new Date(Date.now() - 1000) },
    refused: "tls_bad_certificate",
  },
  {
    name: "a certificate of tomorrow",
    leaf: { notBefore: new Date(Date.now() + DAY_MS) },
    refused: "tls_bad_certificate",
  },
  { name: "a certificate for servers", leaf: { usage: "server" }, refused: "tls_bad_certificate" },
  { name: "a certificate without a purpose", leaf: { usage: "none" }, refused: "not_for_clients" },
  { name: "no SPIFFE ID", leaf: id(), refused: "no_spiffe_id" },
  { name: "two SPIFFE IDs", leaf: id(spiffeId("alice"), spiffeId("bob")), refused: "several_spiffe_ids" },
  {
    name: "the same SPIFFE ID twice",
    leaf: id(spiffeId("alice"), spiffeId("alice")),
    refused: "several_spiffe_ids",
  },
  {
    name: "a SPIFFE ID and another URI",
    leaf: id(spiffeId("alice"), "https://example.com/"),
    refused: "several_spiffe_ids",
  },
  {
    name: "another URI only",
    leaf: id("https://example.com/orgs/acme/users/alice"),
    refused: "no_spiffe_id",
  },
  {
    name: "another trust domain",
    leaf: id(spiffeId("alice", "acme", "example.org")),
    refused: "wrong_trust_domain",
  },
  {
    name: "a trust domain below ours",
    leaf: id(spiffeId("alice", "acme", "a.example.com")),
    refused: "wrong_trust_domain",
  },
  {
    name: "a trust domain that ours is below",
    leaf: id(spiffeId("alice", "acme", "example.com.evil.org")),
    refused: "wrong_trust_domain",
  },
  {
    name: "a trust domain with a port",
    leaf: id("spiffe://example.com:443/orgs/acme/users/alice"),
    refused: "malformed_spiffe_id",
  },
  {
    name: "a trust domain with a user",
    leaf: id("spiffe://x@example.com/orgs/acme/users/alice"),
    refused: "malformed_spiffe_id",
  },
  ...[
    "/orgs/acme/users/alice/",
    "/orgs/acme/users/alice/admin",
    "/orgs/acme/users/",
    "/orgs//users/alice",
    "/orgs/acme/users/al%69ce",
    "/orgs/acme/users/../users/alice",
    "/orgs/acme/users/alice?x=1",
    "/orgs/acme/users/alice#x",
    "/orgs/acme/Users/alice",
    "/users/alice",
    "",
  ].map((path) => ({
    name: `the path "${path}"`,
    leaf: id(`spiffe://example.com${path}`),
    refused: "malformed_spiffe_id",
  })),

  { name: "a host that there is not", host: "host-2", refused: "unknown_host" },
  { name: "the name of the self-test", host: "postern-self-test", refused: "unknown_host" },
  { name: "a host that is written in upper case in the database", host: "upper", refused: "unknown_host" },
  {
    name: "a user that there is not",
    leaf: id(spiffeId("mallory")),
    host: "stranger",
    refused: "unknown_user",
  },
  { name: "a user in another case", leaf: id(spiffeId("Alice")), refused: "unknown_user" },
  {
    name: "a user under the name of another organization",
    leaf: id(spiffeId("alice", "globex")),
    refused: "other_organization",
  },
  {
    name: "a user under the name of another organization, at its host",
    host: "globex",
    leaf: id(spiffeId("alice", "globex")),
    refused: "other_organization",
  },
  {
    name: "a host of another organization that lists the user",
    host: "globex",
    refused: "other_organization",
  },
  {
    name: "a user of another organization, listed in a team of the host's",
    host: "team",
    leaf: id(spiffeId("carol", "globex")),
    refused: "other_organization",
  },
  { name: "a user who is not listed", leaf: id(spiffeId("dave")), refused: "not_listed" },
  { name: "a user who is in no team", host: "team", leaf: id(spiffeId("dave")), refused: "not_listed" },
  { name: "a team of another organization that lists the user", host: "foreign-team", refused: "not_listed" },
  { name: "a team that there is not", host: "gone-team", refused: "not_listed" },
  { name: "a team of nobody", host: "empty-team", refused: "not_listed" },
  { name: "a host of nobody", host: "nobody", refused: "not_listed" },
  { name: "a host whose address is none", host: "garbage", refused: "bad_target" },
];

for (const { name, host = "host-1", leaf = {}, from, options, refused } of cases) {
  Deno.test({
    name: `${refused === undefined ? "gets in" : `is refused as ${refused}`}: ${name}`,
    ignore,
    async fn() {
      const certificate = leaf === "none" ? undefined : await (from?.() ?? there.authority).issue({
        uris: [spiffeId("alice")],
        usage: "client",
        ...leaf,
      });
      await using echo = startEcho(backend);
      const { isIn, error, line } = await there.audited(host, certificate, options);
      assert.equal(isIn, refused === undefined, error);
      assert.deepEqual([line["allowed"], line["reason"]], [refused === undefined, refused], error);
      assert.equal(line["connectId"], host);
      assert.equal(echo.accepted, refused === undefined ? 1 : 0, "what reaches the backend");
    },
  });
}

Deno.test({
  name: "the gateway's own admin side is no host, whatever the database says",
  ignore,
  async fn() {
    const { isIn } = await there.audited("admin", await there.issue("alice"));
    assert.equal(isIn, false);
  },
});

Deno.test({
  name: "names around the domain are nobody's",
  ignore,
  async fn() {
    const certificate = await there.issue("alice");
    const lines = there.lines().length;
    for (
      const serverName of [DOMAIN, `a.host-1.${DOMAIN}`, `host-1.${DOMAIN}.evil.com`, "host-1.example.com"]
    ) {
      assert.equal((await there.try("", certificate, { serverName })).isIn, false, serverName);
    }
    assert.equal(there.lines().length, lines, "and the plugin was not asked");
  },
});
