/** Agents of go-tunnel: one written from the description of the protocol, and the program itself where it is installed. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { curl } from "../support/curl.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import {
  GO_TUNNEL_SECRET,
  GoTunnelClient,
  type GoTunnelOptions,
  goTunnelToken,
  toTargets,
} from "../support/go_tunnel_client.ts";
import { findProgram, granted } from "../support/permissions.ts";
import { denoEnvironment, type Program, startProgram, temporaryFolder } from "../support/processes.ts";
import { DOMAIN, ENDPOINT, http, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !can("curl");
/** The program: `POSTERN_GO_TUNNEL_CLIENT` says where it is, or the PATH. */
const PROGRAM = (granted("env") && Deno.env.get("POSTERN_GO_TUNNEL_CLIENT")) || "gotunnel-client";
const noProgram = !can("curl", PROGRAM);
const APP = `app.${DOMAIN}`, RAW = `raw.${DOMAIN}`;
const SECTION = {
  jwt: { secret: GO_TUNNEL_SECRET },
  heartbeat: { interval: "500ms", timeout: "2s" },
  reconnectGrace: "5s",
};

function startWeb(): AsyncDisposable & { readonly target: string } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const text = await request.text();
    return new Response(`${request.method} ${new URL(request.url).pathname} ${text.length}`);
  });
  return { target: `127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** By SNI of `name` and without ALPN, as Go's TLS does it. */
async function dial(tunnels: Tunnels, name: string): Promise<Deno.TlsConn> {
  const tls = await Deno.startTls(await tunnels.connect(tunnels.port), {
    hostname: name,
    caCerts: [tunnels.ca],
  });
  await tls.handshake();
  return tls;
}

async function agentOf(
  tunnels: Tunnels,
  targets: Readonly<Record<string, string>>,
  { name = Object.keys(targets)[0] ?? ENDPOINT, ...more }: Partial<GoTunnelOptions> & { name?: string } = {},
): Promise<GoTunnelClient> {
  return await GoTunnelClient.start(await dial(tunnels, name), {
    routes: targets,
    modes: { [RAW]: "tcp" },
    serve: toTargets(targets),
    ...more,
  });
}

async function assertServed(tunnels: Tunnels): Promise<void> {
  const connectTo = { hostname: "127.0.0.1", port: tunnels.port };
  const url = `https://${APP}:${tunnels.port}`;
  for (const args of [["--http2"], ["--http1.1"], ["--no-alpn"]]) {
    const answer = await curl(`${url}/hello`, { connectTo, ca: tunnels.ca, args });
    assert.equal(answer.text, "GET /hello 0", answer.log);
  }
  const posted = await curl(`${url}/up`, { connectTo, ca: tunnels.ca, args: ["--data", "x".repeat(5000)] });
  assert.equal(posted.text, "POST /up 5000", posted.log);
  assert.equal(await echoed(tunnels, 1), 1);
  assert.equal(await echoed(tunnels, 300_000), 300_000);
}

/** Sends so many bytes to the raw service by TLS, and reads as many back. */
async function echoed(tunnels: Tunnels, bytes: number): Promise<number> {
  using client = await dial(tunnels, RAW);
  const sent = writeAll(client, new Uint8Array(bytes).fill(7));
  const buffer = new Uint8Array(64 * 1024);
  let received = 0;
  while (received < bytes) received += await client.read(buffer) ?? bytes;
  await sent;
  return received;
}

Deno.test({
  name:
    "an agent of go-tunnel behind real TLS: HTTP/1.1, HTTP/2 and raw bytes, by endpoint or by its own name",
  ignore,
  async fn() {
    await using web = startWeb();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: SECTION });
    const targets = { [APP]: web.target, [RAW]: echo.target };
    for (const name of [APP, RAW, ENDPOINT]) {
      await using agent = await agentOf(tunnels, targets, { name });
      await tunnels.settled(1, 2);
      await assertServed(tunnels);
      agent.kill();
      await tunnels.settled(0);
    }
    const status = await tunnels.rows();
    assert.deepEqual(status, []);
  },
});

Deno.test({
  name: "agents of go-tunnel over several data planes: killed, half-open, refused; Postern's own beside them",
  ignore,
  async fn() {
    await using web = startWeb();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: SECTION, threads: 2 });
    const targets = { [APP]: web.target, [RAW]: echo.target };
    await tunnels.agent([http("mine", web.target)]);
    await using lost = await agentOf(tunnels, targets);
    await assert.rejects(agentOf(tunnels, targets), { message: /^host already registered: / });
    const token = await goTunnelToken({ issuer: "a stranger" });
    await assert.rejects(agentOf(tunnels, { [`other.${DOMAIN}`]: "x", [APP]: "x" }, { token }), {
      message: `host already registered: ${APP}`,
    });
    const mine = `mine.${DOMAIN}`;
    await assert.rejects(agentOf(tunnels, { [mine]: "x" }, { name: ENDPOINT }), {
      message: `host already registered: ${mine}`,
    });
    lost.transport.freeze();
    const since = performance.now();
    await using back = await agentOf(tunnels, targets);
    assert.ok(performance.now() - since < 5000);
    await assertServed(tunnels);
    const kinds = (await tunnels.rows()).map(({ agent }) => agent).sort();
    assert.deepEqual(kinds, ["go-tunnel", "postern"]);
    const { port } = tunnels;
    back.kill();
    // Who asks in the meantime waits for the agent.
    const waiting = curl(`https://${APP}:${port}/w`, {
      connectTo: { hostname: "127.0.0.1", port },
      ca: tunnels.ca,
    });
    await using _again = await agentOf(tunnels, targets);
    assert.equal((await waiting).text, "GET /w 0");
  },
});

Deno.test({
  name: "garbage behind TLS, at the endpoint and at a raw service, leaves tunnels alone",
  ignore,
  async fn() {
    await using web = startWeb();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: SECTION });
    await using _agent = await agentOf(tunnels, { [APP]: web.target, [RAW]: echo.target });
    for (const name of [ENDPOINT, APP, `nobody.${DOMAIN}`, RAW]) {
      for (const start of ["0001000100000001", "000000010000000100000004", "00ff"]) {
        using stranger = await dial(tunnels, name);
        await writeAll(
          stranger,
          Uint8Array.of(...Uint8Array.fromHex(start), ...new Uint8Array(2000).fill(0xee)),
        );
        await stranger.closeWrite().catch(() => {});
        await readToEnd(stranger).catch(() => {});
      }
    }
    await assertServed(tunnels);
  },
});

/** As its own config file has it; nothing but the address says that this is another gateway. */
async function startGoTunnel(
  folder: string,
  tunnels: Tunnels,
  targets: Record<string, string>,
): Promise<Program> {
  const config = {
    tunnel_addr: `127.0.0.1:${tunnels.port}`,
    skip_tls_verify: false,
    jwt_secret: GO_TUNNEL_SECRET,
    jwt_issuer: "mytunnel",
    jwt_expire_sec: 3600,
    tunnels: Object.entries(targets).map(([hostname, target]) => ({
      hostname,
      target,
      mode: hostname === RAW ? "tcp" : "http",
    })),
  };
  await Deno.writeTextFile(`${folder}/config.yaml`, JSON.stringify(config)); // JSON is YAML
  const env = { ...denoEnvironment(), SSL_CERT_FILE: await tunnels.caFile() };
  return await startProgram(findProgram(PROGRAM) ?? PROGRAM, { cwd: folder, env, stopSignal: "SIGKILL" });
}

Deno.test({
  name: "the go-tunnel program itself: served, killed, stopped and overtaken, back after a refusal",
  ignore: noProgram,
  async fn() {
    await using web = startWeb();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: SECTION });
    const targets = { [APP]: web.target, [RAW]: echo.target };
    await using folder = await temporaryFolder();
    await using first = await startGoTunnel(folder.path, tunnels, targets);
    await first.waitFor(() => first.output.includes("registered routes"), { what: "the first to register" });
    await tunnels.settled(1, 2);
    await assertServed(tunnels);
    await until(async () => (await tunnels.rows())[0]?.roundTripMs !== undefined, { what: "a pong" });

    await using second = await startGoTunnel(folder.path, tunnels, targets);
    await second.waitFor(() => /host already registered: /.test(second.output), { what: "a refusal" });
    first.kill("SIGSTOP"); // its sockets stay
    await second.waitFor(() => second.output.includes("registered routes"), { what: "the takeover" });
    await tunnels.settled(1, 2);
    await assertServed(tunnels);
  },
});
