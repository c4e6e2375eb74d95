/** What an operator sees of `cloudflared` and `mtls-postgres`: log fields, metrics, `status`, `/readyz`. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { runHere } from "../cli/run_cli.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { freeRange, hasStandIn, installStandIn, type StandIn } from "../support/cloudflared.ts";
import { readToEnd, serveTcp, startEcho, type TestServer } from "../support/echo.ts";
import { type Postgres, startPostgres } from "../support/postgres.ts";
import { type Address, freePort, hostPort, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { metric, untilMetric } from "./metrics.ts";
import { addHost, DOMAIN, ISSUER, makeTables, spiffeId, sql } from "./mtls_gateway.ts";
import { visit } from "../security/mtls_plane.ts";
import { TestGateway } from "../support/gateway.ts";
import { createAuthority, type MadeCertificate } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";

const ignore = !(can("initdb", "postgres", "psql") && hasStandIn());
const TUNNEL = "db.customer.example.net";
const FIELDS = ["connection", "source", "sni", "plugin", "target", "bytesIn", "bytesOut", "ms", "result"];

let server: Postgres;

Deno.test.beforeAll(async () => {
  if (ignore) return;
  server = await startPostgres({ tls: "off" });
  await makeTables(server);
  await sql(server, "INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme'), ('dave', 'acme')");
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

interface Setting extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly standIn: StandIn;
  readonly stranger: MadeCertificate;
  issue(user: string): Promise<MadeCertificate>;
  /** What somebody gets who says "ping" at `host`. */
  visit(host: string, certificate?: MadeCertificate): Promise<string>;
  /** Sends a hello through the tunnel, and gets it back. */
  tunnel(): Promise<void>;
  /** The gateway's `postern status`. */
  status(...args: readonly string[]): Promise<string>;
}

/** A gateway with both plugins; alice may go to `host-1`, which is an echo server, and to `gone`, which is not there. */
async function begin(database: Address = server.address): Promise<Setting> {
  await using stack = new AsyncDisposableStack();
  const echo = stack.use(startEcho());
  const folder = stack.use(await temporaryFolder()).path;
  await sql(server, "TRUNCATE backend_hosts");
  await addHost(server, "host-1", { address: echo.target, users: ["alice"] });
  await addHost(server, "gone", { address: `127.0.0.1:${freePort()}`, users: ["alice"] });
  const [clients, servers] = [await createAuthority("Clients"), await createAuthority("Servers")];
  const own = await servers.issue({ names: [`*.${DOMAIN}`] });
  const certificate = {
    cert: await writePem(folder, "server", own.certificate),
    key: await writePem(folder, "server-key", own.key),
  };
  const standIn = stack.use(await installStandIn());
  const mtls = {
    domain: DOMAIN,
    issuer: ISSUER,
    caCertificates: [await writePem(folder, "clients", clients.certificate)],
    database: { host: database.hostname, port: database.port, user: "postgres", name: "postgres" },
    cacheTtl: "0s",
  };
  const cloudflared = { command: standIn.path, names: [TUNNEL], ports: freeRange() };
  // JSON is YAML.
  const yaml = `tls: { certificates: [${JSON.stringify(certificate)}] }
plugins: ${JSON.stringify({ "mtls-postgres": mtls, cloudflared })}`;
  const gateway = stack.use(await TestGateway.start({ yaml }));
  await gateway.logged("database_up");
  const owned = stack.move();
  const issue = (user: string) => clients.issue({ uris: [spiffeId(user)], usage: "client" });
  return {
    gateway,
    standIn,
    issue,
    stranger: await servers.issue({ uris: [spiffeId("alice")], usage: "client" }),
    visit: (host, certificate) =>
      visit({
        ca: servers.certificate,
        port: gateway.port(),
        serverName: `${host}.${DOMAIN}`,
        certificate,
      }),
    async tunnel() {
      using client = await gateway.connect();
      await writeAll(client, inRecords(helloMessage({ extensions: [serverName(TUNNEL)] })));
      await client.closeWrite();
      assert.ok((await readToEnd(client)).length > 50, "the stand-in sends back what it gets");
    },
    async status(...args) {
      const { code, stdout, stderr } = await runHere("status", "--admin", gateway.adminUrl, ...args);
      assert.equal(code, 0, stderr);
      return stdout;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

Deno.test({
  name: "each metric that is promised for the plugins is there, by its labels, and counts",
  ignore,
  async fn() {
    await using setting = await begin();
    const { gateway, visit, issue, tunnel } = setting;
    assert.equal(await visit("host-1", await issue("alice")), "ping");
    for (const certificate of [undefined, setting.stranger, await issue("dave")]) {
      assert.notEqual(await visit("host-1", certificate), "ping");
    }
    await visit("gone", await issue("alice"));
    await tunnel();
    const mtls = { plugin: "mtls-postgres" }, tunnels = { plugin: "cloudflared" };
    const listener = "127.0.0.1:0";
    const expected: readonly (readonly [name: string, labels: Record<string, string>, value: number])[] = [
      ["connections_total", { listener, ...mtls, result: "ok" }, 1],
      ["connections_total", { listener, ...mtls, result: "tls_no_certificate" }, 1],
      ["connections_total", { listener, ...mtls, result: "tls_bad_certificate" }, 1],
      ["connections_total", { listener, ...mtls, result: "forbidden" }, 1],
      ["connections_total", { listener, ...mtls, result: "connect_failed" }, 1],
      ["connections_total", { listener, ...tunnels, result: "ok" }, 1],
      ["connections_active", mtls, 0],
      ["connections_active", tunnels, 0],
      ["bytes_total", { ...mtls, direction: "in" }, 4],
      ["bytes_total", { ...mtls, direction: "out" }, 4],
      ["rejected_total", { reason: "tls_no_certificate" }, 1],
      ["rejected_total", { reason: "tls_bad_certificate" }, 1],
      ["rejected_total", { reason: "forbidden" }, 1],
      ["rejected_total", { reason: "connect_failed" }, 1],
      ["auth_failures_total", { ...mtls, reason: "tls_no_certificate" }, 1],
      ["auth_failures_total", { ...mtls, reason: "tls_bad_certificate" }, 1],
      ["authz_failures_total", { ...mtls, reason: "not_listed" }, 1],
      ["cloudflared_processes", { state: "ready" }, 1],
      ["cloudflared_restarts_total", {}, 0],
      ["plugin_up", mtls, 1],
      ["plugin_up", tunnels, 1],
      ["plugin_restarts_total", mtls, 0],
      ["plugin_restarts_total", tunnels, 0],
    ];
    for (const [name, labels, value] of expected) await untilMetric(gateway, value, name, labels);
    const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    const count = (name: string) =>
      Number(new RegExp(`^postern_${name.replaceAll(/[{}]/g, "\\$&")} (\\d+)$`, "m").exec(text)?.[1]);
    assert.ok(count("preface_seconds_count") >= 6, text);
    assert.ok(count("tls_handshake_seconds_count") >= 3, "handshakes that came about");
    for (const plugin of ["mtls-postgres", "cloudflared"]) {
      assert.ok(count(`route_seconds_count{plugin="${plugin}"}`) >= 1, plugin);
      assert.ok(count(`connect_seconds_count{plugin="${plugin}"}`) >= 1, plugin);
    }
    for (const name of ["cloudflared_restarts_total", "authz_failures_total", "auth_failures_total"]) {
      assert.match(text, new RegExp(`^# TYPE postern_${name} counter$`, "m"));
    }
  },
});

Deno.test({
  name:
    "the log tells of a connection from its decision to its end under one id: who, where to, how much, how long",
  ignore,
  async fn() {
    await using setting = await begin();
    const { gateway, visit, issue, tunnel } = setting;
    assert.equal(await visit("host-1", await issue("alice")), "ping");
    await tunnel();
    for (const plugin of ["mtls-postgres", "cloudflared"]) {
      const closed = await gateway.logged("connection_closed", (one) => one["plugin"] === plugin);
      for (const field of FIELDS) assert.notEqual(closed[field], undefined, `${plugin}: ${field}`);
      assert.equal(closed["result"], "ok");
      const opened = await gateway.logged("connection_opened", (one) => one["plugin"] === plugin);
      for (const field of FIELDS.slice(0, 5)) assert.equal(opened[field], closed[field], field);
    }
    const closed = await gateway.logged("connection_closed", (one) => one["plugin"] === "mtls-postgres");
    const access = await gateway.logged("access");
    for (const field of ["connection", "source", "target"]) assert.equal(access[field], closed[field], field);
    assert.deepEqual([access["user"], access["org"], access["connectId"]], ["alice", "acme", "host-1"]);
  },
});

Deno.test({
  name: "the log tells of certificates, users, routing, refusals and connections that fail, each with its id",
  ignore,
  async fn() {
    await using setting = await begin();
    const { gateway, visit, issue } = setting;
    await visit("host-1");
    await visit("host-1", setting.stranger);
    await visit("host-1", await issue("dave"));
    await visit("gone", await issue("alice"));
    await until(() => gateway.events.filter(({ event }) => event === "access").length === 4, {
      what: "four lines",
    });
    const told = gateway.events.filter(({ event }) => event === "access")
      .map(({ user, allowed, reason, level }) => [user, allowed, reason, level]);
    assert.deepEqual(told, [
      [undefined, false, "tls_no_certificate", "warn"],
      [undefined, false, "tls_bad_certificate", "warn"],
      ["dave", false, "not_listed", "warn"],
      ["alice", true, undefined, "info"],
    ]);
    const failed = await gateway.logged("connection_refused", ({ result }) => result === "connect_failed");
    assert.match(String(failed["target"]), /^127\.0\.0\.1:\d+$/);
    assert.match(String(failed["detail"]), /refused/);
    const [, , , last] = gateway.events.filter(({ event }) => event === "access");
    assert.equal(last?.["connection"], failed["connection"]);
  },
});

Deno.test({
  name: "status shows tunnels and who is in, as a table and with --json",
  ignore,
  async fn() {
    await using setting = await begin();
    const { gateway, standIn, status, tunnel } = setting;
    await tunnel();
    using held = await gateway.connect();
    await writeAll(held, inRecords(helloMessage({ extensions: [serverName(TUNNEL)] })));
    await until(async () => await metric(gateway, "cloudflared_references") === 1, { what: "a reference" });
    const { plugins } = JSON.parse(await status("--json"));
    const detailsOf = (name: string) =>
      plugins.find((one: { readonly name: string }) => one.name === name)?.status?.details;
    const [{ ageSeconds, port, ...tunnelled }] = detailsOf("cloudflared").processes;
    assert.deepEqual(tunnelled, {
      serverName: TUNNEL,
      hostname: "cft-db-customer.example.net",
      state: "ready",
      references: 1,
      restarts: 0,
      pid: standIn.starts[0]?.pid,
    });
    assert.equal(port, standIn.starts[0]?.port);
    assert.ok(ageSeconds >= 0 && ageSeconds < 60);
    const { database, openConnections, cas } = detailsOf("mtls-postgres");
    assert.deepEqual([database.up, database.listening, database.address, openConnections, cas.length], [
      true,
      true,
      hostPort(server.address),
      0,
      1,
    ]);
    const table = await status();
    for (const word of ["mtls-postgres", "cloudflared", TUNNEL]) assert.ok(table.includes(word), table);
  },
});

Deno.test({
  name:
    "without its database status and /readyz say so and why, for that plugin alone; then all is well again",
  ignore,
  async fn() {
    await using stack = new AsyncDisposableStack();
    const way = stack.use(wayTo(server.address));
    await using setting = await begin(way.address);
    const { gateway, visit, issue, status, tunnel } = setting;
    const ready = async () => {
      const response = await fetch(`${gateway.adminUrl}/readyz`);
      return { status: response.status, text: await response.text() };
    };
    assert.equal((await ready()).status, 200);
    await way[Symbol.asyncDispose]();
    await until(async () => (await ready()).status === 503, { what: "it to be noticed" });
    assert.notEqual(await visit("host-1", await issue("alice")), "ping");
    const { text } = await ready();
    assert.match(text, /mtls-postgres: .*database is down/i);
    assert.doesNotMatch(text, /cloudflared/);
    assert.match(await status(), /database is down/i);
    const { plugins } = JSON.parse(await status("--json"));
    const found = plugins.map((
      { name, status }: { readonly name: string; readonly status: { readonly ready: boolean } },
    ) => [name, status.ready]);
    assert.deepEqual(found, [["mtls-postgres", false], ["cloudflared", true]]);
    await tunnel(); // goes on
    stack.use(wayTo(server.address, way.address.port));
    await until(async () => (await ready()).status === 200, { what: "it to recover", deadlineMs: 15_000 });
    assert.equal(await visit("host-1", await issue("alice")), "ping");
    assert.doesNotMatch(await status(), /database is down/i);
  },
});

/** A way to the database that can be cut. */
function wayTo(target: Address, port?: number): TestServer {
  return serveTcp(async (client) => {
    using upstream = await Deno.connect(target);
    await Promise.allSettled([
      client.readable.pipeTo(upstream.writable, { preventCancel: true }),
      upstream.readable.pipeTo(client.writable, { preventCancel: true }),
    ]);
  }, port === undefined ? {} : { port });
}
