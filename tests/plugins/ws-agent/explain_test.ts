import assert from "node:assert/strict";
import { explain } from "../../../plugins/ws-agent/explain.ts";
import { clientHello, connection, tlsConnection } from "../connection.ts";
import { configOf, TestGateway } from "./harness.ts";

const asked = [
  { name: "the endpoint", info: tlsConnection("tunnel.example.com"), says: /endpoint of agents/ },
  {
    name: "a name under the domain",
    info: tlsConnection("demo.example.com"),
    says: /agents register such names/,
  },
  { name: "another name", info: tlsConnection("www.example.org"), says: /only while an agent/ },
  { name: "no name", info: tlsConnection(), says: /no server name/ },
  { name: "plain HTTP", info: connection({ protocol: "http" }), says: /no server name/ },
  {
    name: "PostgreSQL",
    info: connection({ protocol: "postgres", tls: clientHello("db.example.com") }),
    says: /registered with tls/,
  },
];
for (const { name, info, says } of asked) {
  Deno.test(`explains ${name}, and comes to what route decides while no agent is there`, async () => {
    const { steps, decision } = explain(configOf(), info);
    assert.match(steps.join("\n"), says);
    await using gateway = new TestGateway();
    assert.deepEqual(decision, await gateway.route(info));
  });
}

Deno.test("explains plain HTTP where it is allowed", async () => {
  const section = { plainHttp: true, plainEndpoint: true };
  const info = connection({ protocol: "http", listenerKind: "http" });
  const { steps, decision } = explain(configOf(section), info);
  assert.equal(steps.length, 3);
  await using gateway = new TestGateway({ section });
  assert.deepEqual(decision, await gateway.route(info));
});
