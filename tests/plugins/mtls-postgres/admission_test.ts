import assert from "node:assert/strict";
import fc from "fast-check";
import type { ConnectionInfo, Decision } from "../../../core/plugin/contract.ts";
import { DatabaseDown, type Verdict } from "../../../plugins/mtls-postgres/access.ts";
import { AUTHENTICATION_FAILURES, AUTHORIZATION_FAILURES } from "../../../plugins/mtls-postgres/outcome.ts";
import { tlsConnection } from "../connection.ts";
import { Bench, denied, DOMAIN, FILES, leaf, otherCa } from "./bench.ts";
import { settle } from "./fakes.ts";

Deno.test("a fault of the plugin's own lets nobody in, is audited as one, and is nobody's failure", async () => {
  await using bench = await Bench.start({ failuresPerMinute: 1 });
  bench.database.answer = () => new TypeError("something is undefined");
  const der = await leaf();
  for (let i = 0; i < 2; i++) {
    const { decision } = await bench.enter(der);
    assert.deepEqual(decision, { kind: "reject", reason: "unavailable", detail: "internal_error" });
  }
  const lines = bench.context.lines("access").map(({ user, reason, detail }) => [user, reason, detail]);
  const line = ["alice", "internal_error", "something is undefined"];
  assert.deepEqual(lines, [line, line]);
  assert.equal(bench.context.lines("internal_error").length, 2);
  assert.equal(bench.metric("authz_failures_total", { reason: "internal_error" }), 2);
});

Deno.test("who got past the limit before the others of its source had failed is stopped before the database", async () => {
  await using bench = await Bench.start({ failuresPerMinute: 2 });
  bench.database.answer = () => denied("unknown_host");
  const terminated = { version: "TLSv1.3", clientCertificates: [await leaf()] };
  const connections = Array.from({ length: 50 }, (_, i) => tlsConnection(`host-${i}.${DOMAIN}`));
  for (const connection of connections) {
    assert.ok((await bench.route(connection))?.kind === "terminate");
  }
  for (const connection of connections) await bench.route({ ...connection, terminated });
  assert.equal(bench.database.asked.length, 2);
  const over = bench.context.lines("access").filter(({ reason }) => reason === "over_limit");
  assert.equal(over.length, 48);
  assert.deepEqual([over[0]?.["user"], over[0]?.["allowed"]], ["alice", false]);
});

const SETTINGS = { failuresPerMinute: 6, cacheTtl: "1s" };

/** One attempt to get in, and what happens to it. */
interface Story {
  readonly certificate: "good" | "nobody's" | "none" | "stranger's";
  readonly answer: "allowed" | "denied" | "down" | "bad address" | "fault";
  /** Whether the database answers only after what happens meanwhile. */
  readonly slow: boolean;
  /** When the client leaves, and by what result the gateway tells of it. */
  readonly leaves: "in the handshake" | "while it is decided" | "when it is in" | "never";
  readonly result: string;
  readonly meanwhile: "nothing" | "change" | "reload" | "other CA" | "down";
}

const story: fc.Arbitrary<Story> = fc.record({
  certificate: fc.constantFrom("good", "good", "good", "nobody's", "none", "stranger's"),
  answer: fc.constantFrom("allowed", "allowed", "denied", "down", "bad address", "fault"),
  slow: fc.boolean(),
  leaves: fc.constantFrom("in the handshake", "while it is decided", "when it is in", "never"),
  result: fc.constantFrom("ok", "client_closed", "tls_no_certificate", "tls_bad_certificate", "abandoned"),
  meanwhile: fc.constantFrom("nothing", "change", "reload", "other CA", "down"),
});

const ANSWERS: Readonly<Record<Story["answer"], Verdict | Error>> = {
  "allowed": { kind: "allowed", address: "10.0.0.5" },
  "denied": denied("not_listed"),
  "down": new DatabaseDown("gone"),
  "bad address": { kind: "allowed", address: "no address" },
  "fault": new TypeError("fault"),
};

Deno.test("whatever happens to clients, each decision has one audit line and one count, and nobody is forgotten", async () => {
  const certificates = {
    "good": await leaf(),
    "nobody's": await leaf({ uris: ["https://example.com/"] }),
    "none": undefined,
    "stranger's": await leaf({}, otherCa),
  };
  const play = async (stories: readonly Story[]) => {
    await using bench = await Bench.start(SETTINGS);
    const inside: ConnectionInfo[] = [];
    let expected = 0;
    for (const [i, one] of stories.entries()) {
      bench.database.answer = () => ANSWERS[one.answer];
      const connection = tlsConnection(`host-${i % 3}.${DOMAIN}`);
      const first = await bench.route(connection);
      if (first?.kind === "reject") {
        expected++;
        bench.close(connection, first.reason);
        continue;
      }
      if (one.leaves === "in the handshake") {
        bench.close(connection, one.result);
        if (one.result.startsWith("tls_")) expected++;
        continue;
      }
      const der = certificates[one.certificate];
      const terminated = { version: "TLSv1.3", ...(der && { clientCertificates: [der] }) };
      const gate = Promise.withResolvers<void>();
      if (one.slow) bench.database.gate = gate.promise;
      const isUp = bench.database.state.up;
      const deciding = bench.route({ ...connection, terminated }) as Promise<Decision>;
      if (one.leaves === "while it is decided") bench.close(connection, "client_closed");
      await happen(bench, one.meanwhile);
      gate.resolve();
      const decision = await deciding;
      bench.database.gate = Promise.resolve();
      expected++;
      if (one.leaves === "while it is decided") {
        assert.equal(decision.kind, "reject", "nobody is there to be let in");
      } else if (decision.kind === "reject" || one.leaves === "when it is in") {
        bench.close(connection, decision.kind === "reject" ? decision.reason : "ok");
      } else {
        inside.push(connection);
      }
      const lines = bench.context.lines("access").filter(({ connection: id }) => id === connection.id);
      assert.deepEqual(lines.map(({ allowed }) => allowed), [decision.kind === "forward"]);
      assert.equal(isUp || decision.kind === "reject", true, "fail closed");
    }
    await settle();
    const lines = bench.context.lines("access");
    assert.equal(lines.length, expected);
    for (const failure of [...AUTHENTICATION_FAILURES, ...AUTHORIZATION_FAILURES]) {
      const told = lines.filter(({ reason }) => reason === failure).length;
      assert.equal(countOf(bench, failure), told, failure);
    }
    assert.equal(bench.metric("mtls_open_connections"), inside.length);
    for (const connection of inside) bench.close(connection);
    assert.equal(bench.metric("mtls_open_connections"), 0);
  };
  await fc.assert(fc.asyncProperty(fc.array(story, { maxLength: 12 }), play), { numRuns: 60 });
});

async function happen(bench: Bench, what: Story["meanwhile"]): Promise<void> {
  if (what === "change") bench.database.events?.changed();
  if (what === "down") bench.database.set({ up: false, reason: "gone" });
  if (what === "reload") await bench.reload(SETTINGS);
  if (what === "other CA") await bench.reload(SETTINGS, { ...FILES, "ca.pem": otherCa.certificate });
  await settle();
}

function countOf(bench: Bench, failure: string): number {
  const samples = bench.plugin.metrics().filter(({ name, labels }) =>
    /^auth[nz]?_failures_total$/.test(name) && labels["reason"] === failure
  );
  return samples.reduce((sum, { value }) => sum + value, 0);
}
