import assert from "node:assert/strict";
import { loadX509 } from "../../../core/tls/x509.ts";
import { createAuthority, type TestAuthority } from "../../support/certificates.ts";
import { tlsConnection } from "../connection.ts";
import { ALICE, Bench, ca, closed, denied, DOMAIN, FILES, leaf, otherCa, SECTION } from "./bench.ts";
import { settle } from "./fakes.ts";

Deno.test("access that is gone ends what is open: at once when the database tells, else at the next recheck", async () => {
  for (const told of [true, false]) {
    await using bench = await Bench.start({ recheckInterval: "30s" });
    const { connection } = await bench.enter(await leaf());
    await bench.clock.pass(31_000);
    assert.equal(bench.database.asked.length, 2, "asked again, not from memory");
    assert.deepEqual(bench.context.ended, []);

    bench.database.answer = () => denied("not_listed");
    if (told) bench.database.events?.changed();
    await bench.clock.pass(told ? 0 : 28_000);
    assert.deepEqual(bench.context.ended, told ? [[connection.id, "access_revoked"]] : []);
    await bench.clock.pass(2000);
    assert.deepEqual(bench.context.ended[0], [connection.id, "access_revoked"]);
    const lines = bench.context.lines("access_ended");
    assert.deepEqual(lines.map(({ reason, detail, user, target }) => [reason, detail, user, target]), [
      ["access_revoked", "not_listed", "alice", "10.0.0.5:22"],
    ]);
    assert.equal(bench.metric("mtls_connections_ended_total", { reason: "access_revoked" }), 1);
    bench.close(connection);
    await bench.clock.pass(31_000);
    assert.equal(bench.context.lines("access_ended").length, 1);
  }
});

Deno.test("who is turned out does not come back by what is remembered from before", async () => {
  await using bench = await Bench.start({ recheckInterval: "1s", cacheTtl: "5m" });
  const der = await leaf();
  const { connection } = await bench.enter(der);
  bench.database.answer = () => denied("not_listed");
  await bench.clock.pass(1000);
  assert.deepEqual(bench.context.ended[0], [connection.id, "access_revoked"]);
  assert.equal((await bench.enter(der)).decision?.kind, "reject");
});

Deno.test("a burst of changes is a recheck or two, and the first is not put off", async () => {
  await using bench = await Bench.start();
  await bench.enter(await leaf());
  for (let i = 0; i < 1000; i++) bench.database.events?.changed();
  await settle();
  assert.equal(bench.database.asked.length, 2);
  await bench.clock.pass(99);
  assert.equal(bench.database.asked.length, 2);
  await bench.clock.pass(1000);
  assert.ok(bench.database.asked.length <= 3, `${bench.database.asked.length} questions`);
});

Deno.test("500 connections by 100 ways in are rechecked with 100 questions, a few at once", async () => {
  await using bench = await Bench.start({ cacheTtl: "0s" });
  const leaves = await Promise.all(
    Array.from({ length: 5 }, (_, i) => leaf({ uris: [ALICE.replace("alice", `user-${i}`)] })),
  );
  for (let i = 0; i < 500; i++) {
    await bench.enter(leaves[i % 5], { host: `host-${i % 100}` });
  }
  assert.equal(bench.metric("mtls_open_connections"), 500);
  const before = bench.database.asked.length;
  bench.database.mostAtOnce = 0;
  bench.database.events?.changed();
  await bench.clock.pass(10);
  assert.equal(bench.database.asked.length - before, 100);
  assert.ok(bench.database.mostAtOnce <= 4, `${bench.database.mostAtOnce} at once`);
});

Deno.test("a change while somebody is let in by the answer from before it is seen", async () => {
  await using bench = await Bench.start();
  const gate = Promise.withResolvers<void>();
  bench.database.gate = gate.promise;
  const entering = bench.enter(await leaf());
  await settle();
  bench.database.answer = () => denied("not_listed");
  bench.database.events?.changed(); // nothing is open yet: this recheck finds nobody
  await settle();
  gate.resolve();
  const { connection, decision } = await entering;
  assert.equal(decision?.kind, "forward", "by an answer that was right when it was given");
  await bench.clock.pass(200);
  assert.deepEqual(bench.context.ended[0], [connection.id, "access_revoked"]);
});

Deno.test("who is let in after a recheck has asked is not ended by its older answer", async () => {
  await using bench = await Bench.start({ cacheTtl: "0s" });
  const der = await leaf();
  const first = await bench.enter(der);
  const gate = Promise.withResolvers<void>();
  bench.database.gate = gate.promise;
  bench.database.answer = () => denied("not_listed");
  bench.database.events?.changed();
  await settle();
  bench.database.gate = Promise.resolve();
  bench.database.answer = () => ({ kind: "allowed", address: "10.0.0.5" });
  const second = await bench.enter(der);
  assert.equal(second.decision?.kind, "forward");
  gate.resolve();
  await settle();
  assert.deepEqual(bench.context.ended, [[first.connection.id, "access_revoked"]]);
});

Deno.test("a host that has moved ends its connections, one that is written otherwise does not", async () => {
  await using bench = await Bench.start();
  const { connection } = await bench.enter(await leaf());
  bench.database.answer = () => ({ kind: "allowed", address: "10.0.0.5:22" });
  bench.database.events?.changed();
  await bench.clock.pass(200);
  assert.deepEqual(bench.context.ended, []);
  bench.database.answer = () => ({ kind: "allowed", address: "10.0.0.6" });
  bench.database.events?.changed();
  await bench.clock.pass(200);
  assert.deepEqual(bench.context.ended, [[connection.id, "target_changed"]]);
});

Deno.test("while the database is down nobody is ended, and when it is back everybody is asked about", async () => {
  await using bench = await Bench.start();
  const { connection } = await bench.enter(await leaf());
  bench.database.answer = () => denied("unknown_user");
  bench.database.set({ up: false, reason: "gone" });
  bench.database.events?.changed();
  await bench.clock.pass(61_000);
  assert.deepEqual(bench.context.ended, []);
  bench.database.set({ up: true, listening: false });
  await bench.clock.pass(100);
  assert.deepEqual(bench.context.ended, [[connection.id, "access_revoked"]]);
});

Deno.test("a certificate that expires ends its connections, at that moment", async () => {
  await using bench = await Bench.start({ recheckInterval: "1h" });
  const soon = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000);
  await bench.enter(await leaf());
  const { connection } = await bench.enter(await leaf({ notAfter: soon }));
  await bench.enter(await leaf());
  await bench.clock.pass(soon.getTime() - bench.clock.wall() - 1);
  assert.deepEqual(bench.context.ended, []);
  await bench.clock.pass(100);
  assert.deepEqual(bench.context.ended, [[connection.id, "certificate_expired"]]);
});

Deno.test("a reload that takes a CA away ends whom it vouched for; one that adds a CA ends nobody", async () => {
  const both = { caCertificates: ["ca.pem", "two.pem"] };
  const files = { ...FILES, "two.pem": otherCa.certificate };
  await using bench = await Bench.start();
  const first = await bench.enter(await leaf());
  await bench.reload(both, files);
  const second = await bench.enter(await leaf({ uris: [ALICE.replace("alice", "bob")] }, otherCa));
  assert.equal(second.decision?.kind, "forward");
  await bench.clock.pass(10);
  assert.deepEqual(bench.context.ended, []);
  await bench.reload({ caCertificates: ["two.pem"] }, files);
  await bench.clock.pass(10);
  assert.deepEqual(bench.context.ended, [[first.connection.id, "ca_removed"]]);
  assert.equal(bench.opened.length, 1, "the database stays open");
});

Deno.test("a handshake that was begun under a CA that is gone by its end lets nobody in", async () => {
  await using bench = await Bench.start();
  const connection = tlsConnection(`host-1.${DOMAIN}`);
  assert.ok(bench.route(connection));
  await bench.reload({}, { "ca.pem": otherCa.certificate });
  const terminated = { version: "TLSv1.3", clientCertificates: [await leaf()] };
  const decision = await bench.route({ ...connection, terminated });
  assert.deepEqual(decision, { kind: "reject", reason: "bad_certificate", detail: "ca_removed" });
});

Deno.test("a CA that is taken away while the database is asked lets nobody in any more", async () => {
  await using bench = await Bench.start();
  const gate = Promise.withResolvers<void>();
  bench.database.gate = gate.promise;
  const entering = bench.enter(await leaf());
  await settle();
  await bench.reload({}, { "ca.pem": otherCa.certificate });
  gate.resolve();
  assert.deepEqual((await entering).decision, {
    kind: "reject",
    reason: "bad_certificate",
    detail: "ca_removed",
  });
});

Deno.test("what the database said is forgotten when it tells of a change", async () => {
  await using bench = await Bench.start();
  const der = await leaf();
  bench.close((await bench.enter(der)).connection);
  await bench.enter(der);
  assert.equal(bench.metric("mtls_cache_misses_total"), 1);
  bench.database.events?.changed();
  await bench.enter(der);
  assert.equal(bench.metric("mtls_cache_misses_total"), 2);
});

Deno.test("a CA of the same name with another key vouches for nobody of the old one", async () => {
  const namesake = await createAuthority("First CA");
  await using bench = await Bench.start();
  const { connection } = await bench.enter(await leaf());
  await bench.reload({}, { "ca.pem": namesake.certificate });
  await bench.clock.pass(10);
  assert.deepEqual(bench.context.ended, [[connection.id, "ca_removed"]]);
});

/** A list of `from` that is good for a day, with these certificates on it. */
async function revocationList(from: TestAuthority, ...revoked: readonly Uint8Array[]): Promise<string> {
  const x509 = await loadX509();
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const der = Uint8Array.fromBase64(from.key.replaceAll(/-----[^-]+-----|\s/g, ""));
  const list = await x509.X509CrlGenerator.create({
    issuer: new x509.X509Certificate(from.certificate).subjectName,
    thisUpdate: new Date(Date.now() - 60_000),
    nextUpdate: new Date(Date.now() + 86_400_000),
    entries: revoked.map((leaf) => ({
      serialNumber: new x509.X509Certificate(leaf.toBase64()).serialNumber,
      revocationDate: new Date(),
      reason: x509.X509CrlReason.keyCompromise,
    })),
    signingAlgorithm: algorithm,
    signingKey: await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]),
  });
  return list.toString("pem").replaceAll("N CRL--", "N X509 CRL--").replaceAll("D CRL--", "D X509 CRL--");
}

Deno.test("a new revocation list ends whom it names, and keeps them out", async () => {
  const lists = { crls: ["ca.crl"] };
  const der = await leaf();
  await using bench = await Bench.start(lists, { ...FILES, "ca.crl": await revocationList(ca) });
  const { connection, decision } = await bench.enter(der);
  assert.equal(decision?.kind, "forward");
  const other = await bench.enter(await leaf());
  await bench.reload(lists, { ...FILES, "ca.crl": await revocationList(ca, der) });
  await bench.clock.pass(10);
  assert.deepEqual(bench.context.ended, [[connection.id, "certificate_revoked"]]);
  assert.equal(other.decision?.kind, "forward");
  const again = await bench.enter(der);
  assert.deepEqual(again.decision, { kind: "reject", reason: "bad_certificate", detail: "revoked" });
  assert.deepEqual((bench.plugin.status().details?.["crls"] as { revoked: number }[])[0]?.revoked, 1);
});

Deno.test("a revocation list of another CA, or none at all, is refused with its name", async () => {
  for (const text of [await revocationList(otherCa), "", "no list"]) {
    await assert.rejects(Bench.start({ crls: ["ca.crl"] }, { ...FILES, "ca.crl": text }), /"ca\.crl"/);
  }
});

Deno.test("a reload with a bad file fails, names the file, and leaves all as it was", async () => {
  const plain = (await ca.issue({ uris: [ALICE] })).certificate;
  for (
    const text of [
      "",
      "no certificate",
      plain,
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ]
  ) {
    await using bench = await Bench.start();
    await assert.rejects(bench.reload({}, { "ca.pem": text }), /"ca\.pem"/);
    await assert.rejects(Bench.start({}, { "ca.pem": text }), /"ca\.pem"/);
    assert.equal((await bench.enter(await leaf())).decision?.kind, "forward");
  }
});

Deno.test("a reload with another password opens the database anew, and forgets what the old one said", async () => {
  await using bench = await Bench.start();
  const der = await leaf();
  await bench.enter(der);
  await bench.reload({ database: { ...SECTION.database, password: "new" } });
  assert.deepEqual(bench.opened.map(({ disposed }) => disposed), [1, 0]);
  await bench.enter(der);
  assert.ok((bench.opened[1]?.asked.length ?? 0) >= 1);
  assert.equal(
    bench.metric("mtls_queries_total"),
    bench.opened.reduce((sum, { queries }) => sum + queries, 0),
  );
});

Deno.test("connections of an instance that has crashed are taken over, rechecked at once, and ended as any other", async () => {
  await using bench = await Bench.start();
  const good = await leaf();
  const stranger = await leaf({}, otherCa);
  const nobody = await leaf({ uris: [] });
  const adopt = (id: string, certificate?: Uint8Array, host = "host-1") =>
    tlsConnection(`${host}.${DOMAIN}`, {
      id,
      ...(certificate && { terminated: { version: "TLSv1.3", clientCertificates: [certificate] } }),
    });
  bench.database.answer = ({ connectId }) =>
    connectId === "host-2" ? denied("not_listed") : { kind: "allowed", address: "10.0.0.5" };
  bench.plugin.adopt([
    adopt("stays", good),
    adopt("lost access", good, "host-2"),
    adopt("of another CA", stranger),
    adopt("without an identity", nobody),
    adopt("in its handshake"),
    adopt("gone", good),
  ]);
  bench.plugin.closed(closed("gone", "ok"));
  await bench.clock.pass(200);
  assert.deepEqual(bench.context.ended.toSorted(), [
    ["lost access", "access_revoked"],
    ["of another CA", "ca_removed"],
    ["without an identity", "identity_refused"],
  ]);
  assert.equal(bench.metric("mtls_open_connections"), 2);
  bench.database.answer = () => denied("not_listed");
  bench.database.events?.changed();
  await bench.clock.pass(200);
  assert.ok(bench.context.ended.some(([id, why]) => id === "stays" && why === "access_revoked"));
  const terminated = { version: "TLSv1.3", clientCertificates: [stranger] };
  const late = await bench.route({ ...adopt("in its handshake"), terminated });
  assert.ok(late?.kind === "reject" && late.detail === "ca_removed", "nothing is known of its handshake");
});
