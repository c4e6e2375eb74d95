/** Agents that speak the control messages alone, behind real TLS and over several data planes. */
import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { startEcho } from "../support/echo.ts";
import { canPlain, PlainAgent, type PlainAgentOptions, type ServeSocket } from "../support/plain_agent.ts";
import { ENDPOINT, tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !can() || !canPlain;
/** That so many data WebSockets, or connections, all land on one of two data planes happens once in 2^15 times. */
const CONNECTIONS = 16;
const SECTION = { heartbeat: { interval: "500ms", timeout: "2s" }, reconnectGrace: "5s" };

function start(tunnels: Tunnels, more: Partial<PlainAgentOptions> = {}): Promise<PlainAgent> {
  return PlainAgent.start({
    origin: `wss://127.0.0.1:${tunnels.port}`,
    host: ENDPOINT,
    token: tunnels.tokens.alice,
    socket: { ca: tunnels.ca, servername: ENDPOINT },
    ...more,
  });
}

/** Brings a connection to a local target, as an agent does. */
function toTarget(target: string): ServeSocket {
  const [hostname = "", port] = target.split(":");
  return (socket) => {
    const dialing = Deno.connect({ hostname, port: Number(port) });
    let writing: Promise<unknown> = dialing;
    socket.on(
      "message",
      (data) => writing = writing.then(async () => writeAll(await dialing, data)).catch(() => {}),
    );
    socket.on("close", () => void writing.then(async () => closeQuietly(await dialing)).catch(() => {}));
    (async () => {
      const local = await dialing;
      const buffer = new Uint8Array(16 * 1024);
      for (let length; (length = await local.read(buffer)) !== null;) socket.send(buffer.slice(0, length));
      socket.close(1000);
    })().catch(() => {});
  };
}

/** Registers a tcp service, and resolves to its public port, which its operator is told and the agent is not. */
async function publicPort(tunnels: Tunnels, agent: PlainAgent, name: string): Promise<number> {
  const answer = await agent.register(name);
  assert.ok("service" in answer, JSON.stringify(answer));
  const services = (await tunnels.rows()).flatMap((row) => row.services);
  const found = services.find(({ id }) => id.replaceAll("-", "") === answer.service);
  return Number(/:(\d+)$/.exec(found?.url ?? "")?.[1]);
}

async function echoed(client: ByteStream, bytes: number): Promise<void> {
  const sent = new Uint8Array(bytes).map((_, i) => i * 7);
  const sending = writeAll(client, sent);
  const back = new Uint8Array(bytes);
  for (let at = 0; at < bytes;) {
    at += await client.read(back.subarray(at)) ?? assert.fail(`${at} of ${bytes}`);
  }
  await sending;
  assert.deepEqual(back, sent);
}

Deno.test({
  name:
    "plain agents behind TLS, --threads 2: whichever data planes take agent, public and data, they are served",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: SECTION, threads: 2 });
    await tunnels.agent([tcp("own", echo.target)]);
    await using agent = await start(tunnels, { serve: toTarget(echo.target) });
    const port = await publicPort(tunnels, agent, "echo");
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      using client = await tunnels.connect(port);
      await echoed(client, 1);
      await echoed(client, 100_000);
    }));
    assert.equal(agent.connects.length, CONNECTIONS);
    const rows = await until(async () => {
      const rows = await tunnels.rows();
      return rows.every(({ streams }) => streams === 0) && rows;
    }, { what: "all streams to be over", deadlineMs: 15_000 });
    assert.deepEqual(rows.map((row) => row.agent).sort(), ["plain", "postern"]);
    const plain = rows.find((row) => row.agent === "plain");
    assert.deepEqual([plain?.bytesIn, plain?.bytesOut], [CONNECTIONS * 100_001, CONNECTIONS * 100_001]);
    const errors = tunnels.gateway.events.filter(({ level }) => level === "error");
    assert.deepEqual(errors, []);
  },
});

Deno.test({
  name:
    "plain agents, --threads 2: a token in use, an agent that hangs, one that is killed, one that is cut off by its operator",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({ section: SECTION, threads: 2 });
    const serve = toTarget(echo.target);
    await using lost = await start(tunnels, { serve });
    const port = await publicPort(tunnels, lost, "echo");
    for (let i = 0; i < 8; i++) await assert.rejects(start(tunnels), { message: "Token already in use" });
    lost.freeze();
    const since = performance.now();
    await using back = await start(tunnels, { serve });
    assert.ok(performance.now() - since < 5000);
    assert.equal(await publicPort(tunnels, back, "echo"), port);
    using open = await tunnels.connect(port);
    await echoed(open, 10);
    back.kill();
    assert.equal(await open.read(new Uint8Array(1)).catch(() => null), null);
    using waiting = await tunnels.connect(port);
    await using again = await until(() => start(tunnels, { serve }).catch(() => undefined), {
      what: "it to be back",
    });
    assert.equal(await publicPort(tunnels, again, "echo"), port);
    await echoed(waiting, 10);
    const [row] = await tunnels.settled(1);
    const url = `${tunnels.gateway.adminUrl}/api/v1/tunnels/${encodeURIComponent(row?.id ?? "")}`;
    const answer = await fetch(url, { method: "DELETE" });
    assert.ok(answer.ok, await answer.text());
    await until(() => again.isClosed, { what: "it to be closed" });
  },
});
