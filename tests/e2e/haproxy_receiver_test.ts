import assert from "node:assert/strict";
import { createCertificate } from "../support/certificates.ts";
import { curl } from "../support/curl.ts";
import { TestGateway } from "../support/gateway.ts";
import { startProxyReceiver } from "../support/haproxy.ts";
import { startNginx } from "../support/nginx.ts";
import { hostPort } from "../support/processes.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("haproxy", "nginx", "curl");
const NAME = "app.example.com";
const CLIENT = "127.0.0.3";

for (const version of ["v1", "v2"] as const) {
  Deno.test({
    name:
      `HAProxy behind the gateway reads PROXY ${version}: client and gateway, before TLS that is passed through`,
    ignore,
    async fn() {
      const tls = await createCertificate(NAME);
      await using receiver = await startProxyReceiver({ tls });
      const to = hostPort(receiver.address);
      await using gateway = await TestGateway.start({
        yaml: staticRoutes({ sni: NAME, to, proxyProtocol: version }),
      });
      const address = { hostname: "127.0.0.1", port: gateway.port() };
      const { status, text, log } = await curl(`https://${NAME}/`, {
        connectTo: address,
        ca: tls.ca,
        args: ["--interface", CLIENT],
      });
      assert.equal(status, 200, log);
      const seen = JSON.parse(text);
      assert.match(seen.source, /^127\.0\.0\.3:\d+$/);
      assert.equal(seen.destination, hostPort(address));
    },
  });

  Deno.test({
    name:
      `HAProxy and nginx behind the gateway read PROXY ${version} before what comes out of terminated TLS`,
    ignore,
    async fn() {
      await using receiver = await startProxyReceiver();
      await using nginx = await startNginx({ proxyProtocol: true });
      await using certificate = await certificateFiles("*.example.com");
      const routes = Object.entries({ haproxy: receiver, nginx }).map(([name, { address }]) => ({
        sni: `${name}.example.com`,
        terminate: true,
        to: hostPort(address),
        proxyProtocol: version,
      }));
      await using gateway = await TestGateway.start({
        yaml: `${certificate.yaml}\n${staticRoutes(...routes)}`,
      });
      const options = {
        connectTo: { hostname: "127.0.0.1", port: gateway.port() },
        ca: certificate.ca,
        args: ["--interface", CLIENT],
      };
      const haproxy = await curl("https://haproxy.example.com/", options);
      assert.match(JSON.parse(haproxy.text).source, /^127\.0\.0\.3:\d+$/, haproxy.log);
      const seen = await curl("https://nginx.example.com/", options);
      assert.equal(JSON.parse(seen.text).client, CLIENT, seen.log);
    },
  });
}

Deno.test({
  name:
    "HAProxy behind the gateway insists on a PROXY header, and gets none with proxyProtocol: off or a pass of nothing",
  ignore,
  async fn() {
    await using receiver = await startProxyReceiver();
    for (const proxyProtocol of ["off", "pass"] as const) {
      const to = hostPort(receiver.address);
      await using gateway = await TestGateway.start({
        yaml: staticRoutes({ protocol: "http", to, proxyProtocol }),
      });
      const connectTo = { hostname: "127.0.0.1", port: gateway.port() };
      const { status, code } = await curl("http://demo.test/", { connectTo });
      assert.deepEqual([status, code === 52 || code === 56], [0, true], `curl ended with ${code}`);
    }
  },
});
