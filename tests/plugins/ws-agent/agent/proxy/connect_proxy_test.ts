import assert from "node:assert/strict";
import { writeAll } from "../../../../../core/byte_stream.ts";
import { Agent } from "../../../../../plugins/ws-agent/agent/library/mod.ts";
import { parseProxy } from "../../../../../plugins/ws-agent/agent/proxy/proxy_address.ts";
import type { AgentSettings } from "../../../../../plugins/ws-agent/agent/settings.ts";
import { createAuthority } from "../../../../support/certificates.ts";
import { ConnectProxy, type ConnectProxyOptions } from "../../../../support/connect_proxy.ts";
import { readToEnd, startEcho } from "../../../../support/echo.ts";
import { until } from "../../../../support/until.ts";
import { FakeGateway, service, settingsFor, startAgent } from "../fake_gateway.ts";

const NAME = "tunnel.example.com";
const PASSWORD = "hunter22:@/é";

/** Settings for a gateway that only the proxy knows the way to. */
function settingsBy(proxy: string, more: Partial<AgentSettings> = {}): AgentSettings {
  return settingsFor({ port: 0 }, [service("a", 1)], {
    gateway: { secure: false, host: NAME, port: 80, path: "/tunnel/v1" },
    proxy: parseProxy(proxy),
    reconnect: { minMs: 1000, maxMs: 1000 },
    ...more,
  });
}

for (const secure of [true, false]) {
  Deno.test(`a gateway is reached by a proxy that wants a password, ${secure ? "with" : "without"} TLS`, async () => {
    const authority = await createAuthority();
    const certificate = await authority.issue({ names: [NAME] });
    await using echo = startEcho();
    await using gateway = new FakeGateway(secure ? { tls: certificate } : {});
    await using proxy = new ConnectProxy({
      credentials: new TextDecoder("latin1").decode(new TextEncoder().encode(`user:${PASSWORD}`)),
      names: { [`${NAME}:443`]: gateway.port },
    });
    const url = `http://user:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`;
    await using running = startAgent(settingsBy(url, {
      gateway: { secure, host: NAME, port: 443, path: "/tunnel/v1" },
      tls: { insecure: false, extraCa: authority.certificate },
      services: [service("a", echo.target)],
      connections: 2,
    }));
    const session = await gateway.registered(0);
    const stream = await session.open("a");
    const bytes = new Uint8Array(1 << 20).fill(7);
    const sending = writeAll(stream, bytes).then(() => stream.closeWrite());
    assert.equal((await readToEnd(stream)).length, bytes.length);
    await sending;
    stream.close();
    await until(() => running.agent.status.connected === 2, { what: "both connections" });
    assert.equal(proxy.heads.length, 2);
    assert.match(
      proxy.heads[0] ?? "",
      /^CONNECT tunnel\.example\.com:443 HTTP\/1\.1\r\nHost: tunnel\.example\.com:443\r\nProxy-Authorization: Basic \S+\r\n\r\n$/,
    );
    assert.ok(!JSON.stringify(running.events).includes("hunter22"));
  });
}

const FAULTS: readonly {
  readonly name: string;
  readonly options: ConnectProxyOptions;
  readonly user?: string;
  readonly secure?: boolean;
  readonly reason: RegExp;
}[] = [
  {
    name: "wants a password",
    options: { credentials: "u:p" },
    reason: /wants a user and a password \(407\)$/,
  },
  {
    name: "does not take the password",
    options: { credentials: "u:p" },
    user: "u:hunter22@",
    reason: /does not take this user and password \(407\)$/,
  },
  {
    name: "does not allow it",
    options: { answer: "HTTP/1.1 403 Forbidden\r\n\r\n" },
    reason: /does not allow connections to tunnel\.example\.com:80 \(403\)$/,
  },
  { name: "does not know the name", options: {}, reason: /cannot reach tunnel\.example\.com:80 \(502\)$/ },
  {
    name: "answers something else",
    options: { answer: "HTTP/1.1 302 Found\r\nLocation: http://login\r\n\r\n" },
    reason: /does not connect to tunnel\.example\.com:80: it answered 302$/,
  },
  {
    name: "speaks no HTTP",
    options: { answer: "SSH-2.0-x\r\n" },
    reason: /gave an answer that is malformed: /,
  },
  {
    name: "has no end of its head",
    options: { answer: `HTTP/1.1 200 OK\r\nX: ${"x".repeat(9000)}` },
    reason: /gave an answer with a head over 8192 bytes$/,
  },
  { name: "hangs up", options: { answer: "" }, reason: /closed the connection without an answer$/ },
  {
    name: "says nothing",
    options: { answer: "silent" },
    reason: /did not answer in 0\.2 s, by way of the proxy/,
  },
  {
    name: "speaks before TLS",
    options: { answer: "HTTP/1.1 200 OK\r\n\r\nhello" },
    secure: true,
    reason: /^Somebody spoke before TLS/,
  },
];

for (const { name, options, user = "", secure = false, reason } of FAULTS) {
  Deno.test(`a proxy that ${name}: the reason is told, and no secret`, async () => {
    await using proxy = new ConnectProxy(options);
    const settings = settingsBy(
      `http://${user}127.0.0.1:${proxy.port}`,
      secure ? { gateway: { secure, host: NAME, port: 80, path: "/" } } : {},
    );
    await using running = startAgent(settings, { linkTimes: { connectMs: 200 } });
    const event = await until(() => running.events.find(({ kind }) => kind === "disconnected"), {
      what: "event",
    });
    assert.ok(event.kind === "disconnected");
    assert.match(event.reason, reason);
    if (!secure) assert.match(event.reason, new RegExp(`(?:T|t)he proxy at 127\\.0\\.0\\.1:${proxy.port}`));
    assert.ok(!JSON.stringify(running.events).includes("hunter22"));
  });
}

Deno.test("an agent of a program reaches its gateway by the proxy that it names", async () => {
  await using gateway = new FakeGateway();
  await using proxy = new ConnectProxy({ names: { [`${NAME}:80`]: gateway.port } });
  await using agent = new Agent({
    gateway: `ws://${NAME}`,
    token: "a-token",
    proxy: `http://127.0.0.1:${proxy.port}`,
    connections: 1,
    services: [{ name: "a", protocol: "tcp", handle: ({ readable, writable }) => readable.pipeTo(writable) }],
  });
  agent.start();
  await agent.ready();
  assert.equal(proxy.heads.length, 1);
});

Deno.test("a proxy that is not there is told from a gateway that is not there", async () => {
  await using running = startAgent(settingsBy("http://127.0.0.1:9"));
  const event = await until(() => running.events.find(({ kind }) => kind === "disconnected"), {
    what: "event",
  });
  assert.match(
    event.kind === "disconnected" ? event.reason : "",
    /^Cannot reach the proxy at 127\.0\.0\.1:9: nothing listens there$/,
  );
});

Deno.test("without TLS, what came right behind the proxy's answer is not lost", async () => {
  const early =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nearly";
  await using proxy = new ConnectProxy({ answer: `HTTP/1.1 200 OK\r\n\r\n${early}` });
  await using running = startAgent(settingsBy(`127.0.0.1:${proxy.port}`));
  const event = await until(() => running.events.find(({ kind }) => kind === "disconnected"), {
    what: "event",
  });
  assert.equal(event.kind === "disconnected" && event.reason, "The gateway answered 503: early");
});
