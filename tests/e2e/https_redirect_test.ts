import assert from "node:assert/strict";
import { curl } from "../support/curl.ts";
import { TestGateway } from "../support/gateway.ts";
import { can } from "./can.ts";

Deno.test({
  name: "plain HTTP is sent on to https, to the port that https is on",
  ignore: !can("curl"),
  async fn() {
    await using gateway = await TestGateway.start({
      yaml: `listeners: [{ address: "127.0.0.1:0" }, { address: "localhost:0", kind: http }]
plugins: { ws-agent: { domain: localhost, jwt: { secret: "${"s".repeat(32)}" } } }`,
    });
    const connectTo = { hostname: "127.0.0.1", port: gateway.port(1) };
    const { status, headers } = await curl("http://demo.localhost/a?b=c", { connectTo });
    assert.equal(status, 308);
    assert.deepEqual(headers["location"], [`https://demo.localhost:${gateway.port(0)}/a?b=c`]);
    const post = await curl("http://demo.localhost/", { connectTo, args: ["-d", "x".repeat(100_000)] });
    assert.equal(post.status, 308, post.log);
  },
});
