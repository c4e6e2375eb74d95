import assert from "node:assert/strict";
import type { CertificateMaterial } from "../../../core/tls/certificates.ts";
import { CertificateStore } from "../../../core/tls/contexts.ts";

function material(source: string, ...names: string[]): CertificateMaterial {
  return { names, certPem: source, keyPem: `key of ${source}`, notAfter: 0, fingerprint: source, source };
}

const cases: [name: string, expected: string | undefined][] = [
  ["a.example.com", "exact"],
  ["b.example.com", "wildcard"],
  ["x.b.example.com", undefined],
  ["example.com", undefined],
  ["other.org", undefined],
];

for (const [name, expected] of cases) {
  Deno.test(`The certificate for ${name} is ${expected ?? "none"}`, () => {
    const store = new CertificateStore();
    store.replace([material("wildcard", "*.example.com"), material("exact", "a.example.com")]);
    assert.equal(store.lookup(name)?.certPem, expected);
  });
}

Deno.test("Of two certificates for the same name the first one of the config serves it", () => {
  const store = new CertificateStore();
  store.replace([material("first", "a.example.com"), material("second", "a.example.com", "b.example.com")]);
  assert.equal(store.lookup("a.example.com")?.certPem, "first");
  assert.equal(store.lookup("b.example.com")?.certPem, "second");
});

Deno.test("replace() drops names that are gone, and keeps the object of a certificate that stays", () => {
  const store = new CertificateStore();
  store.replace([material("old", "old.example.com"), material("same", "same.example.com")]);
  const same = store.lookup("same.example.com");
  store.replace([material("same", "same.example.com"), material("new", "new.example.com")]);
  assert.equal(store.lookup("old.example.com"), undefined);
  assert.equal(store.lookup("new.example.com")?.certPem, "new");
  assert.equal(store.lookup("same.example.com"), same);
});
