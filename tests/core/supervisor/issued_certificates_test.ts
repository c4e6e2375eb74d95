import assert from "node:assert/strict";
import { IssuedCertificates } from "../../../core/supervisor/issued_certificates.ts";
import type { CertificateMaterial } from "../../../core/tls/certificates.ts";

function material(...names: string[]): CertificateMaterial {
  return { names, certPem: "", keyPem: "", notAfter: 0, fingerprint: "", source: names.join() };
}

function issuer() {
  const asked: string[] = [];
  const issued = new IssuedCertificates((name) => {
    asked.push(name);
    return Promise.resolve(name.endsWith(".localhost") ? material(name) : undefined);
  });
  return { asked, issued };
}

Deno.test("a certificate is made once for a name, however many wait for it", async () => {
  const { asked, issued } = issuer();
  assert.deepEqual(await Promise.all(["a.localhost", "a.localhost"].map((name) => issued.ensure(name, []))), [
    true,
    true,
  ]);
  assert.equal(await issued.ensure("a.localhost", []), false);
  assert.deepEqual(asked, ["a.localhost"]);
  assert.deepEqual(issued.all().map(({ names }) => names), [["a.localhost"]]);
});

Deno.test("none is made for a name that a certificate of the config is for", async () => {
  const { asked, issued } = issuer();
  assert.equal(await issued.ensure("a.localhost", [material("b.localhost", "a.localhost")]), false);
  assert.deepEqual(asked, []);
  assert.equal(await issued.ensure("a.localhost", [material("*.localhost")]), true);
});

Deno.test("where none is to be had nothing changes, and the next claim asks again", async () => {
  const { asked, issued } = issuer();
  assert.equal(await issued.ensure("a.example.com", []), false);
  assert.equal(await issued.ensure("a.example.com", []), false);
  assert.deepEqual(asked.length, 2);
  assert.deepEqual(issued.all(), []);
  assert.equal(await new IssuedCertificates(undefined).ensure("a.localhost", []), false);
});

Deno.test("an issuer that fails is tried again at the next claim", async () => {
  let fails = true;
  const issued = new IssuedCertificates((name) =>
    fails ? Promise.reject(new Error("no")) : Promise.resolve(material(name))
  );
  await assert.rejects(() => issued.ensure("a.localhost", []), /no/);
  fails = false;
  assert.equal(await issued.ensure("a.localhost", []), true);
});
