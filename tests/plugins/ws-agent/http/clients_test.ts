import assert from "node:assert/strict";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { parseCertificate } from "../../../../core/tls/certificates.ts";
import { CertificateStore } from "../../../../core/tls/contexts.ts";
import { createTerminator } from "../../../../core/tls/terminate.ts";
import { createAuthority } from "../../../support/certificates.ts";
import { curl } from "../../../support/curl.ts";
import { granted, hasProgram } from "../../../support/permissions.ts";
import type * as ws from "../websocket/ws.d.ts";
import { HOSTNAME, type ProxyOptions, TestProxy } from "./harness.ts";

const withCurl = { ignore: !hasProgram("curl") };
/** `ws` reads the environment while it is imported. */
const withWs = { ignore: !granted("env", "read") };

/** The proxy behind TLS, as it is in the gateway. */
async function secureProxy(to: ProxyOptions["to"], hostname = HOSTNAME) {
  const authority = await createAuthority();
  const { certificate, key } = await authority.issue({ names: [hostname] });
  const store = new CertificateStore();
  store.replace([await parseCertificate(certificate, key, { cert: "cert.pem", key: "key.pem" })]);
  const terminator = createTerminator(store);
  const proxy = new TestProxy({
    to,
    hostname,
    async accept(socket) {
      const { stream, info } = await terminator.terminate(socket, {
        replay: new Uint8Array(),
        serverName: hostname,
        alpn: ["h2", "http/1.1"],
      });
      return { stream, info: { terminated: info } };
    },
  });
  return { proxy, ca: authority.certificate };
}

/** Says what it got, in JSON; gives `/big` and `/slow` as they are. */
function echoService() {
  const service = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/big") return new Response(new Uint8Array(5_000_000).fill(0x61));
    const body = await request.text();
    return Response.json({
      method: request.method,
      pathname,
      length: body.length,
      headers: [...request.headers],
    });
  });
  return {
    port: service.addr.port,
    [Symbol.asyncDispose]: () => service.shutdown(),
  };
}

for (const [version, argument] of [["2", "--http2"], ["1.1", "--http1.1"]] as const) {
  Deno.test(`clients: curl by HTTP/${version} over TLS`, withCurl, async () => {
    await using service = echoService();
    const { proxy, ca } = await secureProxy(service.port);
    await using _ = proxy;
    const url = `https://${HOSTNAME}:8443`;
    const options = { connectTo: proxy.address, ca };
    const got = await curl(`${url}/a?b`, { ...options, args: [argument] });
    assert.deepEqual([got.code, got.status, got.version], [0, 200, version], got.log);
    const said = JSON.parse(got.text);
    assert.deepEqual([said.method, said.pathname], ["GET", "/a"]);
    const headers = Object.fromEntries(said.headers);
    assert.equal(headers["x-forwarded-proto"], "https");
    assert.equal(headers["x-forwarded-host"], `${HOSTNAME}:8443`);

    const posted = await curl(`${url}/p`, {
      ...options,
      args: [argument, "--data-binary", "x".repeat(100_000)],
    });
    assert.equal(JSON.parse(posted.text).length, 100_000);
    const expecting = await curl(`${url}/p`, {
      ...options,
      headers: { expect: "100-continue" },
      args: [argument, "--data-binary", "abc", "--expect100-timeout", "0.2"],
    });
    assert.equal(JSON.parse(expecting.text).length, 3);
    const big = await curl(`${url}/big`, { ...options, args: [argument] });
    assert.equal(big.body.length, 5_000_000);
    assert(big.body.every((byte) => byte === 0x61));
    const head = await curl(`${url}/big`, { ...options, args: [argument, "--head"] });
    assert.deepEqual([head.code, head.status], [0, 200]);
    const other = await curl(`${url}/`, {
      ...options,
      args: [argument],
      headers: { host: "other.localhost" },
    });
    assert.equal(other.status, 421);
    assert((await proxy.told(6)).every((event) => event.version === version));
  });
}

for (const http2 of [true, false]) {
  Deno.test(`clients: fetch of Deno by HTTP/${http2 ? "2" : "1.1"}, many at once`, async () => {
    await using service = echoService();
    const { proxy, ca } = await secureProxy(service.port, "localhost");
    await using _ = proxy;
    using client = Deno.createHttpClient({ caCerts: [ca], http1: !http2, http2 });
    const url = `https://localhost:${proxy.port}`;
    const answers = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const response = await fetch(`${url}/${i}`, { client, method: "POST", body: "x".repeat(i) });
      return await response.json();
    }));
    const wanted = answers.map((_, i) => [`/${i}`, i]);
    assert.deepEqual(answers.map(({ pathname, length }) => [pathname, length]), wanted);
    assert.equal((await proxy.told(20))[0]?.version, http2 ? "2" : "1.1");
  });
}

Deno.test("clients: WebSockets of `ws`, both ways", withWs, async () => {
  const { WebSocket, WebSocketServer } = await import("ws") as unknown as typeof ws;
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await new Promise<void>((resolve) => server.on("listening", resolve));
  server.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  {
    await using proxy = new TestProxy({ to: server.address().port });
    const client = new WebSocket(`ws://127.0.0.1:${proxy.port}/socket`, [], { headers: { host: HOSTNAME } });
    await new Promise<void>((resolve, reject) => client.on("open", resolve).on("error", reject));
    const echoed: number[] = [];
    const all = Promise.withResolvers<void>();
    const sizes = [3, 1_000_000, 70_000];
    client.on("message", (data) => {
      if (echoed.push(data.length) === sizes.length) all.resolve();
    });
    for (const size of sizes) client.send(new Uint8Array(size).fill(7), { binary: true });
    await all.promise;
    assert.deepEqual(echoed, sizes);
    const closed = new Promise<number>((resolve) => client.on("close", resolve));
    client.close(4321, "bye");
    assert.equal(await closed, 4321);
    const [event] = await proxy.told();
    assert.deepEqual([event?.status, event?.path, event?.fault], [101, "/socket", undefined]);
    assert((event?.bytesIn ?? 0) > 1_070_000);
  }
  await new Promise<void>((resolve) => server.close(resolve));
});

Deno.test("clients: requests of node:http over its own pool, to a service of node:http with trailers", async () => {
  const service = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      response.writeHead(200, { trailer: "x-sum" });
      response.write(`${request.method} ${request.headers["x-forwarded-for"]}`);
      response.addTrailers({ "x-sum": "1" });
      response.end();
    });
  });
  await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  {
    await using proxy = new TestProxy({ to: (service.address() as AddressInfo).port });
    const ask = (method: string) =>
      new Promise<string>((resolve, reject) => {
        const { hostname, port } = proxy.address;
        request({ agent, hostname, port, method, headers: { host: HOSTNAME } }, (response) => {
          let text = "";
          response.on("data", (chunk) => text += chunk);
          response.on("end", () => resolve(`${text} ${response.trailers["x-sum"]}`));
        }).on("error", reject).end(method === "POST" ? "abc" : undefined);
      });
    const asked = Array.from({ length: 40 }, (_, i) => i % 2 === 0 ? "GET" : "POST");
    assert.deepEqual(await Promise.all(asked.map(ask)), asked.map((method) => `${method} 192.0.2.7 1`));
    assert(proxy.opened <= 8, `${proxy.opened} streams`);
    agent.destroy();
  }
  service.closeAllConnections();
  await new Promise((resolve) => service.close(resolve));
});
