import assert from "node:assert/strict";
import type { PlaneContext } from "../../../core/plugin/plane_context.ts";
import { LocalRegistry } from "../../../core/registry/local.ts";
import definition from "../../../plugins/ws-agent/mod.ts";
import { pluginContext } from "../../support/plugin_context.ts";
import { conformance } from "../conformance.ts";
import { tlsConnection } from "../connection.ts";
import { configOf } from "./harness.ts";

/** A data plane that has nobody beside it, and lends no port. */
function plane(): PlaneContext {
  const refuse = () => {
    throw new TypeError("Nothing is to be opened here");
  };
  return {
    node: "data-plane-0",
    nodes: 1,
    isFirst: true,
    neighbours: [],
    ports: [],
    httpsPort: 443,
    registry: new LocalRegistry().at("data-plane-0"),
    listen: refuse,
    listenDatagrams: refuse,
    openOn: refuse,
  };
}

conformance("ws-agent", {
  module: import.meta.resolve("../../../plugins/ws-agent/mod.ts"),
  definition,
  section: {
    domain: "example.com",
    tokens: "tokens.yaml",
    jwt: { secret: "0123456789abcdef0123456789abcdef" },
    idleTimeout: "1h",
  },
  files: { "tokens.yaml": "[]" },
  context: () => ({ plane: plane() }),
  matching: tlsConnection("tunnel.example.com"),
  other: tlsConnection("example.org"),
});

Deno.test("ws-agent: has to be inline, and says so", () => {
  assert.throws(() => definition.start(configOf(), pluginContext()), /isolation is inline/);
});

Deno.test("ws-agent: a connection may be decided on for as long as its agent may take to come back", () => {
  assert.ok((definition.routeTimeoutMs?.(configOf({ reconnectGrace: "1m" })) ?? 0) > 60_000);
});
