import assert from "node:assert/strict";
import { maskField, maskText } from "../../../core/admin/mask.ts";

const TEXTS = [
  ["postgres://app:hunter2@10.0.0.5:5432/db refused", "postgres://***@10.0.0.5:5432/db refused"],
  ["connect with password=hunter2 failed", "connect with password=*** failed"],
  ["PGPASSWORD=hunter2, host=db", "PGPASSWORD=***, host=db"],
  ['clientSecret: "hunter2 and more"', "clientSecret: ***"],
  ["?api_key=hunter2&x=1", "?api_key=***&x=1"],
  ["sent Authorization: Bearer hunter2hunter2", "sent Authorization: Bearer ***"],
  ["-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY----- end", "*** end"],
  ["-----BEGIN EC PRIVATE KEY-----\nhunter2 cut off", "***"],
  ["database 10.0.0.5:5432 not reachable", "database 10.0.0.5:5432 not reachable"],
  ["https://example.com/a@b is no secret", "https://example.com/a@b is no secret"],
] as const;
for (const [text, masked] of TEXTS) {
  Deno.test(`maskText() writes ${JSON.stringify(masked)}`, () => assert.equal(maskText(text), masked));
}

Deno.test("maskText() goes through a long hostile text once", () => {
  for (const part of ["://a", "token   ", "-----BEGIN PRIVATE KEY-----", "Bearer ", "password=", "a.b-c:"]) {
    const started = performance.now();
    maskText(part.repeat(200_000 / part.length));
    assert.ok(performance.now() - started < 1_000, part);
  }
});

Deno.test("maskField() hides what has the name of a secret, and leaves counts and everything else", () => {
  const value = {
    password: "hunter2",
    clientSecret: "hunter2",
    list: [{ token: "hunter2" }],
    secrets: ["hunter2"],
    tokens: 5,
    reason: "to postgres://u:hunter2@db",
    name: "static",
  };
  assert.deepEqual(JSON.parse(JSON.stringify(value, maskField)), {
    password: "***",
    clientSecret: "***",
    list: [{ token: "***" }],
    secrets: "***",
    tokens: 5,
    reason: "to postgres://***@db",
    name: "static",
  });
});
