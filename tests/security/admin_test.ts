import assert from "node:assert/strict";
import type { AdminWorkerMethods } from "../../core/admin/contract.ts";
import { GatewayError } from "../../core/errors.ts";
import type { LogEvent } from "../../core/log.ts";
import { openRpc } from "../../core/rpc.ts";
import {
  createWorker,
  exchange,
  fakeGateway,
  HAS_WORKERS,
  type HttpRequest,
  openAdmin,
  request,
  STATUS,
} from "../core/admin/harness.ts";
import { until } from "../support/until.ts";

const EVERYWHERE = [
  "/",
  "/healthz",
  "/readyz",
  "/metrics",
  "/api/v1/status",
  "/api/v1/connections",
  "/api/v1/plugins",
  "/api/v1/routes",
  "/tunnels",
  "/plugins",
  "/nothing",
];
const HEALTH_CHECKS = ["/healthz", "/readyz"];
const BEHIND_THE_TOKEN = EVERYWHERE.filter((path) => !HEALTH_CHECKS.includes(path));

// Host allow-list: DNS rebinding

const FOREIGN_HOSTS = [
  "evil.example",
  "evil.example:{port}",
  "localhost.evil.example:{port}",
  "localhost:{port}.evil.example",
  "127.0.0.1.evil.example:{port}",
  "127.0.0.1",
  "localhost",
  "127.0.0.1:1",
  "2130706433:{port}",
  "0x7f000001:{port}",
  "127.1:{port}",
  "0.0.0.0:{port}",
  "[::ffff:127.0.0.1]:{port}",
  "user@localhost:{port}",
  "localhost:{port}, evil.example",
  "localhost.:{port}",
  "",
];
for (const host of FOREIGN_HOSTS) {
  Deno.test(`DNS rebinding: Host ${JSON.stringify(host)} is refused everywhere`, async () => {
    await using admin = await openAdmin();
    for (const path of EVERYWHERE) {
      const { status, body } = await request(admin.address, {
        path,
        host: withPort(host, admin.address.port),
      });
      assert.equal(status, 421, path);
      assert.equal(JSON.parse(body).error.code, "misdirected");
    }
  });
}

Deno.test("DNS rebinding: a request without Host is refused", async () => {
  await using admin = await openAdmin();
  assert.equal((await request(admin.address, { host: null })).status, 421);
  const old = await exchange(admin.address, "GET /api/v1/status HTTP/1.0\r\n\r\n");
  assert.match(old, /^HTTP\/1\.0 421 /);
});

Deno.test("DNS rebinding: a foreign name in the request line is refused, whatever Host says", async () => {
  await using admin = await openAdmin();
  const path = `http://evil.example:${admin.address.port}/api/v1/status`;
  assert.equal((await request(admin.address, { path })).status, 421);
});

Deno.test("DNS rebinding: a second Host is refused", async () => {
  await using admin = await openAdmin();
  const own = `Host: 127.0.0.1:${admin.address.port}\r\n`;
  const answer = await exchange(admin.address, `GET / HTTP/1.1\r\n${own}Host: evil.example\r\n\r\n`);
  assert.match(answer, /^HTTP\/1\.1 400 /);
});

for (const host of ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"]) {
  Deno.test(`the admin side's own Host ${host} is served`, async () => {
    await using admin = await openAdmin();
    const own = withPort(host, admin.address.port);
    assert.equal((await request(admin.address, { path: "/api/v1/status", host: own })).status, 200);
  });
}

Deno.test("configured hosts are served, with the port and without", async () => {
  await using admin = await openAdmin({}, { hosts: ["admin.example.com", "gateway:8080"] });
  const status = async (host: string) => (await request(admin.address, { host })).status;
  assert.equal(await status("admin.example.com"), 200);
  assert.equal(await status(`Admin.Example.com:${admin.address.port}`), 200);
  assert.equal(await status("gateway:8080"), 200);
  assert.equal(await status("gateway"), 421);
});

Deno.test("listening on every address, addresses are served and foreign names are not", async () => {
  await using admin = await openAdmin({}, { hostname: "0.0.0.0", token: "t" });
  const { port } = admin.address;
  const address = { hostname: "127.0.0.1", port };
  const status = async (host: string) => (await request(address, { path: "/healthz", host })).status;
  assert.equal(await status(`192.0.2.7:${port}`), 200);
  assert.equal(await status(`[2001:db8::7]:${port}`), 200);
  assert.equal(await status(`evil.example:${port}`), 421);
  assert.equal(await status(`192.0.2.7.evil.example:${port}`), 421);
});

// Origin and fetch metadata: other sites, other ports

const FOREIGN_PAGES: readonly { what: string; headers: Record<string, string> }[] = [
  { what: "of another site", headers: { origin: "https://evil.example" } },
  { what: "of another port of this machine", headers: { origin: "http://127.0.0.1:1" } },
  { what: "without an origin", headers: { origin: "null" } },
  { what: "of a name that begins like ours", headers: { origin: "http://127.0.0.1:{port}.evil.example" } },
  { what: "of a name that ends like ours", headers: { origin: "http://evil.example://127.0.0.1:{port}" } },
  { what: "of our port by another scheme", headers: { origin: "https://127.0.0.1:{port}" } },
  { what: "of our other name", headers: { origin: "http://localhost:{port}" } },
  { what: "with an empty origin", headers: { origin: "" } },
  { what: "that a browser calls cross-site", headers: { "sec-fetch-site": "cross-site" } },
  { what: "that a browser calls same-site", headers: { "sec-fetch-site": "same-site" } },
];
for (const { what, headers } of FOREIGN_PAGES) {
  Deno.test(`cross-origin: a page ${what} can neither read nor act`, async () => {
    const closed: string[] = [];
    await using admin = await openAdmin({ closeConnection: (id) => Promise.resolve(closed.push(id) > 0) });
    const entries = Object.entries(headers).map(([k, v]) => [k, withPort(v, admin.address.port)]);
    const given = { headers: Object.fromEntries(entries) };
    for (const path of EVERYWHERE) {
      const { status, body } = await request(admin.address, { ...given, path });
      assert.equal(status, 403, path);
      assert.equal(JSON.parse(body).error.code, "cross_origin");
    }
    const act = await request(admin.address, { ...given, method: "DELETE", path: "/api/v1/connections/c1" });
    assert.equal(act.status, 403);
    assert.deepEqual(closed, []);
  });
}

Deno.test("cross-origin: a preflight gets no leave", async () => {
  await using admin = await openAdmin();
  const { status, headers } = await request(admin.address, {
    method: "OPTIONS",
    path: "/api/v1/connections/c1",
    headers: { origin: "https://evil.example", "access-control-request-method": "DELETE" },
  });
  assert.equal(status, 403);
  assert.equal([...headers.keys()].some((name) => name.startsWith("access-control-")), false);
});

Deno.test("our own page, an address that somebody typed, and a proxy's https page are served", async () => {
  await using admin = await openAdmin({}, { hosts: ["admin.example.com"] });
  const own = { origin: `http://127.0.0.1:${admin.address.port}`, "sec-fetch-site": "same-origin" };
  assert.equal((await request(admin.address, { headers: own })).status, 200);
  assert.equal((await request(admin.address, { headers: { "sec-fetch-site": "none" } })).status, 200);
  const proxied: HttpRequest = {
    host: "admin.example.com",
    headers: { origin: "https://admin.example.com" },
  };
  assert.equal((await request(admin.address, proxied)).status, 200);
});

// The token

Deno.test("everything but the health checks asks for the token", async () => {
  await using admin = await openAdmin({}, { token: "right" });
  const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
  for (
    const path of [
      ...BEHIND_THE_TOKEN,
      "/api/v1/connections/c1",
      "//healthz",
      "/healthz/",
      "/x/../healthz",
    ]
  ) {
    for (const method of methods) {
      const { status, headers } = await request(admin.address, { method, path });
      assert.equal(status, 401, `${method} ${path}`);
      assert.match(headers.get("www-authenticate") ?? "", /^Bearer /);
    }
  }
  for (const path of HEALTH_CHECKS) assert.equal((await request(admin.address, { path })).status, 200);
  const headers = { authorization: "Bearer right" };
  assert.equal((await request(admin.address, { path: "/api/v1/status", headers })).status, 200);
});

Deno.test("a token in the URL or in a cookie is none", async () => {
  await using admin = await openAdmin({}, { token: "right" });
  const inUrl = await request(admin.address, { path: "/api/v1/status?token=right&access_token=right" });
  const inCookie = await request(admin.address, {
    path: "/api/v1/status",
    headers: { cookie: "token=right" },
  });
  assert.deepEqual([inUrl.status, inCookie.status], [401, 401]);
});

Deno.test("guessing is stopped: ten wrong tokens, then 429 for a while, also for the right one", async () => {
  await using admin = await openAdmin({}, { token: "right" });
  const status = async (token: string) =>
    (await request(admin.address, { path: "/metrics", headers: { authorization: `Bearer ${token}` } }))
      .status;
  for (let i = 0; i < 10; i++) assert.equal(await status(`guess-${i}`), 401);
  assert.deepEqual([await status("guess"), await status("right")], [429, 429]);
  assert.equal((await request(admin.address, { path: "/healthz" })).status, 200);
});

Deno.test("a page of another site can't get this address blocked", async () => {
  await using admin = await openAdmin({}, { token: "right" });
  const headers = { authorization: "Bearer guess", origin: "https://evil.example" };
  for (let i = 0; i < 20; i++) {
    assert.equal((await request(admin.address, { path: "/metrics", headers })).status, 403);
  }
  const right = { authorization: "Bearer right" };
  assert.equal((await request(admin.address, { path: "/metrics", headers: right })).status, 200);
});

for (const hostname of ["0.0.0.0", "::", "192.0.2.1", "example.com"]) {
  Deno.test(`no token, no listening on ${hostname}`, async () => {
    await assert.rejects(
      openAdmin({}, { hostname }),
      (error) =>
        error instanceof GatewayError && error.code === "config-invalid" && /token/.test(error.message),
    );
  });
}

Deno.test("a reload can't take the token away from an address that others reach", async () => {
  await using admin = await openAdmin({}, { hostname: "0.0.0.0", token: "right" });
  await assert.rejects(admin.reload({}), { code: "config-invalid" });
  await assert.rejects(admin.reload({ token: "" }), { code: "config-invalid" });
  const address = { hostname: "127.0.0.1", port: admin.address.port };
  assert.equal((await request(address, { path: "/metrics" })).status, 401);
});

Deno.test("an empty token is an error, not a token that everybody has", async () => {
  await assert.rejects(openAdmin({}, { token: "" }), { code: "config-invalid" });
});

// Secrets

Deno.test("planted secrets are in no answer and in no log line", async () => {
  const secret = "planted-0123456789";
  const fault = () => Promise.reject(new Error(`cannot connect to postgres://app:${secret}@10.0.0.5/db`));
  const plugin = {
    ...STATUS.plugins[0]!,
    status: {
      ready: false,
      reason: `password=${secret} was refused`,
      details: { database: { password: secret, url: `postgres://u:${secret}@db/x` }, apiToken: secret },
    },
  };
  const token = `${secret}-token`;
  await using broken = await openAdmin({
    readiness: fault,
    status: fault,
    metrics: fault,
    connections: fault,
    routes: fault,
    closeConnection: fault,
  }, { token });
  await using telling = await openAdmin({
    status: () => Promise.resolve({ ...STATUS, plugins: [plugin], reloadError: `token: ${secret} is wrong` }),
    readiness: () =>
      Promise.resolve({ ready: false, reasons: [`postgres://app:${secret}@10.0.0.5/db refused`] }),
  }, { token });
  for (const admin of [broken, telling]) {
    for (const authorization of [`Bearer ${token}`, `Bearer ${token}x`, `Basic ${btoa(token)}`, token]) {
      for (const path of [...EVERYWHERE, `/${secret.slice(0, 3)}`, "/api/v1/connections?limit=x"]) {
        for (const method of ["GET", "DELETE"]) {
          const { headers, body } = await request(admin.address, {
            method,
            path,
            headers: { authorization },
          });
          assert.equal([...headers, body].join("\n").includes(secret), false, `${method} ${path}: ${body}`);
        }
      }
    }
    assert.equal(JSON.stringify(admin.events).includes(secret), false);
  }
});

// What strangers name

Deno.test("hostile names come out as data: no tag, no second line, no broken JSON", async () => {
  const name = "<script>alert(1)</script>\"'\n\r\u2028</title>&amp;\u0000\x1b[2J";
  const row = { ...connection("c1"), sni: name, plugin: name };
  await using admin = await openAdmin({
    connections: () => Promise.resolve([row]),
    routes: () => Promise.resolve([{ plugin: name, match: name, action: name }]),
    metrics: () =>
      Promise.resolve({
        planes: [{
          counters: [{ name: "rejected_total", labels: { reason: name }, value: 1 }],
          gauges: [],
          histograms: [],
        }],
        plugins: [{ name: "mine", help: name, type: "gauge", labels: { name }, value: 1 }],
      }),
  });
  for (const path of ["/api/v1/connections", "/api/v1/routes"]) {
    const { headers, body } = await request(admin.address, { path });
    assert.doesNotMatch(body, /[<>\u2028]/);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.ok(JSON.stringify(JSON.parse(body)).includes(JSON.stringify(name).slice(1, -1)));
  }
  const { body, headers } = await request(admin.address, { path: "/metrics" });
  assert.match(headers.get("content-type") ?? "", /^text\/plain/);
  for (const line of body.trimEnd().split("\n")) {
    assert.match(line, /^$|^# (HELP|TYPE) postern_|^postern_[a-z_]+(\{[^\n]*\})? \S+$/);
  }
});

Deno.test("every answer forbids framing, sniffing, keeping, and loading anything", async () => {
  await using admin = await openAdmin({ routes: () => Promise.reject(new Error("broken")) });
  const requests: HttpRequest[] = [
    ...EVERYWHERE.map((path) => ({ path })),
    { host: "evil.example" },
    { headers: { origin: "null" } },
    { headers: { "content-length": "5" }, body: "12345" },
    { method: "POST", path: "/healthz" },
  ];
  for (const given of requests) {
    const { headers } = await request(admin.address, given);
    const label = JSON.stringify(given);
    assert.match(
      headers.get("content-security-policy") ?? "",
      /default-src 'none'.*frame-ancestors 'none'/,
      label,
    );
    assert.equal(headers.get("x-content-type-options"), "nosniff", label);
    assert.equal(headers.get("cache-control"), "no-store", label);
    assert.equal(headers.get("x-frame-options"), "DENY", label);
    assert.equal(headers.get("server"), null, label);
  }
});

// Bounds

Deno.test("requests are bounded: header bytes, number of headers, no body at all", async () => {
  await using admin = await openAdmin();
  const status = async (given: HttpRequest) =>
    (await request(admin.address, { path: "/api/v1/status", ...given })).status;
  assert.equal(await status({ headers: { "x-padding": "x".repeat(20_000) } }), 431);
  assert.equal(await status({ path: `/${"x".repeat(20_000)}` }), 431);
  const many = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`x-${i}`, "y"]));
  assert.equal(await status({ headers: many }), 400);
  assert.equal(
    await status({ method: "POST", headers: { "content-length": "10000000000" }, body: "x" }),
    413,
  );
  assert.equal(
    await status({ method: "DELETE", headers: { "transfer-encoding": "chunked" }, body: "0\r\n\r\n" }),
    413,
  );
  assert.equal(await status({ headers: { "content-length": "0" } }), 200);
});

Deno.test("requests at once are bounded, and a place comes free when one ends", async () => {
  const answers: (() => void)[] = [];
  await using admin = await openAdmin({
    routes: () => new Promise((resolve) => answers.push(() => resolve([]))),
  });
  const path = "/api/v1/routes";
  const held = Array.from({ length: 64 }, () => request(admin.address, { path }));
  await until(() => answers.length === 64, { what: "64 requests in progress" });
  assert.equal((await request(admin.address, { path: "/healthz" })).status, 503);
  for (const answer of answers) answer();
  for (const { status } of await Promise.all(held)) assert.equal(status, 200);
  await until(async () => (await request(admin.address, { path: "/healthz" })).status === 200, {
    what: "a place",
  });
});

// The worker's permissions

Deno.test({
  name: "the admin worker can do nothing but listen on its address",
  ignore: !HAS_WORKERS,
  fn: async () => {
    using neighbour = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    await using probed = await openProbed();
    const tried = await probed.probe(neighbour.addr.port, new URL(import.meta.url).pathname);
    assert.ok(Object.keys(tried).length >= 12);
    for (const [attempt, result] of Object.entries(tried)) assert.equal(result, "NotCapable", attempt);
    assert.equal((await request(probed.address, { path: "/api/v1/status" })).status, 200);
  },
});

Deno.test({
  name: "a rejection that nobody waits for does not end the admin worker",
  ignore: !HAS_WORKERS,
  fn: async () => {
    await using probed = await openProbed();
    probed.reject();
    await until(() => probed.events.find(({ event }) => event === "unhandled_rejection"), {
      what: "the log line",
    });
    assert.equal((await request(probed.address, { path: "/healthz" })).status, 200);
  },
});

/** The admin worker with somebody in it who tries things; see `admin_probe.ts`. */
async function openProbed() {
  const settings = { hostname: "127.0.0.1", port: 0 };
  const worker = createWorker(new URL("./admin_probe.ts", import.meta.url), settings);
  const events: LogEvent[] = [];
  const log = (some: readonly LogEvent[]) => void events.push(...some);
  const rpc = openRpc<AdminWorkerMethods>(worker, { ...fakeGateway(), log });
  worker.onerror = (event) => {
    event.preventDefault();
    rpc.close(`The admin worker died: ${event.message}`);
  };
  const address = await rpc.call("start", settings);
  return {
    address,
    events,
    probe(elsewhere: number, file: string): Promise<Record<string, string>> {
      return new Promise((resolve) => {
        worker.addEventListener("message", ({ data }) => "tried" in data && resolve(data.tried));
        worker.postMessage({ probe: { elsewhere, file } });
      });
    },
    reject: () => worker.postMessage({ probe: { elsewhere: 0, file: "" } }),
    async [Symbol.asyncDispose]() {
      await rpc.call("stop");
      worker.terminate();
    },
  };
}

function connection(id: string) {
  const counts = { bytesIn: 0, bytesOut: 0, since: 0 };
  return { id, listener: "l", source: "192.0.2.1:1", protocol: "tls", state: "relaying", ...counts };
}

function withPort(text: string, port: number): string {
  return text.replaceAll("{port}", `${port}`);
}
