/** One side is there no more, and TCP says nothing of it: a process that is stopped keeps all its sockets. */
import assert from "node:assert/strict";
import { createAuthority } from "../support/certificates.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { type PemPair, writePem } from "../support/openssl.ts";
import { freeAddress, hostPort, type Program, temporaryFolder } from "../support/processes.ts";
import { DOMAIN, ENDPOINT, http, RunningAgent, tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { writeAll } from "../../core/byte_stream.ts";
import { digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { can } from "./can.ts";

const ignore = !can();
/** What a busy machine may take on top of any time. */
const SLACK_MS = 2000;
const HEARTBEAT = { interval: "200ms", timeout: "600ms" };
const TIMEOUT_MS = 600, GRACE_MS = 1000;

function startWeb(): AsyncDisposable & { readonly target: string } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello"));
  return {
    target: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

async function statusOf(tunnels: Tunnels, name: string): Promise<number> {
  using client = new HttpClient(await tunnels.connectTls(name), `${name}.${DOMAIN}`);
  return (await client.request()).status;
}

async function echoes(tunnels: Tunnels, port: number): Promise<boolean> {
  using stream = await tunnels.connect(port);
  await writeAll(stream, new TextEncoder().encode("hello"));
  await stream.closeWrite();
  return (await readToEnd(stream)).length === 5;
}

Deno.test({
  name:
    "an agent that is stopped: found by heartbeats, names held for the grace, then 502; back when it goes on",
  ignore,
  async fn() {
    await using web = startWeb();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({
      section: { heartbeat: HEARTBEAT, reconnectGrace: `${GRACE_MS}ms` },
    });
    const services = [http("web", web.target), tcp("echo", echo.target)];
    const agent = await tunnels.agentProcess(services, { connections: 2 });
    const port = agent.port("echo");
    await tunnels.settled(2, 2);

    const stopped = performance.now();
    agent.program.kill("SIGSTOP");
    const caught = statusOf(tunnels, "web");
    const lost = () => tunnels.gateway.events.filter(({ reason }) => reason === "heartbeat_timeout").length;
    await until(() => lost() === 2, { what: "both connections to be found dead" });
    const found = performance.now() - stopped;
    assert.ok(found < TIMEOUT_MS + SLACK_MS, `found after ${found} ms`);
    const waiting = statusOf(tunnels, "web");
    assert.deepEqual(await tunnels.rows(), []);
    const stranger = new RunningAgent(tunnels.settings([http("web", web.target)], { owner: "bob" }));
    await using _ = stranger;
    await until(() => stranger.events.some(({ kind }) => kind === "refused"), {
      what: "the name to be held",
    });
    await stranger[Symbol.asyncDispose]();

    assert.equal(await waiting, 502, "who waited is told in the end");
    const over = performance.now() - stopped;
    assert.equal(await caught, 502, "who was caught by it had one more try, which may have been caught, too");
    assert.ok(over > GRACE_MS && over < TIMEOUT_MS + GRACE_MS + 2 * SLACK_MS, `told after ${over} ms`);

    agent.program.kill("SIGCONT");
    await tunnels.settled(2, 2);
    assert.equal(await statusOf(tunnels, "web"), 200);
    assert.ok(await echoes(tunnels, port), "the port is the same one");
    assert.equal(agent.program.ended, undefined);
  },
});

Deno.test({
  name:
    "an agent that is stopped, and started anew: its names and port are its own again at once; nobody else's",
  ignore,
  async fn() {
    await using web = startWeb();
    await using echo = startEcho();
    // Nothing is found by heartbeats here: whoever comes back does not have to wait for them.
    await using tunnels = await Tunnels.start({ threads: 2, section: { heartbeat: { timeout: "10m" } } });
    const services = [http("web", web.target), tcp("echo", echo.target)];
    const first = await tunnels.agentProcess(services);
    const port = first.port("echo");
    first.program.kill("SIGSTOP");

    const stranger = new RunningAgent(
      tunnels.settings([http("web", web.target), tcp("echo", echo.target, { remotePort: port })], {
        owner: "bob",
      }),
    );
    await using _ = stranger;
    const refused = () => stranger.events.flatMap((event) => event.kind === "refused" ? event.service : []);
    await until(() => new Set(refused()).size === 2, { what: "name and port to be refused" });
    assert.deepEqual(
      (await tunnels.rows()).map(({ owner, services }) => [owner, services.length]).toSorted(),
      [
        ["alice", 2],
        ["bob", 0],
      ],
    );

    const second = await tunnels.agentProcess(services);
    assert.equal(second.port("echo"), port);
    assert.equal(await statusOf(tunnels, "web"), 200);
    assert.ok(await echoes(tunnels, port));
    assert.deepEqual(stranger.events.filter(({ kind }) => kind === "public"), []);

    first.program.kill("SIGCONT");
    const { code } = await first.program.status;
    assert.equal(code, 3, `the older run leaves: ${first.program.output}`);
    assert.equal(await statusOf(tunnels, "web"), 200, "and takes nothing with it");

    await second.kill();
    const third = await tunnels.agentProcess(services);
    assert.equal(third.port("echo"), port);
    assert.equal(await statusOf(tunnels, "web"), 200);
    assert.deepEqual(stranger.events.filter(({ kind }) => kind === "public"), []);
  },
});

Deno.test({
  name: "a gateway that is stopped: its agent finds out, and is there again when it goes on",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using web = startWeb();
    await using tunnels = await Tunnels.start(); // for its tokens, and to start programs
    const authority = await createAuthority();
    const address = freeAddress();
    const certificate = await authority.issue({ names: [`*.${DOMAIN}`] });
    const token = tunnels.tokens.alice;
    const config = await writeConfig(folder.path, { address: hostPort(address), certificate, token });
    const gateway: Program = await tunnels.command("gateway", "--config", config);
    await gateway.waitForPort(address, { deadlineMs: 20_000 });

    const settings = tunnels.settings([http("web", web.target)], {
      gateway: { secure: true, host: ENDPOINT, port: address.port, path: "/tunnel/v1" },
      tls: { extraCa: authority.certificate, insecure: false },
    });
    await using agent = new RunningAgent(settings, {
      linkTimes: { heartbeatMs: 100, silenceMs: 400, connectMs: 500 },
    });
    await agent.ready();
    gateway.kill("SIGSTOP");
    const stopped = performance.now();
    await until(() => agent.agent.status.connected === 0, { what: "the agent to find out" });
    assert.ok(performance.now() - stopped < 400 + SLACK_MS);
    const reason = () =>
      agent.events.findLast((event) => event.kind === "disconnected" && event.wasConnected) as {
        reason: string;
      };
    assert.match(reason().reason, /Nothing heard from the gateway for/);
    const attempts = () =>
      agent.events.filter((event) => event.kind === "disconnected" && !event.wasConnected);
    await until(() => attempts().length >= 2, { what: "attempts that end in time" });

    gateway.kill("SIGCONT");
    await until(() => agent.agent.status.connected === 1, {
      what: "the agent to be back",
      deadlineMs: 10_000,
    });
    const ask = async () => {
      const tcp = await Deno.connect(address);
      const tls = await Deno.startTls(tcp, {
        hostname: `web.${DOMAIN}`,
        caCerts: [authority.certificate],
      });
      using client = new HttpClient(tls, `web.${DOMAIN}`);
      return (await client.request()).status;
    };
    await until(async () => await ask() === 200, { what: "its name to be served", deadlineMs: 15_000 });
  },
});

async function writeConfig(
  folder: string,
  { address, certificate, token }: { address: string; certificate: PemPair; token: string },
): Promise<string> {
  const entry = { id: "alice", sha256: digestOf(token).toHex(), created: "2026-01-01" };
  await Deno.writeTextFile(`${folder}/tokens.yaml`, JSON.stringify([entry]));
  const config = {
    listeners: [{ address }],
    admin: { address: "127.0.0.1:0" },
    tls: {
      certificates: [{
        cert: await writePem(folder, "server", certificate.certificate),
        key: await writePem(folder, "server-key", certificate.key),
      }],
    },
    plugins: { "ws-agent": { domain: DOMAIN, tokens: `${folder}/tokens.yaml` } },
  };
  await Deno.writeTextFile(`${folder}/postern.yaml`, JSON.stringify(config));
  return `${folder}/postern.yaml`;
}
