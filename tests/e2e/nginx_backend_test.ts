import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createCertificate } from "../support/certificates.ts";
import { curl } from "../support/curl.ts";
import { TestGateway } from "../support/gateway.ts";
import { startNginx } from "../support/nginx.ts";
import { hostPort, run } from "../support/processes.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("nginx", "curl");

function random(bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(all.subarray(at, at + 65_536));
  return all;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test({
  name: "nginx's own TLS is passed through: its certificate, its HTTP/2, every byte of a large file",
  ignore,
  async fn() {
    const tls = await createCertificate("app.example.com", "*.apps.example.com");
    const big = random(16 << 20);
    await using nginx = await startNginx({ tls, files: { "/big.bin": big } });
    const to = hostPort(nginx.tlsAddress);
    await using gateway = await TestGateway.start({
      yaml: staticRoutes({ sni: ["app.example.com", "*.apps.example.com"], to }),
      threads: 2,
    });
    const options = { connectTo: { hostname: "127.0.0.1", port: gateway.port() }, ca: tls.ca };
    for (const name of ["app.example.com", "one.apps.example.com", "APP.Example.COM"]) {
      const { status, version, text, log } = await curl(`https://${name}/`, options);
      assert.deepEqual([status, version], [200, "2"], log);
      assert.equal(JSON.parse(text).serverName, name.toLowerCase());
    }
    const file = await curl("https://app.example.com/big.bin", options);
    assert.equal(sha256(file.body), sha256(big));
    const unknown = await curl("https://two.one.apps.example.com/", options);
    assert.deepEqual([unknown.code, unknown.status], [35, 0]);
    assert.match(unknown.log, /unrecognized name/);
  },
});

Deno.test({
  name: "nginx speaks plain HTTP behind a route that terminates: every byte of a large file, and keep-alive",
  ignore,
  async fn() {
    const big = random(16 << 20);
    await using nginx = await startNginx({ files: { "/big.bin": big } });
    await using certificate = await certificateFiles("app.example.com");
    const route = { sni: "app.example.com", terminate: true, to: hostPort(nginx.address) };
    await using gateway = await TestGateway.start({
      yaml: `${certificate.yaml}\n${staticRoutes(route)}`,
    });
    const options = {
      connectTo: { hostname: "127.0.0.1", port: gateway.port() },
      ca: certificate.ca,
    };
    const file = await curl("https://app.example.com/big.bin", options);
    assert.equal(sha256(file.body), sha256(big), file.log);
    const twice = await run("curl", {
      args: [
        ...[
          "-sS",
          "--insecure",
          "--connect-to",
          `::${hostPort(options.connectTo)}`,
          "-w",
          "%{num_connects} ",
        ],
        ...[
          "-o",
          "/dev/null",
          "-o",
          "/dev/null",
          "https://app.example.com/",
          "https://app.example.com/big.bin",
        ],
      ],
    });
    assert.equal(twice.stdout, "1 0 ", "the second request is on the connection of the first");
  },
});

Deno.test({
  name: "nginx gets plain HTTP by protocol, and the next target when the first is down",
  ignore,
  async fn() {
    await using nginx = await startNginx();
    await using gateway = await TestGateway.start({
      yaml: staticRoutes({ protocol: "http", to: ["127.0.0.1:1", hostPort(nginx.address)] }),
    });
    const connectTo = { hostname: "127.0.0.1", port: gateway.port() };
    for (let i = 0; i < 3; i++) {
      const { status, text, log } = await curl("http://demo.test/", { connectTo });
      assert.equal(status, 200, log);
      assert.equal(JSON.parse(text).host, "demo.test");
    }
  },
});
