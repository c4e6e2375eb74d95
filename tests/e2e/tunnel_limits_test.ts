/** Every limit of a tunnel refuses by its own name; who is slow holds back nobody but those who talk to it. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { readToEnd, startEcho, startSilent } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { TestAgent } from "../support/test_agent.ts";
import { DOMAIN, ENDPOINT, http, RunningAgent, tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !can();
const MIB = 1 << 20;
/** What clients try to get rid of, all together: this much more in memory would show. */
const PUSHED_MIB = 320;
const CLIENTS = 20;
/** Half of that. A session holds 32 MiB at most; collecting garbage takes its time. */
const MAY_GROW_MIB = 160;

async function roundTrip(stream: Deno.Conn, length: number): Promise<void> {
  const bytes = new Uint8Array(length);
  const read = async () => {
    for (let left = length, n; left > 0; left -= n) {
      n = await stream.read(bytes.subarray(0, left)) ?? assert.fail("ended");
    }
  };
  await Promise.all([writeAll(stream, new Uint8Array(length).fill(7)), read()]);
}

/** Clients that send to a port as much as is taken, until they are cut off. */
function pushTo(tunnels: Tunnels, port: number): { accepted: number; ended: Promise<void>; close(): void } {
  const chunk = new Uint8Array(256 * 1024);
  const streams: Deno.TcpConn[] = [];
  const pushing = {
    accepted: 0,
    ended: Promise.resolve(),
    close: () => streams.forEach(closeQuietly),
  };
  const push = async () => {
    const stream = await tunnels.connect(port);
    streams.push(stream);
    try {
      for (let left = PUSHED_MIB * MIB / CLIENTS, n; left > 0; left -= n) {
        n = await stream.write(chunk);
        pushing.accepted += n;
      }
      await readToEnd(stream);
    } catch {
      // Cut off.
    } finally {
      closeQuietly(stream);
    }
  };
  pushing.ended = Promise.all(Array.from({ length: CLIENTS }, push)).then(() => {});
  return pushing;
}

Deno.test({
  name:
    "limits.servicesPerTunnel and limits.streamsPerTunnel refuse at once, by name, and only what is above",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using web = startWeb();
    await using tunnels = await Tunnels.start({
      section: { limits: { servicesPerTunnel: 2, streamsPerTunnel: 3 } },
    });
    const services = [tcp("echo", echo.target), http("web", web.target)];
    await using crowded = new RunningAgent(
      tunnels.settings([...services, tcp("third", echo.target)], { name: "crowded" }),
    );
    const refused = () => crowded.events.flatMap((event) => event.kind === "refused" ? event : []);
    await until(() => refused().length > 0, { what: "a refusal" });
    assert.match(refused()[0]?.reason ?? "", /2 services \(limits\.servicesPerTunnel\)/);
    const isPublic = () => crowded.events.filter(({ kind }) => kind === "public").length;
    await until(() => isPublic() === 2, { what: "the others to be public" });

    const port = [...services].map(({ name }) => crowded.port(name)).find((one) => one > 0) ?? 0;
    const open = await Promise.all([1, 2, 3].map(() => tunnels.connect(port)));
    for (const stream of open) await roundTrip(stream, 100);
    using fourth = await tunnels.connect(port);
    assert.match(new TextDecoder().decode(await readToEnd(fourth)), /limit/);
    const rejected = await tunnels.gateway.logged(
      "connection_refused",
      ({ result }) => result === "over_limit",
    );
    assert.equal(rejected["detail"], "limits.streamsPerTunnel");
    const ask = async () => {
      using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
      const { status, headers } = await client.request();
      return [status, headers.has("retry-after")];
    };
    assert.deepEqual(await ask(), [503, true]);
    for (const stream of open) await roundTrip(stream, 100);
    open.forEach(closeQuietly);
    await until(async () => (await ask())[0] === 200, { what: "room again" });
  },
});

Deno.test({
  name: "an agent that stops reading: memory stays bounded, other tunnels go on, and in the end it is dead",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: { heartbeat: { interval: "1s", timeout: "3s" } } });
    const good = await tunnels.agent([tcp("echo", echo.target)], { owner: "bob" });
    await using stuck = await TestAgent.start(await tunnels.connectHost(ENDPOINT), {
      token: tunnels.tokens.alice,
      host: ENDPOINT,
    });
    const { remotePort = 0 } = await stuck.serve({ name: "stuck", protocol: "tcp" });
    using other = await tunnels.connect(good.port("echo"));
    await roundTrip(other, MIB);
    const before = Deno.memoryUsage().rss;
    stuck.transport.freeze();
    const pushing = pushTo(tunnels, remotePort);
    let most = 0;
    const dead = tunnels.gateway.logged("tunnel_closed", ({ reason }) => reason === "heartbeat_timeout");
    let isDead = false;
    dead.then(() => isDead = true, () => isDead = true);
    for (let trips = 0; !isDead; trips++) {
      const start = performance.now();
      await roundTrip(other, 64 * 1024);
      assert.ok(performance.now() - start < 2000, `round trip ${trips} of another tunnel`);
      most = Math.max(most, Deno.memoryUsage().rss);
      await new Promise((resolve) => setTimeout(resolve)); // lets timers come in
    }
    await dead;
    await pushing.ended;
    const grown = (most - before) / MIB;
    assert.ok(grown < MAY_GROW_MIB, `${grown} MiB more, ${pushing.accepted / MIB} MiB taken off clients`);
    assert.ok(pushing.accepted < PUSHED_MIB * MIB, "clients were held back");
  },
});

Deno.test({
  name: "a target that stops reading: its stream is held back, and the others of the same tunnel go on",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using silent = startSilent();
    await using tunnels = await Tunnels.start();
    const agent = await tunnels.agent([tcp("echo", echo.target), tcp("silent", silent.target)]);
    using other = await tunnels.connect(agent.port("echo"));
    await roundTrip(other, MIB);
    const before = Deno.memoryUsage().rss;
    const pushing = pushTo(tunnels, agent.port("silent"));
    let last = -1;
    // Until no client gets anything more taken while a MiB goes round beside it.
    for (; last < pushing.accepted || last === 0;) {
      last = pushing.accepted;
      for (let i = 0; i < 16; i++) await roundTrip(other, MIB / 16);
    }
    const grown = (Deno.memoryUsage().rss - before) / MIB;
    assert.ok(grown < MAY_GROW_MIB, `${grown} MiB more, ${last / MIB} MiB taken off clients`);
    assert.ok(last < PUSHED_MIB * MIB, "clients were held back");
    pushing.close();
    await pushing.ended;
    await silent[Symbol.asyncDispose]();
    await until(() => agent.agent.status.streams <= 1, { what: "the streams to end" });
  },
});

function startWeb(): AsyncDisposable & { readonly target: string } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello"));
  return {
    target: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
