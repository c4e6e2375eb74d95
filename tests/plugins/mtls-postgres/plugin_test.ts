import assert from "node:assert/strict";
import { isDecision } from "../../../core/data_plane/decision.ts";
import { type AccessRequest, DatabaseDown, type Verdict } from "../../../plugins/mtls-postgres/access.ts";
import { SELF_TEST_LISTENER, selfTestName } from "../../../plugins/mtls-postgres/names.ts";
import { type LeafOptions } from "../../support/certificates.ts";
import { tlsConnection } from "../connection.ts";
import { ALICE, Bench, ca, closed, denied, DOMAIN, FILES, leaf, otherCa, SECTION } from "./bench.ts";
import { settle } from "./fakes.ts";

Deno.test("a client is asked for a certificate of one of the CAs, and ALPN is for PostgreSQL only", async () => {
  await using bench = await Bench.start({ caCertificates: ["ca.pem", "two.pem"] }, {
    ...FILES,
    "two.pem": `text around\n${otherCa.certificate}\n${ca.certificate}`,
  });
  const decision = bench.route(tlsConnection(`host-1.${DOMAIN}`));
  assert.ok(isDecision(decision) && decision.kind === "terminate");
  assert.equal(decision.clientCertificate?.mode, "require");
  assert.equal(decision.clientCertificate?.ca.match(/BEGIN CERTIFICATE/g)?.length, 2, "each CA once");
  assert.equal(decision.then, undefined);
  assert.equal(decision.alpn, undefined);
  for (const [alpn, agreed] of [[["h2"], undefined], [["h2", "postgresql"], ["postgresql"]]] as const) {
    const tls = { serverName: `host-1.${DOMAIN}`, alpn, versions: [] };
    const asked = bench.route(tlsConnection("", { tls }));
    assert.ok(isDecision(asked) && asked.kind === "terminate");
    assert.deepEqual(asked.alpn, agreed);
  }
  assert.equal(bench.route(tlsConnection(`a.b.${DOMAIN}`)), undefined);
});

Deno.test("who is allowed is forwarded, with one audit line that names nobody's certificate", async () => {
  await using bench = await Bench.start({ proxyProtocol: "v2" });
  const { connection, decision } = await bench.enter(await leaf());
  assert.ok(decision?.kind === "forward");
  assert.equal(decision.to, "10.0.0.5:22");
  assert.equal(decision.keepOffAdmin, true);
  assert.equal(new TextDecoder().decode(decision.tlvs?.[0]?.value), ALICE);
  assert.deepEqual(bench.database.asked, [{ org: "acme", user: "alice", connectId: "host-1" }]);
  const again = await bench.enter(await leaf());
  assert.equal(again.decision?.kind, "forward");
  assert.equal(bench.database.asked.length, 1, "answered from memory");
  const lines = bench.context.lines("access");
  assert.deepEqual(lines[0], {
    connection: connection.id,
    source: "192.0.2.7:40000",
    spiffeId: ALICE,
    org: "acme",
    user: "alice",
    connectId: "host-1",
    target: "10.0.0.5:22",
    allowed: true,
    cached: false,
    ms: 0,
  });
  assert.deepEqual(lines.map(({ cached }) => cached), [false, true]);
  assert.equal(bench.metric("mtls_open_connections"), 2);
  bench.close(connection);
  bench.close(again.connection);
  assert.equal(bench.metric("mtls_open_connections"), 0);
});

const refusals: readonly {
  readonly name: string;
  readonly leaf?: LeafOptions | "none";
  readonly answer?: (request: AccessRequest) => Verdict | Error;
  readonly reason: string;
  readonly code: string;
  readonly metric: "auth_failures_total" | "authz_failures_total";
}[] = [
  ...(["unknown_host", "unknown_user", "other_organization", "not_listed"] as const).map((reason) => ({
    name: `the database says ${reason}`,
    answer: () => denied(reason),
    reason: "forbidden",
    code: reason,
    metric: "authz_failures_total" as const,
  })),
  {
    name: "the database is down",
    answer: () => new DatabaseDown("gone"),
    reason: "unavailable",
    code: "database_down",
    metric: "authz_failures_total",
  },
  {
    name: "the address is garbage",
    answer: () => ({ kind: "allowed", address: "not an address" }),
    reason: "unavailable",
    code: "bad_target",
    metric: "authz_failures_total",
  },
  {
    name: "no certificate came out of the handshake",
    leaf: "none",
    reason: "bad_certificate",
    code: "tls_no_certificate",
    metric: "auth_failures_total",
  },
  {
    name: "the certificate has no SPIFFE ID",
    leaf: { uris: [] },
    reason: "bad_certificate",
    code: "no_spiffe_id",
    metric: "auth_failures_total",
  },
  {
    name: "the trust domain is another",
    leaf: { uris: ["spiffe://example.org/orgs/acme/users/alice"] },
    reason: "bad_certificate",
    code: "wrong_trust_domain",
    metric: "auth_failures_total",
  },
];

for (const { name, leaf: options, answer, reason, code, metric } of refusals) {
  Deno.test(`nobody gets in when ${name}: told as ${reason}, audited and counted as ${code}`, async () => {
    await using bench = await Bench.start();
    if (answer) bench.database.answer = answer;
    const der = options === "none" ? undefined : await leaf(options);
    const { decision, connection } = await bench.enter(der);
    assert.deepEqual(decision, { kind: "reject", reason, detail: code });
    const lines = bench.context.lines("access");
    assert.deepEqual(lines.map(({ allowed, reason }) => [allowed, reason]), [[false, code]]);
    assert.equal(bench.metric(metric, { reason: code, plugin: "mtls-postgres" }), 1);
    assert.equal(bench.metric("mtls_open_connections"), 0);
    bench.close(connection);
    assert.equal(bench.context.lines("access").length, 1, "one line for one decision");
  });
}

Deno.test("a handshake that fails for want of a good certificate is audited, any other is not", async () => {
  await using bench = await Bench.start();
  const results = ["tls_no_certificate", "tls_bad_certificate", "tls_client_alert", "client_closed", "ok"];
  for (const result of results) {
    const connection = tlsConnection(`host-1.${DOMAIN}`);
    bench.route(connection);
    bench.close(connection, result);
    bench.close(connection, result);
  }
  const told = bench.context.lines("access").map((
    { reason, connectId, allowed },
  ) => [reason, connectId, allowed]);
  assert.deepEqual(told, [
    ["tls_no_certificate", "host-1", false],
    ["tls_bad_certificate", "host-1", false],
  ]);
});

Deno.test("what the gateway knows of a certificate that it did not accept is in the audit line", async () => {
  await using bench = await Bench.start();
  const connection = tlsConnection(`host-1.${DOMAIN}`);
  await bench.route(connection);
  const detail = "The client certificate has expired on Jan  1 00:00:00 2026 GMT";
  const { id } = connection;
  bench.plugin.closed({
    connection: id,
    bytesIn: 0,
    bytesOut: 0,
    ms: 1,
    result: "tls_bad_certificate",
    detail,
  });
  assert.equal(bench.context.lines("access")[0]?.["detail"], detail);
});

Deno.test("a source that fails too often is refused before any handshake, others are not", async () => {
  await using bench = await Bench.start({ failuresPerMinute: 2 });
  bench.database.answer = () => denied("not_listed");
  const der = await leaf();
  for (let i = 0; i < 2; i++) assert.ok((await bench.enter(der)).decision?.kind === "reject");
  const refused = bench.route(tlsConnection(`host-1.${DOMAIN}`));
  assert.deepEqual(refused, { kind: "reject", reason: "over_limit", detail: "over_limit" });
  assert.equal(bench.database.asked.length, 1, "cached, and then not asked");
  bench.database.answer = () => ({ kind: "allowed", address: "10.0.0.5" });
  const other = await bench.enter(await leaf({ uris: [ALICE.replace("alice", "bob")] }), {
    source: "192.0.2.8",
  });
  assert.equal(other.decision?.kind, "forward");
  await bench.clock.pass(31_000);
  assert.equal((await bench.enter(der)).decision?.kind, "forward");
  assert.equal(bench.metric("mtls_over_limit_total"), 1);
});

Deno.test("the gateway's own proof that nobody gets in is nobody's failure, and is never over a limit", async () => {
  await using bench = await Bench.start({ failuresPerMinute: 1 });
  for (let i = 0; i < 5; i++) {
    const connection = tlsConnection(selfTestName(DOMAIN), { listener: SELF_TEST_LISTENER });
    const decision = bench.route(connection);
    assert.ok(isDecision(decision) && decision.kind === "terminate");
    assert.equal(decision.clientCertificate?.mode, "require");
    bench.close(connection, "tls_no_certificate");
  }
  assert.deepEqual(bench.context.lines("access"), []);
  assert.equal((await bench.enter(undefined)).decision?.kind, "reject");
  assert.equal(bench.context.lines("access").length, 1);
});

Deno.test("a database that is down is nobody's failure", async () => {
  await using bench = await Bench.start({ failuresPerMinute: 1 });
  bench.database.set({ up: false, reason: "refused" });
  const der = await leaf();
  for (let i = 0; i < 3; i++) {
    assert.deepEqual((await bench.enter(der)).decision, {
      kind: "reject",
      reason: "unavailable",
      detail: "database_down",
    });
  }
  assert.equal(bench.plugin.status().ready, false);
  assert.match(bench.plugin.status().reason ?? "", /refused/);
  bench.database.set({ up: true, listening: false });
  assert.equal((await bench.enter(der)).decision?.kind, "forward");
  assert.equal(bench.plugin.status().ready, true);
});

Deno.test("who leaves while the database is asked is not counted as open", async () => {
  await using bench = await Bench.start();
  const gate = Promise.withResolvers<void>();
  bench.database.gate = gate.promise;
  const entering = bench.enter(await leaf(), { id: "leaving" });
  await settle();
  bench.plugin.closed(closed("leaving", "client_closed"));
  gate.resolve();
  assert.deepEqual((await entering).decision, { kind: "reject", reason: "timeout", detail: "client_left" });
  assert.equal(bench.metric("mtls_open_connections"), 0);
});

Deno.test("status names the CAs, the database and what is open, and no secret", async () => {
  await using bench = await Bench.start({ database: { ...SECTION.database, password: "hunter22" } });
  await bench.enter(await leaf());
  const status = bench.plugin.status();
  assert.deepEqual(status, structuredClone(status));
  const text = JSON.stringify([status, bench.plugin.routes(), bench.plugin.metrics(), bench.context.logged]);
  assert.match(text, /CN=First CA/);
  assert.doesNotMatch(text, /hunter22|BEGIN|PRIVATE/);
});
