import assert from "node:assert/strict";
import { argumentsFor, environmentFor } from "../../../plugins/cloudflared/command_line.ts";

Deno.test("the command line is cloudflared's, and names no secret", () => {
  assert.deepEqual(argumentsFor("cft-db.example.com", 45_000), [
    ...["access", "tcp", "--hostname", "cft-db.example.com", "--url", "localhost:45000"],
  ]);
});

Deno.test("the environment has a home of its own that cannot be, the token, and nothing that leads to a browser", () => {
  assert.deepEqual(environmentFor(45_000, { id: "1.access", secret: "abc" }), {
    POSTERN_GATEWAY_PID: String(Deno.pid),
    HOME: "/dev/null/cloudflared-45000",
    TUNNEL_SERVICE_TOKEN_ID: "1.access",
    TUNNEL_SERVICE_TOKEN_SECRET: "abc",
  });
  assert.deepEqual(Object.keys(environmentFor(1, undefined)).sort(), ["HOME", "POSTERN_GATEWAY_PID"]);
});
