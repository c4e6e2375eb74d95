import assert from "node:assert/strict";
import { GatewayError } from "../../../core/errors.ts";
import { SYSTEM_CLOCK } from "../../../plugins/ws-agent/clock.ts";
import type { Directory, Found } from "../../../plugins/ws-agent/directory.ts";
import { PublicStreams } from "../../../plugins/ws-agent/public_streams.ts";
import { Waiting } from "../../../plugins/ws-agent/waiting.ts";
import { pipe } from "../../support/pipe.ts";
import { connection } from "../connection.ts";

const KEY = "name:demo.example.com";
const NEVER = new AbortController().signal;

/** Streams through a directory that says what the test wants. */
function streamsBy(find: () => Found, openOn: (waiting: Waiting) => Promise<never>, grace = 0) {
  const waiting = new Waiting(SYSTEM_CLOCK);
  const streams = new PublicStreams({
    directory: { choose: find, find } as unknown as Directory,
    waiting,
    plane: { openOn: () => openOn(waiting) },
    clock: SYSTEM_CLOCK,
    reconnectGraceMs: () => grace,
    mayServe: () => true,
    throttle: (stream) => stream,
  });
  return { waiting, open: () => streams.open({ key: KEY, connection: connection(), signal: NEVER }) };
}

const THERE: Found = { kind: "there", node: "data-plane-1", protocol: "http" };

function here(): Found {
  const [stream] = pipe();
  return {
    kind: "here",
    session: { openStream: () => stream, voice: { streamHeader: () => new Uint8Array(3) } },
    service: { id: "00000000-0000-0000-0000-000000000001", protocol: "http" },
  } as unknown as Found;
}

Deno.test("a change that comes while another data plane is asked is not missed", async () => {
  let found: Found = THERE;
  let asked = 0;
  const { open, waiting } = streamsBy(() => found, (waiting) => {
    if (++asked === 2) {
      found = here();
      waiting.wake(KEY); // nobody is left to tell of it later
    }
    return Promise.reject(new GatewayError("dial-failed", "It has just gone"));
  });
  (await open()).close();
  assert.equal(asked, 2);
  assert.equal(waiting.size, 0);
});

Deno.test("a data plane that cannot be reached is asked again only when something has changed, and not for ever", async () => {
  let asked = 0;
  const { open, waiting } = streamsBy(() => THERE, () => {
    asked++;
    return Promise.reject(new GatewayError("dial-failed", "It is gone"));
  });
  await assert.rejects(open(), { code: "dial-timeout" });
  assert.equal(asked, 2);
  assert.equal(waiting.size, 0);
});

Deno.test("what is no matter of an agent that is gone is told as it is", async () => {
  const { open, waiting } = streamsBy(() => THERE, () => Promise.reject(new TypeError("A fault of ours")));
  await assert.rejects(open(), TypeError);
  assert.equal(waiting.size, 0);
});
