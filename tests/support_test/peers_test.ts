import assert from "node:assert/strict";
import { createCertificate } from "../support/certificates.ts";
import { curl } from "../support/curl.ts";
import { startEcho, startSource } from "../support/echo.ts";
import { startProxyReceiver, startProxySender } from "../support/haproxy.ts";
import { startNginx } from "../support/nginx.ts";
import { sClient } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import { hostPort } from "../support/processes.ts";
import { startSshd } from "../support/sshd.ts";

const lacks = (...programs: string[]) => !programs.every(hasProgram);

Deno.test({
  name: "nginx answers curl over TLS and tells the name that was asked for",
  ignore: lacks("nginx", "curl"),
  async fn() {
    const tls = await createCertificate("app.example.com", "*.example.com");
    const big = new Uint8Array(1 << 20).fill(7);
    await using server = await startNginx({ tls, files: { "/big.bin": big } });

    const seen = await curl("https://app.example.com/", {
      connectTo: server.tlsAddress,
      ca: tls.ca,
    });
    assert.deepEqual([seen.code, seen.status, seen.version], [0, 200, "2"], seen.log);
    assert.deepEqual(JSON.parse(seen.text), {
      client: "127.0.0.1",
      host: "app.example.com",
      serverName: "app.example.com",
      tls: "TLSv1.3",
    });
    assert.deepEqual(seen.headers["content-type"], ["application/json"]);

    const file = await curl(`http://${hostPort(server.address)}/big.bin`);
    assert.deepEqual(file.body, big);

    const refused = await curl("https://other.test/", { connectTo: server.tlsAddress, ca: tls.ca });
    assert.equal(refused.code, 60);
    assert.match(refused.log, /other\.test/);
  },
});

Deno.test({
  name: "curl tells a refused connection by its code",
  ignore: lacks("curl"),
  async fn() {
    const server = startEcho();
    await server[Symbol.asyncDispose]();
    const result = await curl("http://demo.test/", { connectTo: server.address });
    assert.deepEqual([result.code, result.status], [7, 0]);
  },
});

Deno.test({
  name: "openssl reports an alert by its number",
  ignore: lacks("openssl"),
  async fn() {
    const unrecognizedName = Uint8Array.of(21, 3, 3, 0, 2, 2, 112);
    await using server = startSource(unrecognizedName);
    const result = await sClient(server.address, { alpn: ["h2"] });
    assert.deepEqual([result.code, result.alert, result.received], [1, 112, ""], result.log);
  },
});

Deno.test({
  name: "openssl refuses a certificate for another name",
  ignore: lacks("nginx", "openssl"),
  async fn() {
    const tls = await createCertificate("app.example.com");
    await using server = await startNginx({ tls });
    const result = await sClient(server.tlsAddress, { serverName: "b.example.com", ca: tls.ca });
    assert.notEqual(result.code, 0);
    assert.equal(result.alert, undefined);
  },
});

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  Deno.test({
    name: `openssl reports ${version}, ALPN, certificate and what was sent`,
    ignore: lacks("nginx", "openssl"),
    async fn() {
      const tls = await createCertificate("app.example.com");
      await using server = await startNginx({ tls });
      const options = { serverName: "app.example.com", ca: tls.ca, version } as const;
      const input = "GET /x HTTP/1.0\r\nHost: app.example.com\r\n\r\n";
      for (const alpn of [undefined, "http/1.1"]) {
        const result = await sClient(server.tlsAddress, {
          ...options,
          input,
          ...(alpn ? { alpn: [alpn] } : {}),
        });
        assert.deepEqual(
          [result.code, result.version, result.alpn, result.subject],
          [0, version, alpn, "CN = app.example.com"],
          result.log,
        );
        assert.match(result.received, /^HTTP\/1.1 200 OK[^]*"serverName":"app.example.com"[^]*}$/);
      }
    },
  });
}

for (const version of [1, 2] as const) {
  Deno.test({
    name: `HAProxy sends PROXY v${version}, and another reads it`,
    ignore: lacks("haproxy", "curl"),
    async fn() {
      await using receiver = await startProxyReceiver();
      await using sender = await startProxySender({
        to: receiver.address,
        version,
        tlvs: version === 2 ? ["crc32c", "unique-id"] : [],
        uniqueId: "id-42",
      });
      const result = await curl("http://demo.test/", { connectTo: sender.address });
      assert.equal(result.status, 200, result.log);
      const seen = JSON.parse(result.text);
      assert.match(seen.source, /^127\.0\.0\.1:\d+$/);
      assert.equal(seen.destination, hostPort(sender.address));
      assert.equal(seen.uniqueId, version === 2 ? "id-42" : "");
    },
  });
}

Deno.test({
  name: "an HAProxy receiver ends TLS behind the header, and refuses a connection without one",
  ignore: lacks("haproxy", "curl"),
  async fn() {
    const tls = await createCertificate("demo.test");
    await using receiver = await startProxyReceiver({ tls });
    await using sender = await startProxySender({ to: receiver.address, version: 2 });
    const good = await curl("https://demo.test/", { connectTo: sender.address, ca: tls.ca });
    assert.equal(good.status, 200, good.log);
    const bare = await curl("https://demo.test/", { connectTo: receiver.address, ca: tls.ca });
    assert.equal(bare.status, 0);
  },
});

Deno.test({
  name: "nginx takes the client's address from a PROXY header",
  ignore: lacks("haproxy", "nginx", "curl"),
  async fn() {
    await using server = await startNginx({ proxyProtocol: true });
    await using sender = await startProxySender({ to: server.address, version: 1 });
    const result = await curl("http://demo.test/", { connectTo: sender.address });
    assert.equal(JSON.parse(result.text).client, "127.0.0.1");
  },
});

Deno.test({
  name: "ssh runs a command on the server, with its input",
  ignore: lacks("sshd", "ssh", "ssh-keygen"),
  async fn() {
    await using server = await startSshd();
    const result = await server.ssh("tr a-z A-Z; exit 3", { input: "hello" });
    assert.deepEqual([result.stdout, result.code], ["HELLO", 3], result.stderr + server.program.output);
  },
});
