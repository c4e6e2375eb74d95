import assert from "node:assert/strict";
import { childEnvironment } from "../../../core/plugin/mod.ts";

Deno.test(
  "childEnvironment() names this process, and needs no permission for it",
  { permissions: "none" },
  () => {
    assert.deepEqual(childEnvironment(), { POSTERN_GATEWAY_PID: String(Deno.pid) });
  },
);
