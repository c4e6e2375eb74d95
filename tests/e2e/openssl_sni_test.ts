import assert from "node:assert/strict";
import { createCertificate } from "../support/certificates.ts";
import { TestGateway } from "../support/gateway.ts";
import { startNginx } from "../support/nginx.ts";
import { sClient } from "../support/openssl.ts";
import { hostPort } from "../support/processes.ts";
import { can } from "./can.ts";
import { staticRoutes } from "../support/static_routes.ts";
import { certificateFiles } from "./certificate_files.ts";

const ignore = !can("nginx", "openssl");

Deno.test({
  name: "openssl is brought by its SNI to one of two backends, whose own certificates it sees",
  ignore,
  async fn() {
    const [one, other] = [
      await createCertificate("one.example.com"),
      await createCertificate("*.example.com"),
    ];
    await using first = await startNginx({ tls: one });
    await using second = await startNginx({ tls: other });
    await using gateway = await TestGateway.start({
      yaml: staticRoutes(
        { sni: "*.example.com", to: hostPort(second.tlsAddress) },
        { sni: "one.example.com", to: hostPort(first.tlsAddress) },
      ),
    });
    const address = { hostname: "127.0.0.1", port: gateway.port() };
    const input = "GET / HTTP/1.0\r\n\r\n";
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const names = { "one.example.com": one.ca, "two.example.com": other.ca };
      for (const [serverName, ca] of Object.entries(names)) {
        const result = await sClient(address, { serverName, ca, version, input });
        assert.deepEqual([result.code, result.version], [0, version], result.log);
        assert.match(result.received, new RegExp(`"serverName":"${serverName}"`));
      }
    }
    const agreed = await sClient(address, {
      serverName: "one.example.com",
      alpn: ["http/1.1"],
      input,
    });
    assert.equal(agreed.alpn, "http/1.1", "ALPN is between the client and nginx");
  },
});

Deno.test({
  name:
    "openssl gets the certificate that its SNI asks for, and alert 112 when there is none for the route's name",
  ignore,
  async fn() {
    await using certificate = await certificateFiles("one.example.com", "*.apps.example.com");
    const sni = ["one.example.com", "*.apps.example.com", "bare.example.com"];
    await using gateway = await TestGateway.start({
      yaml: `${certificate.yaml}\n${staticRoutes({ sni, terminate: true, to: "127.0.0.1:1" })}`,
    });
    const address = { hostname: "127.0.0.1", port: gateway.port() };
    for (const serverName of ["one.example.com", "x.apps.example.com"]) {
      const result = await sClient(address, {
        serverName,
        ca: certificate.ca,
        input: "GET / HTTP/1.0\r\n\r\n",
      });
      assert.match(result.received, /^HTTP\/1.1 502/, result.log);
    }
    const bare = await sClient(address, { serverName: "bare.example.com" });
    assert.equal(bare.alert, 112, bare.log);
  },
});
