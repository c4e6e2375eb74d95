import assert from "node:assert/strict";
import { decodeControl, encodeControl } from "../../../plugins/ws-agent/control/codec.ts";
import { granted } from "../../support/permissions.ts";
import { reasonWords } from "../../../plugins/ws-agent/control/reason.ts";
import { bytesOf, SAMPLES } from "./control/samples.ts";

// What PROTOCOL.md says, held against the code.
const ignore = !granted("read");
const read = () => Deno.readTextFileSync(new URL("../../../plugins/ws-agent/PROTOCOL.md", import.meta.url));

Deno.test("PROTOCOL.md lists every control message with its code", { ignore }, () => {
  const listed = [...read().matchAll(/^\| 0x(\d\d) \| ([A-Z]\w+)/gm)].map(([, code, name = ""]) =>
    `${code} ${name.charAt(0).toLowerCase()}${name.slice(1)}`
  );
  const known = SAMPLES.map(({ hex, message }) => `${hex.slice(0, 2)} ${message.type}`);
  assert.ok(listed.length > 0);
  assert.deepEqual(listed, [...new Set(known)]);
});

Deno.test("PROTOCOL.md lists every word of a reason, and what it means", { ignore }, () => {
  const listed = [...read().matchAll(/^\| `([a-z_]+)` +\| .*\| (final|retry) \|$/gm)].map((
    [, word, course],
  ) => `${word} ${course}`);
  assert.ok(listed.length > 0);
  assert.deepEqual(listed, [...reasonWords()].map(([word, course]) => `${word} ${course}`));
});

Deno.test("PROTOCOL.md's example is what the codec writes", { ignore }, () => {
  const lines = [...read().matchAll(/^(?:agent|gateway) +([0-9a-f ]+?) ?(\{.*\})?$/gm)];
  const types = lines.map(([, hex = "", json = ""]) => {
    const bytes = bytesOf(hex + new TextEncoder().encode(json).toHex());
    const message = decodeControl(bytes);
    assert.deepEqual(encodeControl(message), bytes);
    return message.type;
  });
  assert.deepEqual(types, [
    "auth",
    "authOk",
    "registerService",
    "serviceRegistered",
    "heartbeat",
    "heartbeatAck",
    "disconnect",
  ]);
});
