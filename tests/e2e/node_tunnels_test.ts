/** Ports of one gateway that lead to a place beside another. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { parseGateway } from "../../plugins/ws-agent/agent/gateway_address.ts";
import { parseTarget } from "../../plugins/ws-agent/agent/target.ts";
import {
  type NodeTunnel,
  NodeTunnelManager,
  type NodeTunnelStatus,
} from "../../plugins/ws-agent/nodes/mod.ts";
import { readToEnd, startResponder } from "../support/echo.ts";
import { ENDPOINT, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ignore = !can();

const startReversing = () => startResponder((request) => request.toReversed());

async function ask(far: Tunnels, port: number, text: string): Promise<string> {
  const conn = await far.connect(port);
  try {
    await writeAll(conn, new TextEncoder().encode(text));
    await conn.closeWrite();
    return new TextDecoder().decode(await readToEnd(conn));
  } finally {
    closeQuietly(conn);
  }
}

/** What a gateway tells of its own node tunnels. */
async function nodeTunnelsOf(gateway: Tunnels): Promise<NodeTunnelStatus[]> {
  const { plugins } = await gateway.status();
  const details = plugins.find(({ name }) => name === "ws-agent")?.status.details;
  return (details?.["nodeTunnels"] ?? []) as NodeTunnelStatus[];
}

async function inState(gateway: Tunnels, state: NodeTunnelStatus["state"]): Promise<NodeTunnelStatus> {
  return await until(async () => (await nodeTunnelsOf(gateway)).find((one) => one.state === state), {
    what: `a node tunnel that is ${state}`,
    deadlineMs: 20_000,
  });
}

/** `local` of a second gateway, at a port of `far`. */
async function entry(far: Tunnels, local: string, remote = 0) {
  return {
    name: "db",
    to: `wss://${ENDPOINT}:${far.port}`,
    ports: { local, remote },
    token: far.tokens.alice,
    ca: await far.caFile(),
  };
}

Deno.test({
  name: "a node tunnel from the config: bytes, state, latency, metric, and it comes back by itself",
  ignore,
}, async () => {
  await using service = startReversing();
  await using far = await Tunnels.start();
  await using near = await Tunnels.start({
    threads: 2, // one of which has it
    section: { nodeTunnels: [await entry(far, service.target)] },
  });
  const { remotePort } = await inState(near, "connected");
  assert.equal(await ask(far, remotePort, "hello"), "olleh");
  const status = await until(
    async () => (await inState(near, "connected")).latencyMs !== undefined && inState(near, "connected"),
    {
      what: "a round trip",
    },
  );
  assert.ok(status.bytesIn > 5 && status.bytesOut > 5, JSON.stringify(status));
  const metrics = await (await fetch(`${near.gateway.adminUrl}/metrics`)).text();
  assert.match(metrics, /postern_node_tunnel_state\{[^}]*state="connected"[^}]*\} 1\n/);
  assert.ok(!JSON.stringify(await nodeTunnelsOf(near)).includes(far.tokens.alice));

  const [row] = await far.settled(1);
  const closed = await fetch(`${far.gateway.adminUrl}/api/v1/tunnels/${row?.id}`, { method: "DELETE" });
  assert.ok(closed.ok, `${closed.status}`);
  await closed.body?.cancel();
  await until(async () => (await far.rows()).some(({ id }) => id !== row?.id), {
    what: "another connection",
  });
  assert.equal((await inState(near, "connected")).remotePort, remotePort);
  assert.equal(await ask(far, remotePort, "again"), "niaga");
});

Deno.test({
  name: "the far gateway's policy decides which ports: what it refuses is told, and asked for again",
  ignore,
}, async () => {
  await using service = startReversing();
  await using far = await Tunnels.start({ tokens: { alice: { allow: { protocols: ["tcp"], ports: [] } } } });
  await using near = await Tunnels.start({ section: { nodeTunnels: [await entry(far, service.target)] } });
  assert.match((await inState(near, "refused")).reason ?? "", /may not have a port/);
  await far.reloadTokens({ alice: { allow: { protocols: ["tcp"], ports: ["20000-32000"] } } });
  const { remotePort } = await inState(near, "connected");
  assert.equal(await ask(far, remotePort, "abc"), "cba");
});

Deno.test({ name: "a node tunnel does not lead back into its own gateway", ignore }, async () => {
  await using far = await Tunnels.start();
  await assert.rejects(
    Tunnels.start({ section: { nodeTunnels: [await entry(far, "127.0.0.1:20005")] } }),
    /could go round in a circle/,
  );
});

/** A manager as a program of its own has it. */
function managed(far: Tunnels, local: string, name: string): NodeTunnel {
  return {
    name,
    to: parseGateway(`wss://${ENDPOINT}:${far.port}`),
    ports: { local: parseTarget(local), remote: 0 },
    token: far.tokens.alice,
    ca: far.ca,
  };
}

Deno.test({
  name: "NodeTunnelManager: add, start, status, stop, start again, replace without disturbing what stays",
  ignore,
}, async () => {
  await using service = startReversing();
  await using far = await Tunnels.start();
  const changes: string[] = [];
  await using manager = new NodeTunnelManager({
    node: "near",
    reconnect: { minMs: 20, maxMs: 100 },
    onChange: ({ name, state }) => changes.push(`${name} ${state}`),
  });
  const connected = (name: string) =>
    until(() => manager.status(name)?.state === "connected" && manager.status(name), {
      what: () => `${name}: ${JSON.stringify(manager.status(name))}`,
      deadlineMs: 20_000,
    });
  const db = managed(far, service.target, "db");
  manager.add(db);
  assert.equal(manager.status("db")?.state, "stopped");
  assert.throws(() => manager.add(db), { code: "config-invalid", message: /already/ });
  assert.throws(() => manager.startOutbound("nobody"), { code: "config-invalid" });
  assert.throws(() => manager.add({ ...db, name: "a b" }), { code: "config-invalid" });
  assert.equal(manager.status("nobody"), undefined);

  manager.startOutbound("db");
  manager.startOutbound("db");
  const { remotePort } = await connected("db");
  assert.equal(await ask(far, remotePort, "one"), "eno");
  assert.equal((await far.settled(1)).length, 1);

  await manager.stop("db");
  assert.equal(manager.status("db")?.state, "stopped");
  await until(async () => (await far.rows()).length === 0, { what: "the end of the tunnel" });
  manager.startOutbound("db");
  assert.equal((await connected("db")).remotePort, remotePort, "the same port as before");

  const open = await far.connect(remotePort);
  await writeAll(open, new TextEncoder().encode("stays"));
  await manager.replaceAll([db, managed(far, service.target, "other")]);
  assert.equal(await ask(far, (await connected("other")).remotePort, "two"), "owt");
  await manager.replaceAll([db]);
  assert.deepEqual(manager.list().map(({ name }) => name), ["db"]);
  await open.closeWrite();
  assert.equal(new TextDecoder().decode(await readToEnd(open)), "syats");
  closeQuietly(open);

  await manager.remove("db");
  await manager.remove("db");
  assert.deepEqual(manager.list(), []);
  assert.deepEqual(changes.slice(0, 3), ["db connecting", "db connected", "db stopped"]);
});

Deno.test({ name: "NodeTunnelManager: a token that is no good ends it, and says so", ignore }, async () => {
  await using service = startReversing();
  await using far = await Tunnels.start();
  await using manager = new NodeTunnelManager({ node: "near" });
  manager.add({ ...managed(far, service.target, "db"), token: "nonsense" });
  manager.startOutbound("db");
  const status = await until(() => manager.status("db")?.state === "failed" && manager.status("db"), {
    what: () => JSON.stringify(manager.status("db")),
  });
  assert.match(status.reason ?? "", /token/i);
});

Deno.test(
  { name: "NodeTunnelManager: what turns out to lead back is not reached, and told", ignore },
  async () => {
    await using service = startReversing();
    await using far = await Tunnels.start();
    const failures: string[] = [];
    let open: number[] = [];
    await using manager = new NodeTunnelManager({
      node: "near",
      ownPorts: () => ({ open, tunnels: { first: 1, last: 1 }, address: "0.0.0.0" }),
      onTargetFailed: (name, reason) => failures.push(`${name}: ${reason}`),
    });
    manager.add(managed(far, service.target, "db"));
    manager.startOutbound("db");
    const { remotePort } = await until(
      () => manager.status("db")?.state === "connected" && manager.status("db"),
      {
        what: "the tunnel",
        deadlineMs: 20_000,
      },
    );
    open = [service.address.port]; // from now on, that port is the gateway's own
    assert.equal(await ask(far, remotePort, "x").catch(() => ""), "");
    assert.match(await until(() => failures[0], { what: "a failure" }), /db: It leads back/);
  },
);

Deno.test({
  name: "a reload starts and ends node tunnels, disturbs none that stays, and refuses a circle",
  ignore,
}, async () => {
  await using service = startReversing();
  await using far = await Tunnels.start();
  const db = await entry(far, service.target);
  await using near = await Tunnels.start({ section: { nodeTunnels: [db] } });
  const { remotePort } = await inState(near, "connected");
  const open = await far.connect(remotePort);
  await writeAll(open, new TextEncoder().encode("stays"));

  await near.reloadSection({ nodeTunnels: [db, { ...db, name: "other" }] });
  await until(
    async () => (await nodeTunnelsOf(near)).filter(({ state }) => state === "connected").length === 2,
    {
      what: "both tunnels",
      deadlineMs: 20_000,
    },
  );
  const circle = { ...db, name: "circle", ports: { local: 20_005 } };
  await assert.rejects(near.reloadSection({ nodeTunnels: [db, circle] }), /could go round in a circle/);
  assert.deepEqual((await nodeTunnelsOf(near)).map(({ name }) => name), ["db", "other"]);
  await near.reloadSection({ nodeTunnels: [db] });
  await until(async () => (await nodeTunnelsOf(near)).length === 1, { what: "the end of the other tunnel" });
  await open.closeWrite();
  assert.equal(new TextDecoder().decode(await readToEnd(open)), "syats");
  closeQuietly(open);

  await near.reloadSection({});
  await until(async () => (await far.rows()).length === 0, { what: "the end of the tunnel" });
});
