import assert from "node:assert/strict";
import { createCertificate } from "../support/certificates.ts";
import { curl } from "../support/curl.ts";
import { startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { type SeenByReceiver, startProxyReceiver, startProxySender } from "../support/haproxy.ts";
import { hostPort } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { metric } from "./metrics.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("haproxy", "curl");
const NAME = "app.example.com";
/** curl's own address: not the one of HAProxy, which is the gateway's peer. */
const CLIENT = "127.0.0.3";
const TRUSTING = `listeners: [{ address: "127.0.0.1:0", proxyProtocol: { from: ["127.0.0.1/32"] } }]\n`;
const REFUSED = ["rejected_total", { reason: "proxy_protocol_refused" }] as const;

for (const incoming of [1, 2] as const) {
  for (const outgoing of ["v1", "v2", "pass"] as const) {
    Deno.test({
      name:
        `HAProxy sends PROXY v${incoming}, a backend with proxyProtocol: ${outgoing} sees the client behind it`,
      ignore,
      async fn() {
        const tls = await createCertificate(NAME);
        await using receiver = await startProxyReceiver({ tls });
        const to = hostPort(receiver.address);
        await using gateway = await TestGateway.start({
          yaml: `${TRUSTING}${staticRoutes({ sni: NAME, to, proxyProtocol: outgoing })}`,
        });
        await using sender = await startProxySender({
          to: { hostname: "127.0.0.1", port: gateway.port() },
          version: incoming,
          tlvs: incoming === 2 ? ["crc32c", "unique-id"] : [],
          uniqueId: "from-the-sender",
        });
        const { status, text, log } = await curl(`https://${NAME}/`, {
          connectTo: sender.address,
          ca: tls.ca,
          args: ["--interface", CLIENT],
        });
        assert.equal(status, 200, log);
        const seen: SeenByReceiver = JSON.parse(text);
        assert.match(seen.source, /^127\.0\.0\.3:\d+$/);
        assert.equal(seen.destination, hostPort(sender.address), "where the client connected to");
        // What a header of ours is made of never includes what came in, but for the exact `pass`.
        const passed = outgoing === "pass" && incoming === 2 ? "from-the-sender" : "";
        assert.equal(seen.uniqueId, passed);
        const opened = await gateway.logged("connection_opened");
        assert.equal(opened.source, seen.source);
      },
    });
  }
}

for (const version of [1, 2] as const) {
  Deno.test({
    name: `HAProxy sends PROXY v${version} to a gateway that does not trust it: refused`,
    ignore,
    async fn() {
      await using backend = startEcho();
      await using gateway = await TestGateway.start({
        yaml: staticRoutes(
          { protocol: "http", to: backend.target, proxyProtocol: "v2" },
          { protocol: "other", to: backend.target },
        ),
      });
      await using sender = await startProxySender({
        to: { hostname: "127.0.0.1", port: gateway.port() },
        version,
      });
      const { status } = await curl("http://demo.test/", { connectTo: sender.address });
      assert.equal(status, 0);
      // Waiting for the sender's port was a connection as well.
      await until(async () => await metric(gateway, ...REFUSED) > 0, { what: "a refusal to be counted" });
      assert.equal(backend.accepted, 0);
    },
  });
}
