/** The gateway says at its start for which names nobody will get in, and again after a reload. */
import assert from "node:assert/strict";
import { TestGateway } from "../support/gateway.ts";
import { can } from "./can.ts";

const section = { domain: "example.com", jwt: { secret: "0123456789abcdef0123456789abcdef" } };

Deno.test({
  name: "the names of tunnels that have no certificate are named at the start, and after every reload",
  ignore: !can(),
  async fn() {
    const options = (more: object) => ({
      yaml: `plugins: ${JSON.stringify({ "ws-agent": { ...section, ...more } })}`,
    });
    await using gateway = await TestGateway.start(options({}));
    const missing = () =>
      gateway.events.filter(({ event }) => event === "certificate_missing").map((event) => event["name"]);
    assert.deepEqual(missing(), ["tunnel.example.com", "*.example.com"]);
    await gateway.reload(options({ plainHttp: true }));
    assert.deepEqual(missing().slice(2), ["tunnel.example.com"]);
  },
});
