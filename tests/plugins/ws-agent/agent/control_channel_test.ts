import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { ControlChannel, Refused } from "../../../../plugins/ws-agent/agent/control_channel.ts";
import { encodeControl } from "../../../../plugins/ws-agent/control/codec.ts";
import type { ControlMessage } from "../../../../plugins/ws-agent/control/messages.ts";
import { pipe } from "../../../support/pipe.ts";
import { clientIdOf } from "../../../support/test_agent.ts";

const TOKEN = "planted-token-4711";

/** A channel, and what the gateway says on it. */
function open(): {
  channel: ControlChannel;
  say: (message: ControlMessage) => Promise<void>;
  hangUp: () => void;
} {
  const [here, there] = pipe();
  return {
    channel: new ControlChannel(here),
    say: (message) => writeAll(there, encodeControl(message)),
    hangUp: () => there.close(),
  };
}

Deno.test("who asks after the end hears how it ended, and does not wait", async () => {
  const { channel, say, hangUp } = open();
  await say({ type: "disconnect", reason: "going_away: Elsewhere" });
  const { farewell } = await channel.ended;
  assert.deepEqual(farewell, { word: "going_away", text: "Elsewhere" });
  const rejected = { code: "dial-failed", message: "Elsewhere" };
  await assert.rejects(channel.authenticate(TOKEN, clientIdOf(1)), rejected);
  await assert.rejects(channel.register({ name: "a", protocol: "tcp" }), rejected);
  hangUp();
});

Deno.test("a gateway that repeats the token does not get it into what is shown and logged", async () => {
  const { channel, say, hangUp } = open();
  const asked = channel.authenticate(TOKEN, clientIdOf(1));
  await say({ type: "authFail", reason: `bad_token: "${TOKEN}" is not known, ${TOKEN}` });
  await assert.rejects(asked, (error) => {
    assert.ok(error instanceof Refused);
    assert.equal(error.message, '"***" is not known, ***');
    assert.deepEqual(error.reason, { word: "bad_token", text: error.message });
    return true;
  });
  await say({ type: "disconnect", reason: TOKEN });
  assert.deepEqual(await channel.ended, { farewell: { text: "***" } });
  hangUp();
});

const UNASKED: readonly (readonly [first: ControlMessage | undefined, then: ControlMessage])[] = [
  [undefined, { type: "serviceRegistered", serviceId: clientIdOf(1), name: "a", url: "https://a" }],
  [undefined, { type: "connect", serviceId: clientIdOf(1), connectionId: clientIdOf(2), clientAddress: "x" }],
  [undefined, { type: "auth", token: "t", clientId: clientIdOf(1) }],
  [{ type: "authOk", tunnelId: clientIdOf(1) }, { type: "authOk", tunnelId: clientIdOf(1) }],
  [{ type: "authOk", tunnelId: clientIdOf(1) }, { type: "authFail", reason: "bad_token: x" }],
  [{ type: "authOk", tunnelId: clientIdOf(1) }, { type: "registerFail", reason: "held: x" }],
];

for (const [first, then] of UNASKED) {
  Deno.test(`${then.type} that was not asked for${first ? ` after ${first.type}` : ""} ends the channel`, async () => {
    const { channel, say, hangUp } = open();
    const asked = channel.authenticate(TOKEN, clientIdOf(1));
    asked.catch(() => {});
    if (first) await say(first);
    await say(then);
    assert.match((await channel.ended).fault ?? "", /was not asked for$/);
    if (first) await asked;
    else await assert.rejects(asked, { code: "dial-failed" });
    hangUp();
  });
}
