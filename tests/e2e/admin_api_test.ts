import assert from "node:assert/strict";
import type { ConnectionRow, PluginRow } from "../../core/data_plane/snapshot.ts";
import type { RouteInfo } from "../../core/plugin/reports.ts";
import { startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !can();

interface Connections {
  readonly connections: readonly ConnectionRow[];
  readonly truncated: boolean;
}

async function get<T>(gateway: TestGateway, path: string): Promise<T> {
  const response = await fetch(`${gateway.adminUrl}/api/v1/${path}`);
  assert.equal(response.status, 200, path);
  return await response.json();
}

/** Resolves to the status of the answer. */
async function close(gateway: TestGateway, id: string): Promise<number> {
  const response = await fetch(`${gateway.adminUrl}/api/v1/connections/${id}`, { method: "DELETE" });
  await response.body?.cancel();
  return response.status;
}

function gatewayTo(target: string, threads = 1): Promise<TestGateway> {
  return TestGateway.start({
    yaml: `plugins:
  static: { routes: [{ protocol: ssh, to: "${target}" }] }
  ws-agent: { domain: example.com, jwt: { secret: "${"s".repeat(32)}" } }`,
    threads,
  });
}

Deno.test({
  name: "the admin API shows an open connection under the id that the log has, its route and its plugins",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await gatewayTo(echo.target);
    assert.deepEqual(await get(gateway, "connections"), { connections: [], truncated: false });
    using client = await (await SshLikeClient.connect(gateway.port())).greeted();
    await client.echo("hello");

    const { connections: [row, ...others], truncated } = await get<Connections>(gateway, "connections");
    assert.deepEqual([others, truncated], [[], false]);
    assert.ok(row);
    const { id, since, ...shown } = row;
    assert.ok(Math.abs(Date.now() - since) < 60_000, `${since} is now`);
    const bytes = ECHOED.length + "hello".length;
    assert.deepEqual(shown, {
      listener: "127.0.0.1:0",
      source: `127.0.0.1:${client.conn.localAddr.port}`,
      protocol: "ssh",
      plugin: "static",
      target: echo.target,
      state: "relaying",
      bytesIn: bytes,
      bytesOut: bytes,
    });

    const { routes } = await get<{ routes: (RouteInfo & { plugin: string })[] }>(gateway, "routes");
    const ours = routes.find(({ plugin }) => plugin === "static");
    assert.equal(ours?.match, "protocol ssh");
    assert.deepEqual(ours?.targets, [{ target: echo.target, healthy: true, connections: 1 }]);
    const { plugins } = await get<{ plugins: PluginRow[] }>(gateway, "plugins");
    assert.deepEqual(
      plugins.map(({ name, isolation, permissions, state, restarts, status }) => [
        name,
        isolation,
        Object.keys(permissions).filter((kind) => permissions[kind] !== false),
        state,
        restarts,
        status.ready,
      ]),
      [["static", "inline", ["net"], "up", 0, true], ["ws-agent", "inline", ["net"], "up", 0, true]],
    );

    assert.equal(await client.finish(), "");
    const closed = await gateway.logged("connection_closed");
    assert.equal(closed["connection"], id);
    assert.deepEqual((await get<Connections>(gateway, "connections")).connections, []);
  },
});

Deno.test({
  name:
    "the admin API finds connections by a text in their rows, and tells what goes on while somebody listens",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await gatewayTo(echo.target, 2);
    using client = await (await SshLikeClient.connect(gateway.port())).greeted();
    await client.echo("hello");
    const found = async (filter: string) =>
      (await get<Connections>(gateway, `connections?filter=${filter}`)).connections.length;
    assert.deepEqual([await found("STATIC"), await found("no-such")], [1, 0]);

    const stream = await fetch(`${gateway.adminUrl}/api/v1/events`, { headers: { "last-event-id": "0" } });
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
    let heard = "";
    while (!heard.includes("event: happened")) {
      heard += (await reader?.read())?.value ?? assert.fail("It ended");
    }
    await reader?.cancel();
    const sample = JSON.parse(/^event: sample\ndata: (.*)$/m.exec(heard)?.[1] ?? "");
    assert.deepEqual(sample.connections, { active: 1, total: 1 });
    assert.ok(sample.bytes.in >= "hello".length && sample.memory > 0);
    assert.match(heard, /"from":"admin","event":"admin_listening"/);
  },
});

Deno.test({
  name: "DELETE closes one connection, whichever thread has it; the others go on",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await gatewayTo(echo.target, 2);
    using one = await (await SshLikeClient.connect(gateway.port())).greeted();
    using other = await (await SshLikeClient.connect(gateway.port())).greeted();
    const { connections } = await get<Connections>(gateway, "connections");
    assert.equal(connections.length, 2);
    const source = `127.0.0.1:${one.conn.localAddr.port}`;
    const id = connections.find((row) => row.source === source)?.id ?? "";

    assert.equal(await close(gateway, id), 204);
    const { result } = await gateway.logged("connection_closed", ({ connection }) => connection === id);
    assert.equal(result, "closed_by_admin");
    assert.equal(await endOf(one.conn), "ended", "the client sees the end");
    assert.equal(await close(gateway, id), 404, "it is gone");
    assert.equal(await close(gateway, "no-such-id"), 404);
    await until(() => echo.open === 1, { what: "the upstream to see the end too" });
    await other.echo("still here");
    assert.equal(await sayHello(gateway.port()), ECHOED);
  },
});

/** FIN or RST: either tells the client. */
async function endOf(conn: Deno.TcpConn): Promise<string> {
  try {
    return await conn.read(new Uint8Array(1)) === null ? "ended" : "data";
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return "ended";
    throw error;
  }
}
