import assert from "node:assert/strict";
import type { ConnectionRow, GatewayTunnel } from "../../../core/data_plane/snapshot.ts";
import { GatewayError } from "../../../core/errors.ts";
import { adminApp } from "../../../core/admin/api.ts";
import { Access } from "../../../core/admin/access.ts";
import { HostGuard } from "../../../core/admin/host_guard.ts";
import { LiveHub } from "../../../core/admin/live_hub.ts";
import { Sessions } from "../../../core/admin/sessions.ts";
import { TokenGate } from "../../../core/admin/token_gate.ts";
import { SILENT_LOG } from "../../../core/log.ts";
import { fakeGateway, openAdmin, request, STATUS } from "./harness.ts";

const ROW: ConnectionRow = {
  id: "c1",
  listener: "127.0.0.1:8443",
  source: "192.0.2.1:4711",
  protocol: "tls",
  sni: "db.example.com",
  plugin: "static",
  target: "10.0.0.5:5432",
  state: "relaying",
  bytesIn: 1,
  bytesOut: 2,
  since: 1_700_000_000_000,
};
const TUNNEL: GatewayTunnel = {
  id: "t1",
  plugin: "ws-agent",
  owner: "laptops",
  source: { address: "192.0.2.1", port: 4711 },
  since: 1_700_000_000_000,
  roundTripMs: 12.5,
  streams: 3,
  bytesIn: 1,
  bytesOut: 2,
  services: [{ id: "1", name: "app", protocol: "http", url: "https://app.example.com" }],
};
const ROUTES = [{ plugin: "static", match: "db.example.com", action: "forward" }];

Deno.test("GET /healthz says that the process is alive, without asking anybody", async () => {
  const silent = () => new Promise<never>(() => {});
  await using admin = await openAdmin({ status: silent, readiness: silent });
  const { status, body } = await request(admin.address, { path: "/healthz" });
  assert.deepEqual({ status, body }, { status: 200, body: "ok\n" });
});

Deno.test("GET /readyz is 200 when ready, else 503 with a line for each reason", async () => {
  let readiness: { ready: boolean; reasons: string[] } = { ready: true, reasons: [] };
  await using admin = await openAdmin({ readiness: () => Promise.resolve(readiness) });
  assert.equal((await request(admin.address, { path: "/readyz" })).status, 200);

  readiness = {
    ready: false,
    reasons: ["mtls-postgres: database not reachable", "static: no\r\nroutes\x1b[2J"],
  };
  const { status, body } = await request(admin.address, { path: "/readyz" });
  assert.equal(status, 503);
  assert.equal(body, "mtls-postgres: database not reachable\nstatic: no routes [2J\n");
});

Deno.test("GET /readyz is 503 when the gateway does not say", async () => {
  await using admin = await openAdmin({ readiness: () => Promise.reject(new Error("broken")) });
  assert.equal((await request(admin.address, { path: "/readyz" })).status, 503);
});

const READS = [
  { path: "/api/v1/status", answer: STATUS },
  { path: "/api/v1/plugins", answer: { plugins: STATUS.plugins } },
  { path: "/api/v1/routes", answer: { routes: ROUTES } },
  { path: "/api/v1/connections", answer: { connections: [ROW], truncated: false } },
  { path: "/api/v1/tunnels", answer: { tunnels: [TUNNEL], truncated: false } },
];
for (const { path, answer } of READS) {
  Deno.test(`GET ${path} answers in JSON`, async () => {
    await using admin = await openAdmin({
      connections: () => Promise.resolve([ROW]),
      tunnels: () => Promise.resolve([TUNNEL]),
      routes: () => Promise.resolve(ROUTES),
    });
    const { status, headers, body } = await request(admin.address, { path });
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "application/json; charset=utf-8");
    assert.deepEqual(JSON.parse(body), answer);
  });
}

Deno.test("GET / says where things are", async () => {
  await using admin = await openAdmin();
  const { status, body } = await request(admin.address, { path: "/" });
  assert.equal(status, 200);
  assert.ok(Object.hasOwn(JSON.parse(body).places, "/metrics"));
});

Deno.test("GET /api/v1/connections asks for one row more than it shows, to tell whether there are more", async () => {
  const asked: number[] = [];
  await using admin = await openAdmin({
    connections: (limit) => {
      asked.push(limit);
      return Promise.resolve(Array.from({ length: limit }, (_, i) => ({ ...ROW, id: `c${i}` })));
    },
  });
  const { body } = await request(admin.address, { path: "/api/v1/connections?limit=2" });
  const { connections, truncated } = JSON.parse(body);
  assert.deepEqual(connections.map(({ id }: ConnectionRow) => id), ["c0", "c1"]);
  assert.equal(truncated, true);
  assert.deepEqual(asked, [3]);
});

for (const limit of ["0", "10001", "-1", "1e3", "", "abc", "99999999999"]) {
  Deno.test(`GET /api/v1/connections refuses limit=${JSON.stringify(limit)}`, async () => {
    await using admin = await openAdmin({ connections: () => Promise.reject(new Error("asked")) });
    const { status, body } = await request(admin.address, { path: `/api/v1/connections?limit=${limit}` });
    assert.equal(status, 400);
    assert.equal(JSON.parse(body).error.code, "bad_request");
  });
}

Deno.test("DELETE /api/v1/connections/ID closes that one: 204, and 404 when there is none", async () => {
  const open = new Set(["c1"]);
  await using admin = await openAdmin({ closeConnection: (id) => Promise.resolve(open.delete(id)) });
  const once = { method: "DELETE", path: "/api/v1/connections/c1" };
  assert.deepEqual([(await request(admin.address, once)).status, open.size], [204, 0]);
  const { status, body } = await request(admin.address, once);
  assert.equal(status, 404);
  assert.deepEqual(JSON.parse(body), { error: { code: "not_found", message: "No such connection" } });
});

Deno.test("what shows no tunnels asks for none", async () => {
  const asked: (number | undefined)[] = [];
  await using admin = await openAdmin({
    status: (tunnels) => (asked.push(tunnels), Promise.resolve(STATUS)),
  });
  for (const path of ["/metrics", "/api/v1/plugins", "/plugins", "/certificates", "/api/v1/status", "/"]) {
    assert.equal((await request(admin.address, { path, headers: { accept: "text/html" } })).status, 200);
  }
  assert.deepEqual(asked, [0, 0, 0, 0, undefined, undefined]);
});

for (const rows of ["connections", "tunnels"] as const) {
  Deno.test(`GET /api/v1/${rows} takes a filter of up to 200 characters`, async () => {
    const asked: (string | undefined)[] = [];
    const tell = (_limit: number, filter?: string) => (asked.push(filter), Promise.resolve([]));
    await using admin = await openAdmin({ [rows]: tell });
    const ask = (length: number) =>
      request(admin.address, { path: `/api/v1/${rows}?filter=${"x".repeat(length)}` });
    assert.equal((await ask(200)).status, 200);
    const { status, body } = await ask(201);
    assert.deepEqual([status, JSON.parse(body).error.message], [400, '"filter" has at most 200 characters']);
    assert.deepEqual(asked, ["x".repeat(200)]);
  });
}

Deno.test("GET /api/v1/tunnels asks for one row more than it shows, and refuses a limit that is none", async () => {
  const asked: number[] = [];
  await using admin = await openAdmin({
    tunnels: (limit) => {
      asked.push(limit);
      return Promise.resolve(Array.from({ length: limit }, (_, i) => ({ ...TUNNEL, id: `t${i}` })));
    },
  });
  const { body } = await request(admin.address, { path: "/api/v1/tunnels?limit=2" });
  const { tunnels, truncated } = JSON.parse(body);
  assert.deepEqual([tunnels.map(({ id }: GatewayTunnel) => id), truncated], [["t0", "t1"], true]);
  assert.equal((await request(admin.address, { path: "/api/v1/tunnels?limit=0" })).status, 400);
  assert.deepEqual(asked, [3]);
});

Deno.test("GET /api/v1/tunnels hides what looks like a secret, and nothing in it opens a tag", async () => {
  const row: GatewayTunnel = {
    ...TUNNEL,
    owner: "<script>alert(1)</script>",
    services: [{ id: "1", name: "a", protocol: "http", url: "https://a", target: "http://u:planted@host" }],
  };
  await using admin = await openAdmin({ tunnels: () => Promise.resolve([row]) });
  const { body } = await request(admin.address, { path: "/api/v1/tunnels" });
  assert.doesNotMatch(body, /planted|[<>]/);
  assert.equal(JSON.parse(body).tunnels[0].owner, row.owner);
});

Deno.test("DELETE /api/v1/tunnels/ID closes that one: 204, and 404 when there is none", async () => {
  const open = new Set(["t1"]);
  await using admin = await openAdmin({ closeTunnel: (id) => Promise.resolve(open.delete(id)) });
  const once = { method: "DELETE", path: "/api/v1/tunnels/t1" };
  assert.deepEqual([(await request(admin.address, once)).status, open.size], [204, 0]);
  const { status, body } = await request(admin.address, once);
  assert.equal(status, 404);
  assert.deepEqual(JSON.parse(body), { error: { code: "not_found", message: "No such tunnel" } });
});

for (
  const path of ["/nothing", "/api/v1", "/api/v1/status/", "/api/v2/status", "//api/v1/status", "/../healthz"]
) {
  Deno.test(`GET ${path} is 404 in JSON`, async () => {
    await using admin = await openAdmin();
    const { status, body } = await request(admin.address, { path });
    assert.equal(status, 404);
    assert.equal(JSON.parse(body).error.code, "not_found");
  });
}

const WRONG_METHODS = [
  { method: "POST", path: "/", allow: "GET, HEAD" },
  { method: "PUT", path: "/healthz", allow: "GET, HEAD" },
  { method: "DELETE", path: "/metrics", allow: "GET, HEAD" },
  { method: "DELETE", path: "/api/v1/connections", allow: "GET, HEAD" },
  { method: "OPTIONS", path: "/api/v1/status", allow: "GET, HEAD" },
  { method: "GET", path: "/api/v1/connections/c1", allow: "DELETE" },
  { method: "DELETE", path: "/api/v1/tunnels", allow: "GET, HEAD" },
  { method: "GET", path: "/api/v1/tunnels/t1", allow: "DELETE" },
];
for (const { method, path, allow } of WRONG_METHODS) {
  Deno.test(`${method} ${path} is 405 and says what is allowed`, async () => {
    await using admin = await openAdmin();
    const { status, headers, body } = await request(admin.address, { method, path });
    assert.deepEqual([status, headers.get("allow")], [405, allow]);
    assert.equal(JSON.parse(body).error.code, "method_not_allowed");
  });
}

Deno.test("HEAD answers as GET without the body", async () => {
  await using admin = await openAdmin();
  const { status, body } = await request(admin.address, { method: "HEAD", path: "/api/v1/status" });
  assert.deepEqual([status, body], [200, ""]);
});

Deno.test("a gateway that is stopping is 503, anything else that goes wrong 500", async () => {
  await using admin = await openAdmin({
    status: () => Promise.reject(new GatewayError("rpc-closed", "The supervisor has stopped")),
    routes: () => Promise.reject(new Error("of some kind")),
  });
  assert.equal((await request(admin.address, { path: "/api/v1/status" })).status, 503);
  assert.equal((await request(admin.address, { path: "/api/v1/routes" })).status, 500);
});

Deno.test("a gateway that does not answer in time is 504, and its late failure harms nobody", async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  const address = { hostname: "127.0.0.1", port: 9090 };
  const gateway = fakeGateway({ routes: () => promise });
  const app = adminApp(gateway, {
    access: new Access({ gate: new TokenGate(), sessions: new Sessions(), port: address.port }),
    live: new LiveHub({ live: gateway.live }),
    guard: new HostGuard(address, address),
    log: SILENT_LOG,
    answerTimeoutMs: 1,
  });
  const headers = { host: "127.0.0.1:9090" };
  const answer = await app.request("http://127.0.0.1:9090/api/v1/routes", { headers }, {
    source: "127.0.0.1",
  });
  assert.equal(answer.status, 504);
  reject(new Error("too late"));
  await promise.catch(() => {});
});
