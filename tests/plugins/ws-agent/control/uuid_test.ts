import assert from "node:assert/strict";
import { isUuid, uuidFromBytes, uuidToBytes } from "../../../../plugins/ws-agent/control/uuid.ts";
import { A, A_HEX } from "./samples.ts";

Deno.test("a UUID and its bytes", () => {
  assert.equal(uuidToBytes(A).toHex(), A_HEX);
  assert.equal(uuidFromBytes(Uint8Array.fromHex(A_HEX)), A);
  const random = crypto.randomUUID();
  assert.equal(uuidFromBytes(uuidToBytes(random)), random);
});

Deno.test("what is no UUID", () => {
  for (const text of ["", A.toUpperCase(), A_HEX, `${A} `, `{${A}}`, A.replace("0", "g")]) {
    assert.ok(!isUuid(text), text);
    assert.throws(() => uuidToBytes(text), RangeError);
  }
  assert.throws(() => uuidFromBytes(new Uint8Array(15)), RangeError);
});
