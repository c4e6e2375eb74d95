/** SNI and Host agree on every request, else 421; what sends clients on believes no Host that is no name. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import http2 from "node:http2";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { readToEnd } from "../support/echo.ts";
import { TestPlane } from "../support/plane.ts";
import { exchangeText, isHangUp } from "../support/wire.ts";
import { reached, type TunnelPlane, tunnelPlane } from "./tunnel_plane.ts";

/** Two tunnels of two agents behind one certificate: what SNI decided for one name must not be had for the other. */
const APP = "app.example.com", OTHER = "other.example.com";

/** Sends these bytes inside one TLS connection for `app`, and gives the status of every answer. */
async function statuses({ plane, ca }: TunnelPlane, requests: string): Promise<number[]> {
  const tls = await Deno.startTls(await plane.connect(), { hostname: APP, caCerts: [ca] });
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
}

const LAST = "Connection: close\r\n";

function get(host: string, more = "", path = "/"): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
}

const requests: readonly { name: string; sent: string; statuses: readonly number[] }[] = [
  { name: "the same name", sent: get(APP, LAST), statuses: [200] },
  { name: "the same name with a port", sent: get(`${APP}:8443`, LAST), statuses: [200] },
  {
    name: "the same name in other letters and with its dot",
    sent: get("App.Example.COM.", LAST),
    statuses: [200],
  },
  { name: "another tunnel of the same certificate", sent: get(OTHER, LAST), statuses: [421] },
  { name: "the agents' endpoint", sent: get("tunnel.example.com", LAST), statuses: [421] },
  { name: "another tunnel in a second request", sent: get(APP) + get(OTHER, LAST), statuses: [200, 421] },
  { name: "the right name again after a wrong one", sent: get(OTHER) + get(APP, LAST), statuses: [421, 200] },
  {
    name: "another tunnel in a third request of a pipeline",
    sent: get(APP).repeat(2) + get(OTHER, LAST),
    statuses: [200, 200, 421],
  },
  { name: "no Host, as HTTP/1.0 may", sent: "GET / HTTP/1.0\r\n\r\n", statuses: [400] },
  { name: "no Host, as HTTP/1.1 may not", sent: "GET / HTTP/1.1\r\n\r\n", statuses: [400] },
  { name: "an empty Host", sent: get("", LAST), statuses: [400] },
  { name: "an address as Host", sent: get("127.0.0.1", LAST), statuses: [421] },
  { name: "the name and something behind it", sent: get(`${APP}.evil.test`, LAST), statuses: [421] },
  { name: "somebody before the name", sent: get(`evil.test@${APP}`, LAST), statuses: [400] },
  { name: "two names in one Host", sent: get(`${APP}, ${OTHER}`, LAST), statuses: [400] },
  { name: "an absolute URL of another tunnel", sent: get(OTHER, LAST, `https://${OTHER}/`), statuses: [421] },
  {
    name: "an absolute URL that Host contradicts",
    sent: get(APP, LAST, `https://${OTHER}/`),
    statuses: [400],
  },
];

for (const { name, sent, statuses: expected } of requests) {
  Deno.test(`a tunnel by HTTP/1.1, Host: ${name} is answered ${expected.join(", ")}`, async () => {
    await using tunnels = await tunnelPlane("app", "other");
    assert.deepEqual(await statuses(tunnels, sent), expected);
    assert.equal(tunnels.agents["other"]?.streams.length, 0, "nothing reaches the other tunnel");
  });
}

Deno.test("a tunnel by HTTP/1.1, a second Host: refused, whatever their order and spelling", async () => {
  await using tunnels = await tunnelPlane("app", "other");
  for (const [first, second] of [[APP, OTHER], [OTHER, APP]] as const) {
    assert.deepEqual(await statuses(tunnels, get(first, `hOST: ${second}\r\n${LAST}`)), [400]);
  }
});

Deno.test("a tunnel by HTTP/1.1, HTTP/2 without being agreed on: nothing is served", async () => {
  await using tunnels = await tunnelPlane("app");
  const answered = await statuses(tunnels, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  assert.ok(answered.every((status) => status >= 400), String(answered));
});

/** One request by HTTP/2, and its answer. */
async function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
): Promise<{ status: number; text: string }> {
  const stream = session.request(headers);
  let status = 0;
  const chunks: Uint8Array[] = [];
  stream.on("response", (answer) => status = Number(answer[":status"]));
  stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
  stream.on("error", () => {});
  await new Promise((resolve) => stream.once("close", resolve));
  return { status, text: Buffer.concat(chunks).toString() };
}

Deno.test("a tunnel by HTTP/2: each stream's :authority has to be the name of the connection", async () => {
  await using tunnels = await tunnelPlane("app", "other");
  const { plane: { port }, ca } = tunnels;
  const session = http2.connect(`https://127.0.0.1:${port}`, { ca, servername: APP });
  const closed = new Promise((resolve) => session.once("close", resolve));
  try {
    const rows: readonly (readonly [headers: http2.OutgoingHttpHeaders, status: number])[] = [
      [{ ":authority": APP }, 200],
      [{ ":authority": OTHER }, 421],
      [{ ":authority": "tunnel.example.com" }, 421],
      [{ ":authority": APP, host: OTHER }, 400],
      [{ ":authority": OTHER, host: APP }, 400],
      [{ ":authority": `${APP}:8443` }, 200],
      [{ ":authority": "APP.example.com." }, 200],
    ];
    for (const [headers, status] of rows) {
      const answer = await ask(session, { ":path": "/", ...headers });
      assert.equal(answer.status, status, JSON.stringify(headers));
      assert.equal(answer.text === reached("app"), status === 200, answer.text);
    }
    const together = await Promise.all(
      [APP, OTHER, APP, OTHER].map((name) => ask(session, { ":path": "/", ":authority": name })),
    );
    assert.deepEqual(together.map(({ status }) => status), [200, 421, 200, 421]);
    assert.equal(tunnels.agents["other"]?.streams.length, 0, "nothing reaches the other tunnel");
  } finally {
    session.close();
    await closed;
  }
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
