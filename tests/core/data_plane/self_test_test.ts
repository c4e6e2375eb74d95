import assert from "node:assert/strict";
import { proveMutualTls } from "../../../core/data_plane/self_test.ts";
import type { ConnectionInfo, Decision, Plugin, Terminate } from "../../../core/plugin/contract.ts";
import { createRogueCertificate } from "../../../core/tls/rogue.ts";
import { createAuthority } from "../../support/certificates.ts";
import { startSink } from "../../support/echo.ts";
import { TestPlane, type TestPlaneOptions } from "../../support/plane.ts";
import { testCertificate } from "./clients.ts";
import { recording } from "./recording.ts";

const NAME = "app.example.com";
const PLUGIN = "plugin-0";

async function policy(more: Partial<Terminate> = {}, ca?: string): Promise<Terminate> {
  const clients = ca ?? (await createAuthority("Clients")).certificate;
  return { kind: "terminate", clientCertificate: { mode: "require", ca: clients }, ...more };
}

/** What the proof for `app.example.com` comes to, and the gateway whose proof it is. */
async function prove(plugins: readonly Plugin[], options: TestPlaneOptions = {}, name = NAME) {
  const { material } = await testCertificate();
  const gateway = new TestPlane({ plugins, certificates: [material], ...options });
  const fault = await proveMutualTls(gateway.plane, PLUGIN, [name], await createRogueCertificate());
  return { gateway, fault, [Symbol.asyncDispose]: () => gateway[Symbol.asyncDispose]() };
}

Deno.test("proveMutualTls() is content when everybody is refused for the certificate, by TLS 1.2 and 1.3", async () => {
  const decision = await policy();
  const { plugin, asked, closed } = recording(() => decision);
  await using proof = await prove([plugin]);
  assert.equal(proof.fault, undefined);
  assert.deepEqual(closed.map(({ result }) => result), [
    ...["tls_no_certificate", "tls_bad_certificate", "tls_no_certificate", "tls_bad_certificate"],
    ...["tls_no_certificate", "tls_bad_certificate", "tls_no_certificate", "tls_bad_certificate"],
  ]);
  const kinds = asked.map((
    { protocol, tls, listener },
  ) => [listener, protocol, tls?.serverName, tls?.versions]);
  const [v13, v12] = [0x0304, 0x0303];
  assert.deepEqual(
    kinds,
    ["tls", "tls", "tls", "tls", "postgres", "postgres", "postgres", "postgres"].map(
      (protocol, i) => ["self-test", protocol, NAME, [i % 4 < 2 ? v13 : v12]],
    ),
  );
  const sources = new Set(asked.map(({ source }) => source.address));
  assert.ok(sources.size > 1, "a plugin that counts failures by source would refuse them for that");
  assert.ok([...sources].every((source) => source.startsWith("127.")));
});

Deno.test("proveMutualTls() leaves no trace in the gateway's own metrics, log and limits", async () => {
  const decision = await policy();
  const limits = {
    maxConnections: 1,
    maxConnectionsPerSource: 1,
    maxAcceptRatePerSource: 1,
    prefaceTimeoutMs: 1,
  };
  await using proof = await prove([{ route: () => decision }], { limits });
  assert.equal(proof.fault, undefined);
  assert.deepEqual(proof.gateway.events, []);
  assert.deepEqual([proof.gateway.plane.size, proof.gateway.plane.limits.open], [0, 0]);
  for (const name of ["rejected_total", "connections_total"]) {
    assert.equal(proof.gateway.counted(name), 0, name);
  }
});

Deno.test("proveMutualTls() is content with a policy that takes TLS 1.3 only", async () => {
  const decision = await policy({ minVersion: "TLSv1.3" });
  const { plugin, closed } = recording(() => decision);
  await using proof = await prove([plugin]);
  assert.equal(proof.fault, undefined);
  assert.equal(closed.filter(({ result }) => result === "tls_version").length, 4);
});

for (
  const { name, answer, reason } of [
    {
      name: "one that asks nobody for a certificate",
      answer: (): Terminate => ({ kind: "terminate" }),
      reason: /^a client without a certificate \(TLSv1\.3\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that asks nobody and has decided already",
      answer: (): Terminate => ({ kind: "terminate", then: { kind: "reject", reason: "forbidden" } }),
      reason: /^a client without a certificate \(TLSv1\.3\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that only asks for a certificate",
      answer: async (_: ConnectionInfo, ca: string) => {
        const { clientCertificate = { ca } } = await policy({}, ca);
        return {
          kind: "terminate",
          clientCertificate: { ...clientCertificate, mode: "request" },
        } as Decision;
      },
      reason: /^a client without a certificate \(TLSv1\.3\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that passes TLS on",
      answer: (_: ConnectionInfo, _ca: string, to: string): Decision => ({ kind: "forward", to }),
      reason: /^a client without a certificate \(TLSv1\.3\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that passes TLS on to nobody",
      answer: (): Decision => ({ kind: "forward", to: "127.0.0.1:1" }),
      reason: /^a client without a certificate \(TLSv1\.3\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that takes the stream itself",
      answer: (): Decision => ({ kind: "handle" }),
      reason: /^a client without a certificate \(TLSv1\.3\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that requires a certificate, but not behind PostgreSQL's SSLRequest",
      answer: async ({ protocol }: ConnectionInfo, ca: string) =>
        protocol === "postgres" ? { kind: "terminate" } as const : await policy({}, ca),
      reason: /^a client without a certificate \(TLSv1\.3, PostgreSQL\) was let in by plugin "plugin-0"$/,
    },
    {
      name: "one that requires a certificate of TLS 1.3 only",
      answer: async ({ tls }: ConnectionInfo, ca: string) =>
        tls?.versions.includes(0x0304) ? await policy({}, ca) : { kind: "terminate" } as const,
      reason: /^a client without a certificate \(TLSv1\.2\) was let in by plugin "plugin-0"$/,
    },
  ]
) {
  Deno.test(`proveMutualTls() finds a policy open: ${name}`, async () => {
    await using upstream = startSink();
    const { certificate: ca } = await createAuthority("Clients");
    const plugin: Plugin = {
      route: (connection) => answer(connection, ca, upstream.target) as Promise<Decision>,
      async handle(stream, _connection, { signal }) {
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
        stream.close();
      },
    };
    await using proof = await prove([plugin]);
    assert.equal(proof.fault?.kind, "open");
    assert.equal(proof.fault.name, NAME);
    assert.match(proof.fault.reason, reason);
  });
}

Deno.test("proveMutualTls() finds a policy open that trusts the CA of the test, and so anybody's", async () => {
  const rogue = await createRogueCertificate();
  const decision = await policy({}, rogue.cert);
  const { material } = await testCertificate();
  await using gateway = new TestPlane({ plugins: [{ route: () => decision }], certificates: [material] });
  assert.deepEqual(await proveMutualTls(gateway.plane, PLUGIN, [NAME], rogue), {
    kind: "open",
    name: NAME,
    reason: 'a client with the certificate of an unknown CA (TLSv1.3) was let in by plugin "plugin-0"',
  });
});

const REFUSES = (reason: "forbidden" | "over_limit"): Plugin => ({
  route: () => ({ kind: "reject", reason, detail: "because" }),
});

for (
  const { name, plugins, at = NAME, reason } of [
    {
      name: "there is no certificate for the name",
      plugins: async () => [{ route: await always() }],
      at: "db.connect.example.com",
      reason: 'there is no certificate for it; add one for "*.connect.example.com" under tls.certificates',
    },
    {
      name: "no plugin takes the name",
      plugins: () => [{ route: () => undefined }],
      reason: "a client without a certificate (TLSv1.3) was refused for another reason: " +
        "unknown_name (no plugin takes it)",
    },
    {
      name: "the plugin turns everybody away",
      plugins: () => [REFUSES("over_limit")],
      reason: "a client without a certificate (TLSv1.3) was refused for another reason: over_limit (because)",
    },
    {
      name: "the plugin throws",
      plugins: () => [{
        route: () => {
          throw new Error("no luck today");
        },
      }],
      reason: "a client without a certificate (TLSv1.3) was refused for another reason: " +
        "plugin_failed (no luck today)",
    },
    {
      name: "its list of CAs is empty",
      plugins: () => [{
        route: () => ({ kind: "terminate", clientCertificate: { mode: "require", ca: "" } }) as const,
      }],
      reason: "a client without a certificate (TLSv1.3) was refused for another reason: " +
        "plugin_failed (Its answer is not a decision)",
    },
    {
      name: "there is no CA in its list of CAs",
      plugins: () => [{
        route: () => ({ kind: "terminate", clientCertificate: { mode: "require", ca: "none" } }) as const,
      }],
      reason: "a client without a certificate (TLSv1.3) was refused for another reason: " +
        "plugin_failed (No CA certificate to verify clients against)",
    },
    {
      name: "a plugin that is asked before takes the name",
      plugins: async () => [{ route: () => undefined }, { route: await always() }],
      reason:
        'a client without a certificate (TLSv1.3) was refused by plugin "plugin-1", which is asked before it',
    },
  ] as readonly {
    name: string;
    plugins: () => readonly Plugin[] | Promise<readonly Plugin[]>;
    at?: string;
    reason: string;
  }[]
) {
  Deno.test(`proveMutualTls() says what is in the way when ${name}`, async () => {
    await using proof = await prove(await plugins(), {}, at);
    assert.deepEqual(proof.fault, { kind: "unproven", name: at, reason });
  });
}

async function always(): Promise<() => Decision> {
  const decision = await policy();
  return () => decision;
}
