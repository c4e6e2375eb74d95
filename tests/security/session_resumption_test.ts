/** No session resumption across identities: a ticket of one name is none for another, also under one certificate. */
import assert from "node:assert/strict";
import { bytes } from "../core/data_plane/preface/samples.ts";
import { createAuthority } from "../support/certificates.ts";
import { startSource } from "../support/echo.ts";
import { writePem } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import { TestPlane } from "../support/plane.ts";
import { hostPort, run, temporaryFolder } from "../support/processes.ts";
import type { PemPair } from "../support/openssl.ts";
import { certificateFor, staticPlane } from "./static_plane.ts";

const ignore = !hasProgram("openssl");
const A = "a.example.com", B = "b.example.com";

interface Visit {
  readonly name: string;
  readonly version: "-tls1_2" | "-tls1_3";
  /** Where the session is kept. */
  readonly save?: string;
  readonly resume?: string;
  readonly certificate?: PemPair;
}

/** @returns What the service said, and whether the session was resumed. */
async function visit(
  gateway: TestPlane,
  { name, version, save, resume, certificate }: Visit,
): Promise<{ said: string; session: string }> {
  await using folder = await temporaryFolder();
  const args = ["s_client", "-connect", hostPort({ hostname: "127.0.0.1", port: gateway.port })];
  args.push("-servername", name, version, "-ign_eof");
  if (save !== undefined) args.push("-sess_out", save);
  if (resume !== undefined) args.push("-sess_in", resume);
  if (certificate) {
    args.push("-cert", await writePem(folder.path, "cert", certificate.certificate));
    args.push("-key", await writePem(folder.path, "key", certificate.key));
  }
  const { stdout, stderr } = await run("openssl", { args, input: "hello\n" });
  return {
    said: /this is [ab]/.exec(stdout)?.[0] ?? `nothing: ${stderr}`,
    session: /^(New|Reused), (?:TLS|\(NONE\))/m.exec(stdout)?.[1] ?? "none",
  };
}

for (const version of ["-tls1_2", "-tls1_3"] as const) {
  for (const shared of [true, false]) {
    Deno.test({
      name: `resume from name A to name B, ${shared ? "one certificate" : "two certificates"}, ${version}`,
      ignore,
      async fn() {
        await using a = startSource(bytes("this is a"));
        await using b = startSource(bytes("this is b"));
        const certificates = shared
          ? [(await certificateFor("*.example.com")).material]
          : [(await certificateFor(A)).material, (await certificateFor(B)).material];
        await using gateway = await staticPlane([
          { sni: A, terminate: true, to: a.target },
          { sni: B, terminate: true, to: b.target },
        ], { certificates });
        await using folder = await temporaryFolder();
        const session = `${folder.path}/session`;

        const first = await visit(gateway, { name: A, version, save: session });
        assert.deepEqual(first, { said: "this is a", session: "New" });
        const again = await visit(gateway, { name: A, version, resume: session });
        assert.deepEqual(again, { said: "this is a", session: "Reused" }, "tickets do work");
        const crossed = await visit(gateway, { name: B, version, resume: session });
        assert.deepEqual(crossed, { said: "this is b", session: "New" });
      },
    });
  }

  Deno.test({
    name: `resume from a name that asks for no client certificate to one that requires one, ${version}`,
    ignore,
    async fn() {
      await using a = startSource(bytes("this is a"));
      await using b = startSource(bytes("this is b"));
      const clients = await createAuthority("Clients");
      const client = await clients.issue({ commonName: "somebody" });
      const { material } = await certificateFor("*.example.com");
      await using gateway = new TestPlane({
        certificates: [material],
        plugins: [{
          route: ({ tls }) =>
            tls?.serverName === A ? { kind: "terminate", then: { kind: "forward", to: a.target } } : {
              kind: "terminate",
              clientCertificate: { mode: "require", ca: clients.certificate },
              then: { kind: "forward", to: b.target },
            },
        }],
      });
      await using folder = await temporaryFolder();
      const session = `${folder.path}/session`;
      await visit(gateway, { name: A, version, save: session });
      for (const name of [B, "c.example.com"]) {
        const { said } = await visit(gateway, { name, version, resume: session });
        assert.match(said, /^nothing/, "the ticket of a name that is open to all opens nothing");
      }
      assert.equal(b.accepted, 0);

      await visit(gateway, { name: B, version, save: session, certificate: client });
      assert.equal(b.accepted, 1);
      const crossed = await visit(gateway, { name: "c.example.com", version, resume: session });
      assert.match(crossed.said, /^nothing/, "nor does the ticket of another name that requires one");
      assert.equal(b.accepted, 1);
    },
  });
}
