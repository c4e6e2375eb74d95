import assert from "node:assert/strict";
import { Refused } from "../../../../plugins/ws-agent/agent/control_channel.ts";
import { endsForGood, lostForGood } from "../../../../plugins/ws-agent/agent/refusal.ts";
import { parseReason } from "../../../../plugins/ws-agent/control/reason.ts";
import { farewellOf } from "../../../../plugins/ws-agent/session/end_reason.ts";

const REFUSALS: readonly (readonly [reason: string, lost: string | undefined])[] = [
  ["bad_token: This token is not known; try again later", "This token is not known; try again later"],
  ["superseded: A newer run of this agent has taken over", "A newer run of this agent has taken over"],
  ["Token already in use", "Token already in use"],
  ["from_the_future: No", "No"],
  ["revoked: ", "The gateway refuses this token"],
  ["", "The gateway refuses this token"],
  ["blocked: For good", undefined],
  ["keys_unavailable: The gateway can't check JWTs at the moment", undefined],
];

for (const [reason, lost] of REFUSALS) {
  Deno.test(`AuthFail ${JSON.stringify(reason)}: ${lost === undefined ? "asked again" : "for good"}`, () => {
    assert.equal(lostForGood(new Refused("authFail", parseReason(reason))), lost);
  });
}

Deno.test("what is no refusal is tried again", () => {
  assert.equal(lostForGood(new Error("bad_token: This token is not known")), undefined);
});

Deno.test("of all goodbyes, only that of a newer run is one for good", () => {
  const ends = (farewell: string | undefined) =>
    endsForGood(farewell === undefined ? undefined : parseReason(farewell));
  assert.ok(ends(farewellOf("superseded")));
  assert.equal(ends("A newer run of this agent has taken over"), false, "text alone means nothing");
  for (const reason of ["drained", "closed_by_admin", "token_expired", "idle_timeout", "replaced"] as const) {
    assert.equal(ends(farewellOf(reason)), false);
  }
  assert.equal(ends(farewellOf("protocol_error", "superseded: I'm not")), false);
});
