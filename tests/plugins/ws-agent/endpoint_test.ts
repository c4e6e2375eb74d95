import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { encodeControl } from "../../../plugins/ws-agent/control/codec.ts";
import type { ControlMessage } from "../../../plugins/ws-agent/control/messages.ts";
import { clientIdOf } from "../../support/test_agent.ts";
import { until } from "../../support/until.ts";
import { tlsConnection } from "../connection.ts";
import { encode, hasteOf, readText, TestGateway, tokenEntry, TOKENS } from "./harness.ts";
import { settled } from "./yamux/raw_peer.ts";

const UPGRADE = {
  "Host": "tunnel.example.com",
  "Upgrade": "websocket",
  "Connection": "Upgrade",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
  "Sec-WebSocket-Protocol": "postern.v1",
};

function request(start: string, headers: Record<string, string | undefined>): Uint8Array {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`]
  );
  return encode([start, ...lines, "", ""].join("\r\n"));
}

const refused: { name: string; sent: Uint8Array; status: string }[] = [
  {
    name: "another path",
    sent: request("GET /tunnel/v2 HTTP/1.1", UPGRADE),
    status: "404 Not Found",
  },
  {
    name: "another host than the endpoint",
    sent: request("GET /tunnel/v1 HTTP/1.1", { ...UPGRADE, Host: "demo.example.com" }),
    status: "421 Misdirected Request",
  },
  {
    name: "no upgrade",
    sent: request("GET /tunnel/v1 HTTP/1.1", { Host: "tunnel.example.com" }),
    status: "426 Upgrade Required",
  },
  {
    name: "another method",
    sent: request("POST /tunnel/v1 HTTP/1.1", { ...UPGRADE, "Content-Length": "0" }),
    status: "405 Method Not Allowed",
  },
  {
    name: "a data WebSocket for nothing",
    sent: request("GET /tunnel/v1/data/00010203-0405-0607-0809-0a0b0c0d0e0f HTTP/1.1", {
      ...UPGRADE,
      "Sec-WebSocket-Protocol": undefined,
    }),
    status: "404 Not Found",
  },
  {
    name: "a data WebSocket whose id is none",
    sent: request("GET /tunnel/v1/data/../data/x HTTP/1.1", {
      ...UPGRADE,
      "Sec-WebSocket-Protocol": undefined,
    }),
    status: "404 Not Found",
  },
  {
    name: "a data WebSocket with a subprotocol",
    sent: request("GET /tunnel/v1/data/00010203-0405-0607-0809-0a0b0c0d0e0f HTTP/1.1", UPGRADE),
    status: "400 Bad Request",
  },
  {
    name: "a data WebSocket of a browser",
    sent: request("GET /tunnel/v1/data/00010203-0405-0607-0809-0a0b0c0d0e0f HTTP/1.1", {
      ...UPGRADE,
      "Sec-WebSocket-Protocol": undefined,
      Origin: "https://evil.example",
    }),
    status: "403 Forbidden",
  },
  {
    name: "a subprotocol that is not spoken",
    sent: request("GET /tunnel/v1 HTTP/1.1", { ...UPGRADE, "Sec-WebSocket-Protocol": "postern.v9" }),
    status: "400 Bad Request",
  },
  {
    name: "a browser",
    sent: request("GET /tunnel/v1 HTTP/1.1", { ...UPGRADE, Origin: "https://evil.example" }),
    status: "403 Forbidden",
  },
  {
    name: "a malformed Postern-Agent",
    sent: request("GET /tunnel/v1 HTTP/1.1", { ...UPGRADE, "Postern-Agent": "epoch=soon" }),
    status: "400 Bad Request",
  },
  {
    name: "a malformed request",
    sent: encode("GET /tunnel/v1 HTTP/1.1\nHost: tunnel.example.com\n\n"),
    status: "400 Bad Request",
  },
];
for (const { name, sent, status } of refused) {
  Deno.test(`refuses ${name} with ${status}`, async () => {
    await using gateway = new TestGateway();
    const client = await gateway.dial();
    await writeAll(client, sent);
    const answer = await readText(client);
    assert.equal(answer.split("\r\n")[0], `HTTP/1.1 ${status}`);
    assert.match(answer, /\r\nConnection: close\r\n/);
  });
}

Deno.test("closes what is neither HTTP nor yamux, and says so in the log", async () => {
  await using gateway = new TestGateway();
  const client = await gateway.dial();
  await client.write(Uint8Array.of(0x16, 0, 0, 0));
  assert.equal(await readText(client).catch(() => ""), "");
  assert.equal((await gateway.logged("agent_refused")).fields["reason"], "unknown");
});

Deno.test("lets in whoever shows a good token, and tells the tunnel's id", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.stranger({ epoch: 7, slot: 3 });
  const answer = await agent.authenticate();
  assert.equal(answer.type, "authOk");
  const { fields } = await gateway.logged("tunnel_opened");
  assert.equal(fields["tunnel"], answer.type === "authOk" && answer.tunnelId);
  assert.equal(fields["owner"], "alice");
  assert.equal(fields["epoch"], 7);
  assert.equal(fields["slot"], 3);
});

Deno.test("refuses a bad token, counts it, and logs it once for each source and minute", async () => {
  await using gateway = new TestGateway({ section: { limits: { failedAuthPerMinute: 0 } } });
  for (let i = 0; i < 3; i++) {
    const agent = await gateway.stranger({ token: "pst_nonsense" });
    const answer = await agent.authenticate();
    assert.match(answer.type === "authFail" ? answer.reason : "", /^bad_token: /);
    await agent.ended;
  }
  assert.equal(gateway.metric("auth_failures_total", { reason: "bad_token", plugin: "ws-agent" }), 3);
  const lines = gateway.events.filter(({ event }) => event === "auth_failed");
  assert.equal(lines.length, 1);
  assert.equal(JSON.stringify(gateway.events).includes("pst_nonsense"), false);
  assert.equal(gateway.plugin.tunnels().length, 0);
});

Deno.test("limits.failedAuthPerMinute: a source that fails too often is told to come back later, good token or not", async () => {
  await using gateway = new TestGateway({ section: { limits: { failedAuthPerMinute: 1 } } });
  const first = await gateway.stranger({ token: "pst_nonsense" });
  assert.equal((await first.authenticate()).type, "authFail");
  const second = await gateway.stranger();
  assert.equal((await second.authenticate()).type, "disconnect");
});

Deno.test("limits.tunnels: refused at once, with its name, and told to come back rather than to give up", async () => {
  await using gateway = new TestGateway({ section: { limits: { tunnels: 1 } } });
  await gateway.agent();
  const other = await gateway.stranger({ client: 2 });
  const answer = await other.authenticate();
  assert.equal(answer.type, "disconnect");
  assert.match(answer.type === "disconnect" ? answer.reason : "", /^limit: .*limits\.tunnels/);
  assert.equal(gateway.metric("auth_failures_total", { reason: "limit" }), 1);
});

const early: ControlMessage[] = [
  { type: "heartbeat", time: 1 },
  { type: "registerService", name: "demo", protocol: "http" },
  { type: "unregister", serviceId: clientIdOf(9) },
  { type: "authOk", tunnelId: clientIdOf(9) },
];
for (const message of early) {
  Deno.test(`refuses ${message.type} before Auth`, async () => {
    await using gateway = new TestGateway();
    const agent = await gateway.stranger();
    await agent.send(message);
    await agent.send({ type: "auth", token: TOKENS.alice, clientId: clientIdOf(1) });
    assert.match((await agent.next("authFail")).reason, /Auth/);
    await agent.ended;
    assert.equal(gateway.plugin.tunnels().length, 0);
    assert.equal(gateway.registry.size, 0);
    assert.equal(gateway.metric("auth_failures_total", { reason: "no_auth" }), 1);
  });
}

const silences = [
  { name: "says nothing", sent: [] },
  { name: "sends a byte of its request at a time", sent: ["G", "E", "T", " "] },
  { name: "stops after the upgrade", sent: [request("GET /tunnel/v1 HTTP/1.1", UPGRADE)] },
];
for (const { name, sent } of silences) {
  Deno.test(`10 s for Auth, from the first byte on: an agent that ${name} is cut off`, async () => {
    await using gateway = new TestGateway({ clock: hasteOf(40) });
    const client = await gateway.dial();
    for (const bytes of sent) await writeAll(client, typeof bytes === "string" ? encode(bytes) : bytes);
    await readText(client).catch(() => "");
    await until(() => gateway.metric("auth_failures_total", { reason: "timeout" }) === 1, {
      what: "the count",
    });
    assert.equal(gateway.plugin.status().details?.["arriving"], 0);
  });
}

Deno.test("10 s for Auth: an agent with a control stream and no Auth is cut off, heartbeats or not", async () => {
  await using gateway = new TestGateway({ clock: hasteOf(40) });
  const agent = await gateway.stranger();
  await agent.sendBytes(encodeControl({ type: "heartbeat", time: 1 }).subarray(0, 3));
  await agent.ended;
  assert.equal(gateway.metric("auth_failures_total", { reason: "timeout" }), 1);
});

Deno.test("an agent's further streams are reset, and its tunnel goes on", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const stray = agent.yamux.open();
  await assert.rejects(async () => {
    await writeAll(stray, encode("hello"));
    await stray.read(new Uint8Array(16));
  }, Deno.errors.ConnectionReset);
  await agent.serve({ name: "demo", protocol: "http" });
  assert.equal(gateway.metric("tunnel_stray_streams_total"), 1);
});

Deno.test("an agent that opens streams without end is closed", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  for (let i = 0; i < 110 && gateway.plugin.tunnels().length > 0; i++) {
    try {
      await writeAll(agent.yamux.open(), encode("x"));
    } catch {
      break;
    }
    await until(
      () => gateway.metric("tunnel_stray_streams_total") > i || gateway.plugin.tunnels().length === 0,
      {
        what: "the stream to be counted",
      },
    );
  }
  await agent.ended;
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "protocol_error");
});

Deno.test("disposing of the plugin ends connections that are not in yet", async () => {
  const gateway = new TestGateway();
  const client = await gateway.dial();
  await writeAll(client, encode("GET "));
  await until(() => gateway.plugin.status().details?.["arriving"] === 1, { what: "the arrival" });
  await gateway.plugin[Symbol.asyncDispose]();
  assert.equal(await readText(client).catch(() => ""), "");
  await gateway[Symbol.asyncDispose]();
});

Deno.test("of who has not proved anything, no more is read than a message needs", async () => {
  await using gateway = new TestGateway({ clock: hasteOf(0.001) }); // a bad token is answered late
  const stranger = await gateway.stranger();
  await stranger.send({ type: "auth", token: "no token", clientId: clientIdOf(1) });
  const flooding = stranger.sendBytes(new Uint8Array(250_000)).catch(() => {});
  const [session] = gateway.sessions;
  await until(() => (session?.bytesRead ?? 0) >= 64 * 1024, { what: "as much as is taken" });
  await settled();
  assert.ok((session?.bytesRead ?? 0) < 80 * 1024, `${session?.bytesRead} bytes were taken`);
  stranger.kill();
  await flooding;
});

Deno.test("who is in is read of without that bound", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent({ serve: (stream) => writeAll(stream, new Uint8Array(200_000)) });
  await agent.serve({ name: "ssh", protocol: "tcp", remotePort: 30_003 });
  const client = await gateway.connectPort(30_003);
  assert.ok(await client.read(new Uint8Array(1)));
  await until(() => (gateway.sessions[0]?.bytesRead ?? 0) >= 200_000, {
    what: "all of it",
    deadlineMs: 2000,
  });
});

Deno.test("the endpoint's name belongs to agents alone", async () => {
  await using gateway = new TestGateway();
  assert.deepEqual(await gateway.route(tlsConnection("tunnel.example.com")), {
    kind: "terminate",
    alpn: ["http/1.1"],
    then: { kind: "handle" },
  });
});

Deno.test("a token that is not good yet for anything else still gets no tunnel after it was revoked", async () => {
  const tokens = tokenEntry("alice", TOKENS.alice, "revoked: true");
  await using gateway = new TestGateway({ tokens });
  const agent = await gateway.stranger();
  assert.equal((await agent.authenticate()).type, "authFail");
  assert.equal(gateway.metric("auth_failures_total", { reason: "revoked" }), 1);
});
