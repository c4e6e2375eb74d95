/** SNI and Host agree on every request, else 421; what sends clients on believes no Host that is no name. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { createLog } from "../../core/log.ts";
import welcome from "../../plugins/welcome/mod.ts";
import { pluginContext } from "../support/plugin_context.ts";
import { readToEnd } from "../support/echo.ts";
import { TestPlane } from "../support/plane.ts";
import { exchangeText, isHangUp } from "../support/wire.ts";
import { certificateFor } from "./static_plane.ts";

const log = createLog("test", "error", () => {});

/** The welcome page for `localhost`, with a certificate that is also good for a name of somebody else. */
async function welcoming() {
  const { authority, material } = await certificateFor("localhost", "other.localhost");
  const config = { names: ["localhost", "*.localhost"], http: false };
  const plugin = await welcome.start(config, pluginContext({ name: "welcome", log }));
  const gateway = new TestPlane({ plugins: [plugin], certificates: [material] });
  return {
    /** Sends these bytes inside one TLS connection for `localhost`, and gives the status of every answer. */
    async statuses(requests: string): Promise<number[]> {
      const tls = await Deno.startTls(await gateway.connect(), {
        hostname: "localhost",
        caCerts: [authority.certificate],
      });
      try {
        await writeAll(tls, new TextEncoder().encode(requests));
        const answers = new TextDecoder().decode(await readToEnd(tls));
        return [...answers.matchAll(/^HTTP\/1\.1 (\d+) /gm)].map(([, status]) => Number(status));
      } catch (error) {
        if (isHangUp(error) || error instanceof Deno.errors.UnexpectedEof) return [];
        throw error;
      } finally {
        closeQuietly(tls);
      }
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await plugin[Symbol.asyncDispose]?.();
    },
  };
}

const LAST = "Connection: close\r\n";

function get(host: string, more = "", path = "/"): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
}

const requests: readonly { name: string; sent: string; statuses: readonly number[] }[] = [
  { name: "the same name", sent: get("localhost", LAST), statuses: [200] },
  { name: "the same name with a port", sent: get("localhost:8443", LAST), statuses: [200] },
  { name: "the same name in other letters and with its dot", sent: get("LocalHost.", LAST), statuses: [200] },
  { name: "another name of the same certificate", sent: get("other.localhost", LAST), statuses: [421] },
  {
    name: "another name in a second request",
    sent: get("localhost") + get("other.localhost", LAST),
    statuses: [200, 421],
  },
  {
    name: "the right name again after a wrong one",
    sent: get("other.localhost") + get("localhost", LAST),
    statuses: [421],
  },
  {
    name: "another name in a third request of a pipeline",
    sent: get("localhost").repeat(2) + get("evil.test"),
    statuses: [200, 200, 421],
  },
  { name: "no Host, as HTTP/1.0 may", sent: "GET / HTTP/1.0\r\n\r\n", statuses: [421] },
  { name: "no Host, as HTTP/1.1 may not", sent: "GET / HTTP/1.1\r\n\r\n", statuses: [400] },
  { name: "an empty Host", sent: get("", LAST), statuses: [421] },
  { name: "an address as Host", sent: get("127.0.0.1", LAST), statuses: [421] },
  { name: "the name and something behind it", sent: get("localhost.evil.test", LAST), statuses: [421] },
  { name: "somebody before the name", sent: get("evil.test@localhost", LAST), statuses: [421] },
  { name: "two names in one Host", sent: get("localhost, other.localhost", LAST), statuses: [421] },
  {
    name: "an absolute URL of another name",
    sent: get("localhost", LAST, "https://evil.test/"),
    statuses: [404],
  },
];

for (const { name, sent, statuses } of requests) {
  Deno.test(`SNI localhost, Host: ${name} is answered ${statuses.join(", ")}`, async () => {
    await using page = await welcoming();
    assert.deepEqual(await page.statuses(sent), statuses);
  });
}

Deno.test("SNI localhost, a second Host: refused", async () => {
  await using page = await welcoming();
  for (const [first, second] of [["localhost", "evil.test"], ["evil.test", "localhost"]] as const) {
    assert.deepEqual(await page.statuses(get(first, `hOST: ${second}\r\n${LAST}`)), [400]);
  }
});

Deno.test("SNI localhost, HTTP/2 without being agreed on: nothing is served", async () => {
  await using page = await welcoming();
  const statuses = await page.statuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  assert.ok(statuses.every((status) => status >= 400), String(statuses));
});

const hosts: readonly { host: string; location: string | undefined; path?: string }[] = [
  { host: "app.example.com", location: "https://app.example.com:8443/" },
  { host: "APP.example.com.", location: "https://app.example.com:8443/" },
  { host: "app.example.com:8080", location: "https://app.example.com:8443/" },
  { host: "app.example.com", path: "/a%0d%0ab?c=d", location: "https://app.example.com:8443/a%0d%0ab?c=d" },
  { host: "app.example.com", path: "//evil.test/", location: "https://app.example.com:8443//evil.test/" },
  { host: "app.example.com", path: "http://evil.test/", location: undefined },
  { host: "app.example.com", path: "@evil.test/", location: undefined },
  { host: "", location: undefined },
  { host: "evil.test/", location: undefined },
  { host: "evil.test#", location: undefined },
  { host: "evil.test?x", location: undefined },
  { host: "a@evil.test", location: undefined },
  { host: "evil.test\\", location: undefined },
  { host: "evil test", location: undefined },
  { host: "127.0.0.1", location: undefined },
  { host: "[::1]", location: undefined },
  { host: "app.example.com:port", location: undefined },
  { host: `${"a".repeat(64)}.example.com`, location: undefined },
];

for (const { host, path = "/", location } of hosts) {
  Deno.test(`the listener for HTTP, Host ${JSON.stringify(host.slice(0, 20))}, ${path}: ${location ?? "refused"}`, async () => {
    await using gateway = new TestPlane({ kind: "http" });
    const answer = await exchangeText(gateway, get(host, LAST, path));
    assert.match(answer, location === undefined ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 308 /);
    assert.equal(/^location: (.*)\r$/im.exec(answer)?.[1], location);
  });
}

Deno.test("the listener for HTTP closes after its answer: there is no second request with another Host", async () => {
  await using gateway = new TestPlane({ kind: "http" });
  const answer = await exchangeText(gateway, get("app.example.com") + get("evil.test"));
  assert.equal(answer.match(/^HTTP\/1\.1 /gm)?.length, 1);
  assert.doesNotMatch(answer, /evil/);
});

Deno.test("the listener for HTTP, two Hosts: refused, whatever their order and spelling", async () => {
  await using gateway = new TestPlane({ kind: "http" });
  for (
    const [first, second] of [["app.example.com", "evil.test"], ["evil.test", "app.example.com"]] as const
  ) {
    const answer = await exchangeText(gateway, get(first, `HOST: ${second}\r\n${LAST}`));
    assert.match(answer, /^HTTP\/1\.1 400 /);
  }
});
