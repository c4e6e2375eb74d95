import assert from "node:assert/strict";
import { explain } from "../../../plugins/cloudflared/explain.ts";
import { connection, tlsConnection } from "../connection.ts";
import { parse } from "./harness.ts";

const SECRETS = { id: "planted-id", secret: "planted-secret" };
const config = parse({ names: ["*.example.com", "*.customer.example.com"], serviceToken: SECRETS });

Deno.test("explain shows the host name, the command and the decision, and no secret", () => {
  const told = explain(config, tlsConnection("db.customer.example.com"));
  const text = told.steps.join("\n");
  assert.match(text, /^The name \*\.customer\.example\.com is for "db\.customer\.example\.com"$/m);
  assert.match(text, /cloudflared access tcp --hostname cft-db-customer\.example\.com --url localhost:45000/);
  assert.match(text, /The port is picked when it starts, from 45000 to 46000/);
  assert.doesNotMatch(JSON.stringify(told), /planted/);
  assert.deepEqual(told.decision, {
    ...{ kind: "forward", to: "127.0.0.1:45000", proxyProtocol: "pass", retryMs: 1000 },
  });
});

Deno.test("explain says why a connection is left to others, or refused", () => {
  const other = explain(config, tlsConnection("example.org"));
  assert.deepEqual(other, {
    steps: ['None of the names (*.example.com, *.customer.example.com) is for "example.org"'],
  });
  assert.equal(explain(config, connection({ protocol: "ssh" })).decision, undefined);
  const long = explain(config, tlsConnection(`${"a".repeat(63)}.example.com`));
  assert.equal(long.decision?.kind === "reject" && long.decision.reason, "unknown_name");
});
