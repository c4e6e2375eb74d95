import assert from "node:assert/strict";
import { ALERT, tlsAlert } from "../../../core/tls/alert.ts";

Deno.test("tlsAlert() makes one fatal alert in one record", () => {
  assert.equal(tlsAlert(ALERT.unrecognizedName).toHex(), "15030300020270");
  assert.equal(tlsAlert(ALERT.internalError).toHex(), "15030300020250");
});
