/** An agent on one data plane serves the public connections of all. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { createAuthority } from "../support/certificates.ts";
import { readToEnd, serveTcp, startResponder } from "../support/echo.ts";
import type { LoggedEvent } from "../support/gateway.ts";
import { HttpClient } from "../support/http_client.ts";
import {
  type AgentProcess,
  DOMAIN,
  ENDPOINT,
  http,
  type RunningAgent,
  tcp,
  tls,
  Tunnels,
} from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { captureWorkers } from "../support/workers.ts";
import { can } from "./can.ts";

const ignore = !can();
/** So many connections all landing on one of two data planes happens once in 2^39 times. */
const CONNECTIONS = 40;

/** Services of each kind that say who the connection is from, and `name`. */
async function withServices(
  stack: AsyncDisposableStack,
): Promise<{ services: Parameters<Tunnels["agent"]>[0]; tlsCa: string }> {
  const authority = await createAuthority();
  const { certificate, key } = await authority.issue({ names: [`db.${DOMAIN}`] });
  const web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    return new Response(`${request.headers.get("x-forwarded-for")} ${await request.text()}`);
  });
  stack.defer(() => web.shutdown());
  const reversed = stack.use(startResponder((request) => request.toReversed()));
  const secure = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert: certificate, key });
  const serving = (async () => {
    for await (const conn of secure) {
      void (async () => {
        await writeAll(conn, new TextEncoder().encode("secure"));
        conn.close();
      })().catch(() => {});
    }
  })().catch(() => {});
  stack.defer(async () => {
    secure.close();
    await serving;
  });
  return {
    services: [
      http("web", `127.0.0.1:${web.addr.port}`),
      tcp("reversed", reversed.target),
      tls("db", `127.0.0.1:${secure.addr.port}`),
    ],
    tlsCa: authority.certificate,
  };
}

/** Which data planes have taken connections that match. */
function planesOf(tunnels: Tunnels, matches: (event: LoggedEvent) => boolean): Set<unknown> {
  const opened = tunnels.gateway.events.filter((line) => line.event === "connection_opened" && matches(line));
  return new Set(opened.map(({ from }) => from));
}

/** On which data plane each agent's connection came in, in order. */
function planesOfTunnels({ gateway }: Tunnels): string[] {
  return gateway.events.filter(({ event, sni }) => event === "connection_opened" && sni === ENDPOINT)
    .map(({ from }) => String(from));
}

for (const connections of [1, 2]) {
  Deno.test({
    name:
      `--threads 2, an agent with ${connections} connection(s): whichever data plane takes it, it is served`,
    ignore,
    async fn() {
      await using stack = new AsyncDisposableStack();
      const { services, tlsCa } = await withServices(stack);
      const tunnels = stack.use(await Tunnels.start({ threads: 2 }));
      const agent = await tunnels.agent(services, { connections });
      await tunnels.settled(connections, services.length);

      const one = async (i: number) => {
        using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
        const body = new TextEncoder().encode(`request ${i}`);
        assert.equal((await client.request({ method: "POST", body })).text, `127.0.0.1 request ${i}`);
        assert.equal((await client.request()).text, "127.0.0.1 ");

        using stream = await tunnels.connect(agent.port("reversed"));
        await writeAll(stream, body);
        await stream.closeWrite();
        assert.deepEqual(await readToEnd(stream), body.toReversed());

        using secure = await tunnels.connectTls("db", tlsCa);
        assert.equal(new TextDecoder().decode(await readToEnd(secure)), "secure");
      };
      for (let i = 0; i < CONNECTIONS; i += 10) {
        await Promise.all(Array.from({ length: 10 }, (_, j) => one(i + j)));
      }
      const bySni = (name: string) => planesOf(tunnels, ({ sni }) => sni === `${name}.${DOMAIN}`).size;
      assert.deepEqual([bySni("web"), bySni("db")], [2, 2], "connections landed on both data planes");
    },
  });
}

Deno.test({
  name: "--threads 2: an agent moves to the other data plane, and keep-alive connections of both go on",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { services } = await withServices(stack);
    const tunnels = stack.use(await Tunnels.start({ threads: 2 }));
    const clients: HttpClient[] = [];
    const ask = (client: HttpClient) => client.request().then(({ status }) => status);
    const first = await tunnels.agent(services);
    const [plane] = planesOfTunnels(tunnels);
    while (planesOf(tunnels, ({ sni }) => sni === `web.${DOMAIN}`).size < 2) {
      assert.ok(clients.length < CONNECTIONS, "the system spreads connections over both");
      const client = stack.use(new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`));
      clients.push(client);
      assert.equal(await ask(client), 200);
    }
    // The same agent, started again until it comes in elsewhere; each takes the names of the one before at once.
    let latest: RunningAgent = first;
    for (let epoch = Date.now() + 1; planesOfTunnels(tunnels).at(-1) === plane; epoch++) {
      latest = await tunnels.agent(services, {}, { epoch });
      for (const client of clients) assert.equal(await ask(client), 200);
    }
    assert.equal((await first.agent.ended).kind, "lost", "the older run has stopped");
    await tunnels.settled(1, services.length);
    assert.equal(latest.agent.status.connected, 1);
  },
});

Deno.test({
  name: "--threads 2: the agent's data plane crashes; the agent comes back, and its names and ports with it",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { services } = await withServices(stack);
    const workers = captureWorkers();
    const tunnels = stack.use(
      await Tunnels.start({ threads: 2, times: { pingMs: 100, firstBackoffMs: 50 } })
        .finally(() => workers.restore()),
    );
    const agent = await tunnels.agent(services);
    const port = agent.port("reversed");
    const [plane = ""] = planesOfTunnels(tunnels);

    workers.kill(plane);
    const ask = async () => {
      using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
      return (await client.request()).status;
    };
    const served = async () => await ask().catch(() => 0) === 200;
    await until(() => planesOfTunnels(tunnels).length === 2, {
      what: "the agent to come back",
      deadlineMs: 10_000,
    });
    await until(served, { what: "its name to be served", deadlineMs: 10_000 });
    await until(() => tunnels.gateway.supervisor.planes.every(({ up }) => up), { what: "both to be up" });
    await tunnels.settled(1, services.length);
    for (let i = 0; i < 20; i++) assert.equal(await ask(), 200);
    using stream = await tunnels.connect(port);
    await writeAll(stream, new TextEncoder().encode("abc"));
    await stream.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(stream)), "cba");
    assert.equal(agent.port("reversed"), port);
  },
});

Deno.test({
  name: "--threads 2: a name that is held for an agent that was lost goes round and round in no handover",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const { services } = await withServices(stack);
    const tunnels = stack.use(await Tunnels.start({ threads: 2, section: { reconnectGrace: "700ms" } }));
    const agent: AgentProcess = await tunnels.agentProcess(services);
    await agent.kill();
    await tunnels.settled(0);
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        if (i % 2 === 0) {
          using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
          return (await client.request()).status;
        }
        return await tunnels.connectTls("db").then((conn) => conn.close(), () => "refused");
      }),
    );
    assert.deepEqual(outcomes, Array.from({ length: 10 }, (_, i) => i % 2 === 0 ? 502 : "refused"));
    const { connections } = await tunnels.status();
    assert.ok(connections.total <= 25, `${connections.total} connections for ten of the public's`);
    assert.equal(tunnels.gateway.supervisor.limits.open, 0);
  },
});

Deno.test({
  name: "--threads 2: bytes of many connections at once, of both data planes, are never mixed up",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const echo = stack.use(serveTcp(async (conn) => {
      const buffer = new Uint8Array(64 * 1024);
      for (let n; (n = await conn.read(buffer)) !== null;) await writeAll(conn, buffer.subarray(0, n));
    }));
    const tunnels = stack.use(await Tunnels.start({ threads: 2 }));
    const agent = await tunnels.agent([tcp("echo", echo.target)], { connections: 2 });
    await tunnels.settled(2);
    await Promise.all(Array.from({ length: 24 }, async (_, i) => {
      using stream = await tunnels.connect(agent.port("echo"));
      const sent = new Uint8Array(256 * 1024).fill(i);
      const [, received] = await Promise.all([
        writeAll(stream, sent).then(() => stream.closeWrite()),
        readToEnd(stream),
      ]);
      assert.ok(received.length === sent.length && received.every((byte) => byte === i), `connection ${i}`);
    }));
    assert.equal(agent.agent.status.streamsTotal, 24);
  },
});
