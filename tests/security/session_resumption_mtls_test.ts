/**
 * No session resumption across identities, with the real `mtls-postgres`: a session counts for who showed its
 * certificate, at the name where that was, and every connection is decided anew.
 */
import assert from "node:assert/strict";
import { bytes } from "../core/data_plane/preface/samples.ts";
import { createAuthority } from "../support/certificates.ts";
import { startSource } from "../support/echo.ts";
import { type PemPair, writePem } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import { hostPort, run, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { DOMAIN, MtlsPlane, type MtlsPlaneOptions } from "./mtls_plane.ts";

const ignore = !hasProgram("openssl");
const SAID = "this is the host";
const ONE = `host-1.${DOMAIN}`, TWO = `host-2.${DOMAIN}`;

interface Visit {
  readonly name?: string;
  readonly certificate?: PemPair | undefined;
  readonly save?: boolean;
  readonly resume?: boolean;
}

interface Visited {
  readonly isIn: boolean;
  readonly session: "New" | "Reused" | "none";
  /** Of the audit line that it made. */
  readonly user: unknown;
  readonly reason: unknown;
}

interface Setting extends AsyncDisposable {
  readonly gateway: MtlsPlane;
  readonly alice: PemPair;
  readonly bob: PemPair;
  visit(visit: Visit): Promise<Visited>;
}

/** A gateway that asks the database each time, and one session that is kept. */
async function begin(version: string, options: Partial<MtlsPlaneOptions> = {}): Promise<Setting> {
  await using stack = new AsyncDisposableStack();
  const host = stack.use(startSource(bytes(SAID)));
  const folder = stack.use(await temporaryFolder()).path;
  const section = { cacheTtl: "0s" };
  const gateway = stack.use(await MtlsPlane.start({ to: host.target, section, ...options }));
  const owned = stack.move();
  const visit = async ({ name = ONE, certificate, save, resume }: Visit): Promise<Visited> => {
    const args = ["s_client", "-connect", hostPort({ hostname: "127.0.0.1", port: gateway.port })];
    args.push("-servername", name, version, "-ign_eof");
    if (save) args.push("-sess_out", `${folder}/session`);
    if (resume) args.push("-sess_in", `${folder}/session`);
    if (certificate) {
      args.push("-cert", await writePem(folder, "cert", certificate.certificate));
      args.push("-key", await writePem(folder, "key", certificate.key));
    }
    const before = gateway.lines().length;
    const { stdout, stderr } = await run("openssl", { args, input: "hello\n" });
    await until(() => gateway.lines().length > before, { what: `an audit line: ${stderr}` });
    assert.equal(gateway.lines().length, before + 1, "one line for one connection");
    const { user, reason } = gateway.lines().at(-1) ?? {};
    const session = /^(New|Reused), (?:TLS|\(NONE\))/m.exec(stdout)?.[1];
    const isNew = session === "New" ? "New" : "none";
    return { isIn: stdout.includes(SAID), session: session === "Reused" ? session : isNew, user, reason };
  };
  const [alice, bob] = await Promise.all([gateway.issue("alice"), gateway.issue("bob")]);
  return { gateway, alice, bob, visit, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const IN = { isIn: true, reason: undefined };

for (const version of ["-tls1_2", "-tls1_3"] as const) {
  const test = (what: string, fn: (setting: Setting) => Promise<void>) =>
    Deno.test({
      name: `${what}, ${version}`,
      ignore,
      async fn() {
        await using setting = await begin(version);
        await fn(setting);
      },
    });

  test("a session that is resumed is its owner's, and is decided anew", async ({ visit, alice, gateway }) => {
    assert.deepEqual(await visit({ certificate: alice, save: true }), {
      ...IN,
      session: "New",
      user: "alice",
    });
    const again = await visit({ certificate: alice, resume: true });
    assert.deepEqual(again, { ...IN, session: "Reused", user: "alice" }, "tickets do work");
    assert.equal(gateway.database.queries, 2);
  });

  test("a session of one identity beside the certificate of another is never half of each", async (setting) => {
    const { visit, alice, bob, gateway } = setting;
    await visit({ certificate: alice, save: true });
    const mixed = await visit({ certificate: bob, resume: true });
    // Who has alice's session has her key, or had it: it is hers, or it counts for nothing.
    assert.equal(mixed.user, mixed.session === "Reused" ? "alice" : "bob");
    assert.equal(gateway.database.asked.at(-1)?.user, mixed.user);
  });

  test("a session of one name opens no other, neither without a certificate nor for another", async (setting) => {
    const { visit, alice, bob } = setting;
    await visit({ certificate: alice, save: true });
    const none = await visit({ name: TWO, resume: true });
    assert.deepEqual([none.isIn, none.reason], [false, "tls_no_certificate"]);
    assert.notEqual(none.session, "Reused");
    const other = await visit({ name: TWO, certificate: bob, resume: true });
    assert.deepEqual(other, { ...IN, session: "New", user: "bob" });
  });

  test("a session does not outlive what the database says", async ({ visit, alice, gateway }) => {
    await visit({ certificate: alice, save: true });
    gateway.database.answer = () => ({ kind: "denied", reason: "not_listed" });
    for (const certificate of [alice, undefined]) {
      const { isIn, reason } = await visit({ certificate, resume: true });
      assert.equal(isIn, false);
      assert.equal(reason, certificate ? "not_listed" : reason);
    }
  });

  test("a session does not outlive the CA of its certificate", async ({ visit, alice, gateway }) => {
    await visit({ certificate: alice, save: true });
    await gateway.reload((await createAuthority("Another CA")).certificate);
    for (const certificate of [alice, undefined]) {
      const { isIn, reason } = await visit({ certificate, resume: true });
      assert.deepEqual([isIn, reason], [false, "tls_bad_certificate"]);
    }
  });

  test("a session of a CA that is still there opens what it did, also when another CA has come", async (setting) => {
    const { visit, alice, gateway } = setting;
    await visit({ certificate: alice, save: true });
    const other = await createAuthority("Another CA");
    await gateway.reload(`${gateway.authority.certificate}\n${other.certificate}`);
    const { isIn, user } = await visit({ certificate: alice, resume: true });
    assert.deepEqual([isIn, user], [true, "alice"]);
  });

  test("a session does not outlive its certificate", async ({ visit, gateway }) => {
    const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000);
    const certificate = await gateway.issue("alice", { notAfter });
    const first = await visit({ certificate, save: true });
    assert.equal(first.isIn, true);
    await until(() => Date.now() > notAfter.getTime(), { what: "the certificate to expire" });
    for (const shown of [certificate, undefined]) {
      assert.equal((await visit({ certificate: shown, resume: true })).isIn, false);
    }
  });
}
