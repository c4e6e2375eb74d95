import assert from "node:assert/strict";
import { HttpsRedirects } from "../../../core/data_plane/https_redirects.ts";
import { TEST_LIMITS, TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";
import { pipe } from "../../support/pipe.ts";
import { readToEnd } from "../../support/echo.ts";
import { writeAll } from "../../../core/byte_stream.ts";
import type { ConnectionInfo } from "../../../core/plugin/contract.ts";
import { ask, askText } from "./clients.ts";
import { HELLO } from "./preface/samples.ts";

const DRIP_TIMEOUT_MS = 400;
const ENDPOINT = { address: "192.0.2.1", port: 4711 };
const CONNECTION: ConnectionInfo = {
  id: "t-0",
  listener: "127.0.0.1:80",
  source: ENDPOINT,
  destination: ENDPOINT,
  peer: ENDPOINT,
  protocol: "http",
};

const REDIRECTS = [
  { host: "app.example.com", url: "/", port: 443, location: "https://app.example.com/" },
  { host: "APP.example.com.", url: "/a?b=c", port: 443, location: "https://app.example.com/a?b=c" },
  { host: "app.example.com:80", url: "/", port: 8443, location: "https://app.example.com:8443/" },
  {
    host: "app.example.com",
    url: "//evil.example/x",
    port: 443,
    location: "https://app.example.com//evil.example/x",
  },
];

const REFUSED = [
  { name: "no name but an address", request: "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" },
  { name: "an absolute URL", request: "GET http://evil.example/ HTTP/1.1\r\nHost: app.example.com\r\n\r\n" },
  { name: "a Host that is more than a name", request: "GET / HTTP/1.1\r\nHost: a@evil.example\r\n\r\n" },
  { name: "a Host with a path", request: "GET / HTTP/1.1\r\nHost: evil.example/x\r\n\r\n" },
  { name: "no Host", request: "GET / HTTP/1.0\r\n\r\n" },
];

async function answer(httpsPort: number, request: string): Promise<string> {
  await using redirects = new HttpsRedirects();
  redirects.httpsPort = httpsPort;
  const [client, stream] = pipe();
  const served = redirects.serve(stream, CONNECTION, new AbortController());
  await writeAll(client, new TextEncoder().encode(request));
  const text = new TextDecoder().decode(await readToEnd(client));
  client.close();
  await served;
  return text;
}

for (const { host, url, port, location } of REDIRECTS) {
  Deno.test(`${host}${url} is sent on to ${location}`, async () => {
    const text = await answer(port, `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    assert.match(text, /^HTTP\/1\.1 308 /);
    assert.equal(/^location: (.*)$/im.exec(text)?.[1], location);
    assert.match(text, /^connection: close$/im);
  });
}

for (const { name, request } of REFUSED) {
  Deno.test(`a request with ${name} is sent nowhere`, async () => {
    const text = await answer(443, request);
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.doesNotMatch(text, /^location:/im);
  });
}

Deno.test("an http listener sends on what no plugin takes, and still refuses what is no HTTP", async () => {
  await using gateway = new TestPlane({ kind: "http" });
  const text = await askText(gateway, "GET /x HTTP/1.1\r\nHost: app.example.com\r\n\r\n");
  assert.equal(/^location: (.*)$/im.exec(text)?.[1], "https://app.example.com:8443/x");
  assert.deepEqual([...await ask(gateway, HELLO)], [21, 3, 3, 0, 2, 2, 112]);
});

Deno.test("an http listener asks the plugins first", async () => {
  await using gateway = new TestPlane({
    kind: "http",
    plugins: [{ route: () => ({ kind: "reject", reason: "forbidden" }) }],
  });
  const text = await askText(gateway, "GET /x HTTP/1.1\r\nHost: app.example.com\r\n\r\n");
  assert.match(text, /^HTTP\/1\.1 403 /);
});

Deno.test("a client that drips its headers on an http listener is cut off in time, also after a reload", async () => {
  await using gateway = new TestPlane({ kind: "http", limits: { prefaceTimeoutMs: 60_000 } });
  assert.match(await askText(gateway, "GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"), /^HTTP\/1\.1 308 /);
  gateway.plane.configure({
    limits: { ...TEST_LIMITS, prefaceTimeoutMs: DRIP_TIMEOUT_MS },
    certificates: [],
    httpsPort: 8443,
    proxyFrom: {},
  });
  using client = await gateway.connect();
  const begin = performance.now();
  await writeAll(client, new TextEncoder().encode("GET / HTTP/1.1\r\nX-Drip: "));
  const dripping = drip(client);
  const text = new TextDecoder().decode(await readToEnd(client).catch(() => new Uint8Array()));
  const took = performance.now() - begin;
  await until(() => gateway.plane.size === 0, { what: "the end" });
  client.close();
  await dripping;
  assert.match(text, /^(HTTP\/1\.1 408 |$)/);
  assert.ok(took > DRIP_TIMEOUT_MS - 50, `cut off after ${took} ms, before its time`);
  assert.ok(took < 1.25 * DRIP_TIMEOUT_MS + 1000, `cut off after ${took} ms`);
});

/** Sends a byte of a header's value every 20 ms, until the other side is gone. */
async function drip(client: Deno.TcpConn): Promise<void> {
  try {
    for (;;) {
      await client.write(Uint8Array.of(120));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch {
    // Closed: that is what the test is about.
  }
}

Deno.test("a redirect that waits for its request ends with the connection", async () => {
  await using redirects = new HttpsRedirects();
  const [client, stream] = pipe();
  const controller = new AbortController();
  const served = redirects.serve(stream, CONNECTION, controller);
  controller.abort();
  await served;
  assert.equal(await client.read(new Uint8Array(1)), null);
});
