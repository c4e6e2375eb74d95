import assert from "node:assert/strict";
import { DatabaseDown } from "../../../plugins/mtls-postgres/access.ts";
import { verdictOf } from "../../../plugins/mtls-postgres/query.ts";
import { parseTarget } from "../../../plugins/mtls-postgres/target.ts";
import { ACCESS_CHANNEL, SCHEMA } from "../../../plugins/mtls-postgres/schema.ts";

for (
  const { name, rows } of [
    { name: "no row", rows: [] },
    { name: "two rows", rows: [{ verdict: "allowed", address: "a" }, { verdict: "allowed", address: "b" }] },
    { name: "a row of another shape", rows: [{}] },
    { name: "allowed to nowhere", rows: [{ verdict: "allowed", address: null }] },
    { name: "a word that is none of the reasons", rows: [{ verdict: "maybe", address: "a" }] },
    { name: "a truth value", rows: [{ verdict: true, address: "a" }] },
  ]
) {
  Deno.test(`verdictOf() takes ${name} for no answer`, () => {
    assert.throws(() => verdictOf(rows), DatabaseDown);
  });
}

Deno.test("an address beside a denial is not passed on", () => {
  const verdict = verdictOf([{ verdict: "not_listed", address: "10.0.0.1" }]);
  assert.deepEqual(verdict, { kind: "denied", reason: "not_listed" });
});

Deno.test("an address longer than any is not passed on, and stays no address", () => {
  const verdict = verdictOf([{ verdict: "allowed", address: `10.0.0.1${" ".repeat(1_000_000)}` }]);
  assert.ok(verdict.kind === "allowed" && verdict.address.length < 100);
  assert.equal(parseTarget(verdict.address, 22), undefined);
});

Deno.test("the schema's triggers notify on the channel that is listened to", () => {
  assert.ok(SCHEMA.includes(`pg_notify('${ACCESS_CHANNEL}', '')`));
});
