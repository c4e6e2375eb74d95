import assert from "node:assert/strict";
import { type ByteStream, writeAll } from "../../../../core/byte_stream.ts";
import type { Grant } from "../../../../plugins/ws-agent/auth/grant.ts";
import {
  GO_TUNNEL_SECRET,
  GoTunnelClient,
  type GoTunnelOptions,
  goTunnelToken,
} from "../../../support/go_tunnel_client.ts";
import { pipe, type PipeEnd } from "../../../support/pipe.ts";
import { respond, TestAgent } from "../../../support/test_agent.ts";
import { until } from "../../../support/until.ts";
import { tlsConnection } from "../../connection.ts";
import {
  BOTH,
  ENDPOINT,
  get,
  hasteOf,
  readText,
  roundTrip,
  TestGateway,
  type TestGatewayOptions,
  TOKENS,
} from "../harness.ts";

const NEVER = new AbortController().signal;
const JWT = { jwt: { secret: GO_TUNNEL_SECRET } };
const APP = "app.example.com", SSH = "ssh.example.com", WEB = "web.example.com";
const SERVE_HTTP: GoTunnelOptions["serve"] = (stream, host) =>
  respond(host)(
    stream,
    { source: ANY, destination: ANY, connectionId: "x", serviceId: "x" },
    new Uint8Array(),
  );
const ANY = { address: "192.0.2.1", port: 1 };

function gatewayWith({ section = {}, ...options }: TestGatewayOptions = {}): TestGateway {
  return new TestGateway({ section: { ...JWT, ...section }, tokens: BOTH, ...options });
}

/** A connection by TLS to a name, its handshake done and no ALPN agreed; how it ends is for the test to see. */
function call(gateway: TestGateway, name: string): PipeEnd & { readonly done: Promise<void> } {
  const [near, far] = pipe();
  const info = tlsConnection(name, { terminated: { version: "TLSv1.3" } });
  const done = gateway.plugin.handle(far, info, { signal: NEVER });
  return Object.assign(near, { done });
}

function start(gateway: TestGateway, options: GoTunnelOptions, name = ENDPOINT): Promise<GoTunnelClient> {
  return GoTunnelClient.start(call(gateway, name), options);
}

async function refusal(gateway: TestGateway, options: GoTunnelOptions): Promise<string> {
  await using client = new GoTunnelClient(call(gateway, ENDPOINT), options);
  const ack = await client.register();
  assert.equal(ack["ok"], false);
  await client.yamux.ended;
  return String(ack["error"]);
}

Deno.test("an agent registers several hosts of both modes, and each is served", async () => {
  await using gateway = gatewayWith();
  const serve: GoTunnelOptions["serve"] = async (stream, host) => {
    if (host === APP) return await SERVE_HTTP(stream, host);
    await writeAll(stream, new TextEncoder().encode("SSH-2.0-here\r\n")); // it speaks first
    await stream.closeWrite();
    await readText(stream);
  };
  await using agent = await start(gateway, {
    routes: { [APP]: "127.0.0.1:8080", [SSH]: "127.0.0.1:22" },
    modes: { [SSH]: "tcp" },
    serve,
  });
  assert.match(await get(gateway.http(APP), APP), /^HTTP\/1\.1 200 .*\r\n\r\napp\.example\.com$/s);
  assert.deepEqual(await gateway.route(tlsConnection(SSH)), { kind: "terminate", then: { kind: "handle" } });
  const raw = call(gateway, SSH);
  assert.equal(await readText(raw), "SSH-2.0-here\r\n");
  raw.close();
  await raw.done;
  assert.deepEqual(agent.hosts, [APP, SSH]);
  const [row] = gateway.plugin.tunnels();
  assert.equal(row?.agent, "go-tunnel");
  assert.equal(row?.owner, "mytunnel");
  assert.deepEqual(row?.services.map(({ name, protocol, target }) => [name, protocol, target]), [
    [APP, "http", "127.0.0.1:8080"],
    [SSH, "tcp-tls", "127.0.0.1:22"],
  ]);
  assert.equal(gateway.metric("tunnels_active", { agent: "go-tunnel" }), 1);
  assert.equal(gateway.metric("tunnels_active", { agent: "postern" }), 0);
});

Deno.test("tcp mode: bytes both ways, and the end of each side", async () => {
  await using gateway = gatewayWith();
  await using _agent = await start(gateway, { routes: { [SSH]: "x" }, modes: { [SSH]: "tcp" } });
  const client = call(gateway, SSH);
  assert.equal(await roundTrip(client, "\0\x01 not yamux"), "\0\x01 not yamux");
  await client.closeWrite();
  assert.equal(await readText(client), "");
  await client.done;
});

Deno.test("tcp mode: first bytes that could be an agent's reach the service, though no more come", async () => {
  await using gateway = gatewayWith({ clock: hasteOf(20) });
  await using _agent = await start(gateway, { routes: { [SSH]: "x" }, modes: { [SSH]: "tcp" } });
  for (const first of ["\0", "\0\0\0\x01\0\0\0"]) {
    const client = call(gateway, SSH);
    assert.equal(await roundTrip(client, first), first);
    assert.equal(await roundTrip(client, "\x01 and more"), "\x01 and more");
    assert.equal(await roundTrip(client, "again"), "again");
    await client.closeWrite();
    assert.equal(await readText(client), "");
    await client.done;
  }
});

Deno.test("the host of a stream is written as the agent has registered it", async () => {
  await using gateway = gatewayWith();
  await using agent = await start(gateway, { routes: { "App.Example.COM": "x" }, serve: SERVE_HTTP });
  assert.match(await get(gateway.http(APP), APP), /App\.Example\.COM$/);
  assert.deepEqual(agent.hosts, ["App.Example.COM"]);
});

Deno.test("an agent may ask for one of its own hosts by SNI, as the program does: whether it is served or not", async () => {
  await using gateway = gatewayWith();
  const options = { routes: { [APP]: "x", [SSH]: "x" }, modes: { [SSH]: "tcp" }, serve: SERVE_HTTP };
  await using first = await start(gateway, options, APP);
  first.kill();
  await gateway.logged("tunnel_closed");
  await using again = await start(gateway, options, SSH); // which is kept for it
  assert.match(await get(gateway.http(APP), APP), /200/);
  assert.equal(again.received[0]?.["ok"], true);
  const requests = gateway.events.filter(({ event }) => event === "http_request");
  assert.ok(requests.every(({ fields }) => fields["status"] === 200), JSON.stringify(requests));
});

Deno.test("whoever is no agent is served by HTTP, with and without ALPN", async () => {
  await using gateway = gatewayWith();
  await using _agent = await start(gateway, { routes: { [APP]: "x" }, serve: SERVE_HTTP });
  const client = call(gateway, APP);
  assert.match(await get(client, APP), /200/);
  client.close();
  await client.done;
  const nobody = call(gateway, "nobody.example.com");
  assert.match(await get(nobody, "nobody.example.com"), /404/);
  nobody.close();
  await nobody.done;
});

Deno.test("a host that another agent has is refused, and none of the others stays", async () => {
  await using gateway = gatewayWith({ section: { reconnectGrace: 0 } });
  const owner = await gateway.agent();
  await owner.serve({ name: "web", protocol: "http" });
  const error = await refusal(gateway, { routes: { [APP]: "x", [WEB]: "x", [SSH]: "x" } });
  assert.equal(error, `host already registered: ${WEB}`);
  await until(() => gateway.registry.leases().length === 1, { what: "only the other's name to be held" });
  assert.equal(gateway.plugin.tunnels().length, 1);
  await using _agent = await start(gateway, { routes: { [APP]: "x", [SSH]: "x" } });
});

Deno.test("the same host in two ways of writing is refused", async () => {
  await using gateway = gatewayWith();
  const error = await refusal(gateway, { routes: { [APP]: "x", "APP.example.com": "x" } });
  assert.equal(error, "host already registered: APP.example.com");
});

const refusals: readonly (readonly [name: string, routes: Record<string, string>, error: RegExp])[] = [
  ["no hosts", {}, /^no routes$/],
  ["a name of another domain", { "app.example.org": "x" }, /^not_allowed: /],
  ["a name two labels below", { "a.b.example.com": "x" }, /^not_allowed: /],
  ["the endpoint", { [ENDPOINT]: "x" }, /^reserved_name: /],
  ["no name", { "": "x" }, /^bad_name: /],
  ["an address", { "127.0.0.1": "x" }, /^bad_name: /],
];
for (const [name, routes, error] of refusals) {
  Deno.test(`refused, with the reason: ${name}`, async () => {
    await using gateway = gatewayWith();
    assert.match(await refusal(gateway, { routes }), error);
    assert.deepEqual(gateway.registry.leases(), []);
  });
}

Deno.test("a token's claims say which names it is for", async () => {
  await using gateway = gatewayWith();
  const token = await goTunnelToken({ claims: { hostnames: ["shop.example.org"], subdomains: ["app"] } });
  await using _agent = await start(gateway, { token, routes: { "shop.example.org": "x", [APP]: "x" } });
  assert.match(await refusal(gateway, { token, routes: { [WEB]: "x" } }), /^not_allowed: /);
});

Deno.test("a token that is not good is refused, and counted against its source", async () => {
  await using gateway = gatewayWith({ section: { limits: { failedAuthPerMinute: 1 } } });
  const token = await goTunnelToken({ secret: "another secret, and as long as ours" });
  assert.match(await refusal(gateway, { token, routes: { [APP]: "x" } }), /^bad_signature: /);
  assert.equal(gateway.metric("auth_failures_total", { reason: "bad_signature" }), 1);
  assert.match(await refusal(gateway, { routes: { [APP]: "x" } }), /^blocked: /);
  assert.equal(JSON.stringify(gateway.events).includes(token), false);
});

Deno.test("a token of the token file lets such an agent in, too", async () => {
  await using gateway = gatewayWith();
  await using _agent = await start(gateway, { token: TOKENS.alice, routes: { [APP]: "x" } });
  assert.equal(gateway.plugin.tunnels()[0]?.owner, "alice");
});

Deno.test("more hosts than services are allowed", async () => {
  await using gateway = gatewayWith({ section: { limits: { servicesPerTunnel: 2 } } });
  assert.match(await refusal(gateway, { routes: { [APP]: "x", [WEB]: "x", [SSH]: "x" } }), /^limit: /);
  assert.deepEqual(gateway.registry.leases(), []);
});

Deno.test("an agent that is there keeps out the next one with the same hosts", async () => {
  await using gateway = gatewayWith();
  const options = { routes: { [APP]: "x" }, serve: SERVE_HTTP };
  await using _first = await start(gateway, options);
  assert.equal(await refusal(gateway, options), `host already registered: ${APP}`);
  assert.equal(gateway.metric("auth_failures_total", { reason: "held" }), 1);
  assert.match(await get(gateway.http(APP), APP), /200/);
});

Deno.test("an agent that was lost half-open gets its hosts back at once, also by a host of raw bytes", async () => {
  await using gateway = gatewayWith({ clock: hasteOf(20) });
  const options = { routes: { [SSH]: "x", [APP]: "x" }, modes: { [SSH]: "tcp" }, serve: SERVE_HTTP };
  await using lost = await start(gateway, options, SSH);
  lost.transport.freeze();
  await using _back = await start(gateway, options, SSH);
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "superseded");
  assert.match(await get(gateway.http(APP), APP), /200/);
});

Deno.test("a stranger gets no host of an agent that was lost while it is kept, nor with the same hosts", async () => {
  await using gateway = gatewayWith({ section: { reconnectGrace: "60s" } });
  await using lost = await start(gateway, { routes: { [APP]: "x" } });
  lost.kill();
  await gateway.logged("tunnel_closed");
  const token = await goTunnelToken({ issuer: "a stranger" });
  const error = await refusal(gateway, { token, routes: { [APP]: "x" } });
  assert.equal(error, `host already registered: ${APP}`);
});

Deno.test("heartbeats: pings that are answered keep an agent, and it is told nothing else", async () => {
  await using gateway = gatewayWith({ section: { heartbeat: { interval: "100ms", timeout: "300ms" } } });
  await using agent = await start(gateway, { routes: { [APP]: "x" } });
  await until(() => agent.received.length > 5, { what: "pings" });
  assert.deepEqual([...new Set(agent.received.map(({ type }) => type))], ["ack", "ping"]);
  assert.equal(typeof agent.received[1]?.["ts"], "number");
  assert.ok(gateway.plugin.tunnels()[0]?.roundTripMs !== undefined);
});

Deno.test("heartbeats: an agent of which nothing is heard is dead after the timeout", async () => {
  await using gateway = gatewayWith({ section: { heartbeat: { interval: "100ms", timeout: "300ms" } } });
  await using agent = await start(gateway, { routes: { [APP]: "x" } });
  agent.transport.freeze();
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "heartbeat_timeout");
});

Deno.test("a token that ends cuts the tunnel, and the hosts are kept: the agent makes another token", async () => {
  let good = true;
  const grant: Grant = {
    owner: "ci",
    principal: "jwt:ci:",
    get expiresAt() {
      return good ? undefined : 1;
    },
    allows: () => undefined,
    mayAccess: () => "may_not",
    stillGood: () => undefined,
  };
  await using gateway = gatewayWith({ grant, section: { reconnectGrace: "60s" } });
  await using agent = await start(gateway, { routes: { [APP]: "x" } });
  good = false;
  await agent.yamux.ended;
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "token_expired");
  assert.deepEqual(gateway.registry.lookup(`name:${APP}`)?.sessions, []);
  assert.deepEqual(agent.received.map(({ type }) => type), ["ack"]);
});

Deno.test("drain: an agent without streams ends at once, one with a stream is told to go away", async () => {
  await using gateway = gatewayWith();
  await using idle = await start(gateway, { routes: { [APP]: "x" } });
  await using busy = await start(gateway, { routes: { [SSH]: "x" }, modes: { [SSH]: "tcp" } });
  const client = call(gateway, SSH);
  assert.equal(await roundTrip(client, "hello"), "hello");
  gateway.plugin.drain();
  await idle.yamux.ended;
  await until(() => busy.yamux.peerGoesAway, { what: "GoAway" });
  assert.equal(await roundTrip(client, "still here"), "still here");
  client.close();
  await client.done;
});

const broken: readonly (readonly [name: string, text: string])[] = [
  ["a second register", `{"type":"register","token":"x","routes":{}}\n`],
  ["no JSON", "hello\n"],
  ["an unknown type", `{"type":"exec"}\n`],
  ["a line without end", "x".repeat(70_000)],
];
for (const [name, text] of broken) {
  Deno.test(`breaking the protocol ends the tunnel: ${name}`, async () => {
    await using gateway = gatewayWith();
    await using agent = await start(gateway, { routes: { [APP]: "x" } });
    await agent.sendText(text).catch(() => {});
    await agent.yamux.ended;
    assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "protocol_error");
  });
}

Deno.test("a flood of pings and pongs ends the tunnel", async () => {
  await using gateway = gatewayWith();
  await using agent = await start(gateway, { routes: { [APP]: "x" } });
  await agent.sendText(`{"type":"ping","ts":1}\n`.repeat(300)).catch(() => {});
  await agent.yamux.ended;
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "control_flood");
});

Deno.test("streams that such an agent opens are reset, and too many end it", async () => {
  await using gateway = gatewayWith();
  await using agent = await start(gateway, { routes: { [APP]: "x" } });
  for (let i = 0; i < 110; i++) agent.yamux.open();
  await agent.yamux.ended;
  assert.equal((await gateway.logged("tunnel_closed")).fields["reason"], "protocol_error");
});

Deno.test("whoever opens yamux and says nothing of use is closed in time, and counted", async () => {
  await using gateway = gatewayWith({ clock: hasteOf(100) });
  await using agent = new GoTunnelClient(call(gateway, APP));
  await agent.sendText(`{"type":"regi`);
  await agent.yamux.ended;
  assert.equal(gateway.metric("auth_failures_total", { reason: "timeout" }), 1);
  await using wrong = new GoTunnelClient(call(gateway, APP));
  await wrong.sendLine({ type: "pong", ts: 1 });
  await wrong.yamux.ended;
  assert.equal(gateway.metric("auth_failures_total", { reason: "no_auth" }), 1);
});

Deno.test("tcp mode: a connection whose agent does not come back is closed", async () => {
  await using gateway = gatewayWith({ section: { reconnectGrace: "100ms" } });
  await using agent = await start(gateway, { routes: { [SSH]: "x" }, modes: { [SSH]: "tcp" } });
  agent.kill();
  await gateway.logged("tunnel_closed");
  const client: ByteStream & { readonly done: Promise<void> } = call(gateway, SSH);
  assert.equal(await readText(client).catch(() => ""), "");
  await client.done;
});

Deno.test("Postern's agents and those of go-tunnel are each other's strangers, and served side by side", async () => {
  await using gateway = gatewayWith();
  const ours: TestAgent = await gateway.agent({ serve: respond("ours") });
  await ours.serve({ name: "web", protocol: "http" });
  await using _agent = await start(gateway, {
    token: TOKENS.alice,
    routes: { [APP]: "x" },
    serve: SERVE_HTTP,
  });
  assert.match(await get(gateway.http(WEB), WEB), /ours$/);
  assert.match(await get(gateway.http(APP), APP), /app\.example\.com$/);
  assert.equal((await ours.register({ name: "app", protocol: "http" })).type, "registerFail");
});
