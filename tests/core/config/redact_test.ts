import assert from "node:assert/strict";
import { isSecretKey, redact } from "../../../core/config/redact.ts";

const secret = [
  "token",
  "TOKEN",
  "adminToken",
  "admin_token",
  "client-secret",
  "clientSecret",
  "password",
  "dbPassword",
];
secret.push(
  "passphrase",
  "privateKey",
  "private_key",
  "apiKey",
  "api-keys",
  "keyMaterial",
  "serviceToken",
  "tokens",
);
const open = [
  "to",
  "key",
  "cert",
  "address",
  "tokenTtl",
  "passwordFile",
  "failedAuthPerMinute",
  "keyboard",
  "tokenizer",
];
for (const key of secret) Deno.test(`isSecretKey("${key}")`, () => assert.equal(isSecretKey(key), true));
for (const key of open) {
  Deno.test(`isSecretKey("${key}") is false`, () => assert.equal(isSecretKey(key), false));
}

Deno.test("redact() hides secrets at any depth and keeps the rest", () => {
  const value = {
    admin: { address: "127.0.0.1:9090", token: "s3cret" },
    tls: { certificates: [{ cert: "c.pem", key: "k.pem" }] },
    plugins: [{
      section: { serviceToken: { id: "s3cret", secret: ["s3cret"] }, jwt: { secret: 5, issuer: "me" } },
    }],
    database: "postgres://user:s3cr@et@db:5432/name?x=1",
    absent: { token: undefined, password: null },
  };
  assert.deepEqual(redact(value), {
    admin: { address: "127.0.0.1:9090", token: "***" },
    tls: { certificates: [{ cert: "c.pem", key: "k.pem" }] },
    plugins: [{ section: { serviceToken: "***", jwt: { secret: "***", issuer: "me" } } }],
    database: "postgres://user:***@db:5432/name?x=1",
    absent: { token: undefined, password: null },
  });
  assert.equal(value.admin.token, "s3cret", "the original is left alone");
});

Deno.test("redact() shows where tokens are kept, and nothing that may be one", () => {
  const shown = ["tokens.yaml", ".postern/tokens.yaml", "/etc/postern/agents.yml", "a.json"];
  for (const tokens of shown) assert.deepEqual(redact({ tokens }), { tokens });
  for (
    const tokens of ["s3cret", "pst_abc", "a.b.c", "user:s3cret@host.json", "two words.yaml", ["tokens.yaml"]]
  ) {
    assert.deepEqual(redact({ tokens }), { tokens: "***" }, String(tokens));
  }
  assert.deepEqual(redact({ token: "s3cret.yaml" }), { token: "***" });
});
