import assert from "node:assert/strict";
import { Refused } from "../../../../plugins/ws-agent/agent/control_channel.ts";
import { isSuperseded, lostForGood } from "../../../../plugins/ws-agent/agent/refusal.ts";
import { farewellOf } from "../../../../plugins/ws-agent/session/end_reason.ts";

const FOR_GOOD = [
  "This token is not known",
  "The JWT can't be read",
  "The signature of the JWT is not good",
  "A newer run of this agent has taken over",
  "",
];
const FOR_NOW = [
  "Too many failed attempts from your address; try again later",
  "Too many attempts from your address at once",
  "The gateway can't check JWTs at the moment",
  "The gateway can't check this token",
  "The gateway can't ask whether this is allowed at the moment",
];

for (const reason of FOR_GOOD) {
  Deno.test(`${JSON.stringify(reason)} is the end for good`, () => {
    assert.ok(lostForGood(new Refused(reason)));
  });
}

for (const reason of FOR_NOW) {
  Deno.test(`${JSON.stringify(reason)} is for now: it is asked again`, () => {
    assert.equal(lostForGood(new Refused(reason)), undefined);
  });
}

Deno.test("what is no refusal is tried again", () => {
  assert.equal(lostForGood(new Error("This token is not known")), undefined);
});

Deno.test("of all goodbyes, only that of a newer run is one for good", () => {
  assert.ok(isSuperseded(farewellOf("superseded")));
  for (const reason of ["drained", "closed_by_admin", "token_expired", "idle_timeout", "replaced"] as const) {
    assert.equal(isSuperseded(farewellOf(reason)), false);
  }
  assert.equal(isSuperseded(undefined), false);
});
