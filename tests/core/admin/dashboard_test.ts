import assert from "node:assert/strict";
import { Hono } from "hono";
import { Access } from "../../../core/admin/access.ts";
import { adminApp } from "../../../core/admin/api.ts";
import { readForm } from "../../../core/admin/dashboard/form.ts";
import { PAGES } from "../../../core/admin/dashboard/layout.tsx";
import { bytesText, durationText, linkTo, shown } from "../../../core/admin/dashboard/text.ts";
import { HostGuard } from "../../../core/admin/host_guard.ts";
import { LiveHub, MAX_LISTENERS } from "../../../core/admin/live_hub.ts";
import { MAX_SESSIONS, SESSION_LIFETIME_MS, Sessions } from "../../../core/admin/sessions.ts";
import { TokenGate } from "../../../core/admin/token_gate.ts";
import type { AdminMethods } from "../../../core/data_plane/snapshot.ts";
import { SILENT_LOG } from "../../../core/log.ts";
import { exchange, fakeGateway, LIVE, openAdmin, request, STATUS } from "./harness.ts";
import { HOSTILE, hostileGateway } from "./hostile_gateway.ts";

const TOKEN = "right-token";
const ADDRESS = { hostname: "127.0.0.1", port: 9090 };
const ORIGIN = "http://127.0.0.1:9090";
const PAGE = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };
const FORM = { "content-type": "application/x-www-form-urlencoded" };

interface Asked {
  readonly method?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly form?: Readonly<Record<string, string>>;
}

/** The application itself, without a socket, and the clock of its sessions. */
class Dashboard {
  readonly live: LiveHub;
  readonly gate: TokenGate;
  readonly sessions: Sessions;
  now = 0;
  readonly #app: ReturnType<typeof adminApp>;

  constructor(
    gateway: Partial<AdminMethods> = {},
    token: string | null = TOKEN,
    hosts: readonly string[] = [],
  ) {
    const whole = fakeGateway(gateway);
    this.live = new LiveHub({ live: whole.live, intervalMs: 1 });
    this.gate = new TokenGate(token ?? undefined);
    this.sessions = new Sessions(() => this.now);
    const access = new Access({ gate: this.gate, sessions: this.sessions, port: ADDRESS.port });
    const guard = new HostGuard({ ...ADDRESS, hosts }, ADDRESS);
    this.#app = adminApp(whole, { access, live: this.live, guard, log: SILENT_LOG });
  }

  async ask(
    path: string,
    { method = "GET", host = "127.0.0.1:9090", headers = {}, form }: Asked = {},
  ): Promise<Response> {
    const body = form && new URLSearchParams(form).toString();
    const sent = {
      host,
      ...(body !== undefined && { ...FORM, "content-length": `${body.length}` }),
    };
    const init = { method, headers: { ...sent, ...headers }, ...(body !== undefined && { body }) };
    return await this.#app.request(`http://${host}${path}`, init, { source: "127.0.0.1" });
  }

  /** A form as a browser sends it from a page of ours. */
  post(path: string, form: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}) {
    return this.ask(path, { method: "POST", form, headers: { ...PAGE, origin: ORIGIN, ...headers } });
  }

  /** @returns The `Cookie` of a new session. */
  async logIn(): Promise<string> {
    const response = await this.post("/login", { token: TOKEN });
    assert.equal(response.status, 303);
    return response.headers.get("set-cookie")?.split(";")[0] ?? "";
  }

  /** A page for somebody who is logged in. */
  async page(path: string, cookie = ""): Promise<string> {
    const response = await this.ask(path, { headers: { ...PAGE, ...(cookie !== "" && { cookie }) } });
    assert.equal(response.status, 200, path);
    return await response.text();
  }
}

function formTokenOf(page: string): string {
  return /name="token" value="([^"]+)"/.exec(page)?.[1] ?? "";
}

const TUNNEL = {
  id: "t1",
  plugin: "ws-agent",
  owner: "alice",
  source: { address: "192.0.2.1", port: 4711 },
  since: 0,
  streams: 0,
  bytesIn: 0,
  bytesOut: 0,
  services: [],
};

Deno.test("GET / is the dashboard for a browser, and the list of places for who takes anything", async () => {
  const dashboard = new Dashboard({}, null);
  assert.match(await dashboard.page("/"), /^<!doctype html><html lang="en">.*<h1>Overview<\/h1>/);
  for (const accept of ["*/*", "application/json", "text/htmlx", "application/json, text/*"]) {
    const response = await dashboard.ask("/", { headers: { accept } });
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/, accept);
    assert.ok("places" in await response.json());
  }
});

for (const { path } of [...PAGES, { path: "/login" }, { path: "/nothing" }]) {
  Deno.test(`the page ${path} lets nothing be loaded, framed, sniffed or kept, and holds no script or style`, async () => {
    const dashboard = new Dashboard(hostileGateway());
    const cookie = path === "/login" ? "" : await dashboard.logIn();
    const { status, headers, text } = await read(dashboard.ask(path, { headers: { ...PAGE, cookie } }));
    assert.equal(status, path === "/nothing" ? 404 : 200);
    assert.equal(
      headers.get("content-security-policy"),
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    );
    assert.deepEqual(
      ["referrer-policy", "x-content-type-options", "x-frame-options", "cache-control"].map((name) =>
        headers.get(name)
      ),
      ["same-origin", "nosniff", "DENY", "no-store"],
    );
    const bad = tagsOf(text).filter((tag) =>
      /^<(?:style|script(?! (?:defer|type)="" src="\/assets\/))|\s(?:style|on[a-z]+)=/i.test(tag)
    );
    assert.deepEqual(bad, []);
  });
}

Deno.test("every text from strangers is escaped, on every page", async () => {
  const dashboard = new Dashboard(hostileGateway());
  const cookie = await dashboard.logIn();
  for (const { path } of PAGES) {
    const page = await dashboard.page(path, cookie);
    assert.ok(page.includes("&lt;img src=x"), `${path} shows the hostile text`);
    assert.ok(!tagsOf(page).some((tag) => /^<(?:img|b)\b/.test(tag)), path);
    const seen = page.replaceAll(/name="id" value="[^"]*"/g, ""); // goes back as it came
    assert.doesNotMatch(seen, /href="javascript:|planted-secret|\p{Cc}|\p{Cf}/u, path);
  }
  assert.doesNotMatch(await dashboard.page(`/tunnels?filter=${encodeURIComponent(HOSTILE)}`, cookie), /<img/);
});

/** Neither text nor a value of an attribute has a bracket in it that is not escaped. */
function tagsOf(page: string): string[] {
  return Array.from(page.matchAll(/<[^>]*>/g), ([tag]) => tag.replaceAll(/(?<! src|href)="[^"]*"/g, '=""'));
}

async function read(response: Promise<Response>) {
  const answer = await response;
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

// Logging in

Deno.test("a browser without a session is led to the login page, and from there to where it wanted to go", async () => {
  const dashboard = new Dashboard();
  const sent = await dashboard.ask("/tunnels", { headers: PAGE });
  assert.deepEqual([sent.status, sent.headers.get("location")], [303, "/login?next=%2Ftunnels"]);
  const page = await dashboard.page("/login?next=/tunnels");
  assert.match(page, /name="next" value="\/tunnels"/);
  const back = await dashboard.post("/login", { token: TOKEN, next: "/tunnels" });
  assert.deepEqual([back.status, back.headers.get("location")], [303, "/tunnels"]);
});

for (
  const next of [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/metrics",
    "javascript:alert(1)",
  ]
) {
  Deno.test(`logging in leads to no other place: ${next}`, async () => {
    const response = await new Dashboard().post("/login", { token: TOKEN, next });
    assert.equal(response.headers.get("location"), "/");
  });
}

Deno.test("the cookie is random, HttpOnly, SameSite=Strict and for twelve hours, and not the token", async () => {
  const dashboard = new Dashboard();
  const cookies = [];
  for (let i = 0; i < 2; i++) {
    const response = await dashboard.post("/login", { token: TOKEN });
    cookies.push(response.headers.get("set-cookie") ?? "");
  }
  for (const cookie of cookies) {
    assert.match(cookie, /^postern-9090=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/);
    assert.ok(!cookie.includes(TOKEN));
  }
  assert.notEqual(cookies[0], cookies[1]);
});

Deno.test("behind a proxy that speaks https the cookie is Secure, and named so that no other host can set it", async () => {
  const host = "admin.example.com";
  const dashboard = new Dashboard({}, TOKEN, [host]);
  const headers = { ...PAGE, origin: `https://${host}` };
  const response = await dashboard.ask("/login", { method: "POST", host, headers, form: { token: TOKEN } });
  const cookie = response.headers.get("set-cookie") ?? "";
  assert.match(
    cookie,
    /^__Host-postern-9090=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
  );
  await dashboard.page("/", cookie.split(";")[0]);
});

Deno.test("a session shows the pages and lets its browser look at the API, but not act there", async () => {
  const dashboard = new Dashboard({ closeTunnel: () => Promise.resolve(true) });
  const cookie = await dashboard.logIn();
  for (const { path } of PAGES) await dashboard.page(path, cookie);
  assert.equal((await dashboard.ask("/api/v1/status", { headers: { cookie } })).status, 200);
  assert.equal(
    (await dashboard.ask("/api/v1/tunnels/t1", { method: "DELETE", headers: { cookie } })).status,
    401,
  );
});

Deno.test("a session ends by logging out, after twelve hours, and by another token, but not by the same", async () => {
  const dashboard = new Dashboard();
  const isIn = async (cookie: string) =>
    (await dashboard.ask("/tunnels", { headers: { ...PAGE, cookie } })).status === 200;
  const first = await dashboard.logIn();
  const foreign = await dashboard.post("/logout", { token: "guess" }, { cookie: first });
  assert.deepEqual([foreign.status, await isIn(first)], [403, true]);
  const token = formTokenOf(await dashboard.page("/", first));
  const out = await dashboard.post("/logout", { token }, { cookie: first });
  assert.deepEqual([out.status, out.headers.get("location")], [303, "/login"]);
  assert.match(out.headers.get("set-cookie") ?? "", /^postern-9090=; Max-Age=0/);
  assert.equal(await isIn(first), false);

  const second = await dashboard.logIn();
  dashboard.now = SESSION_LIFETIME_MS - 1;
  assert.equal(await isIn(second), true);
  dashboard.now = SESSION_LIFETIME_MS;
  assert.equal(await isIn(second), false);
});

Deno.test("a reload with another token ends every session; one with the same does not", async () => {
  await using admin = await openAdmin({}, { token: TOKEN });
  const origin = `http://127.0.0.1:${admin.address.port}`;
  const body = `token=${TOKEN}`;
  const headers = { ...FORM, origin, "content-length": `${body.length}` };
  const login = await request(admin.address, { method: "POST", path: "/login", headers, body });
  const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
  const status = async () => (await request(admin.address, { path: "/metrics", headers: { cookie } })).status;
  assert.equal(await status(), 200);
  await admin.reload({ token: TOKEN });
  assert.equal(await status(), 200);
  await admin.reload({ token: "another" });
  assert.equal(await status(), 401);
});

Deno.test("sessions are bounded: the oldest makes room", () => {
  const sessions = new Sessions(() => 0);
  const ids = Array.from({ length: MAX_SESSIONS + 1 }, () => sessions.begin());
  assert.equal(sessions.size, MAX_SESSIONS);
  assert.equal(sessions.find(ids[0] ?? ""), undefined);
  assert.notEqual(sessions.find(ids[1] ?? ""), undefined);
  assert.equal(sessions.find(""), undefined);
});

Deno.test("guesses at the login page and in headers are counted together, and a session goes on meanwhile", async () => {
  const dashboard = new Dashboard();
  const cookie = await dashboard.logIn();
  for (let i = 0; i < 5; i++) {
    assert.equal((await dashboard.post("/login", { token: `guess-${i}` })).status, 401);
    assert.equal(
      (await dashboard.ask("/metrics", { headers: { authorization: `Bearer guess-${i}` } })).status,
      401,
    );
  }
  const { status, text } = await read(dashboard.post("/login", { token: TOKEN }));
  assert.equal(status, 429);
  assert.match(text, /Wait a minute/);
  assert.equal(
    (await dashboard.ask("/metrics", { headers: { authorization: `Bearer ${TOKEN}` } })).status,
    429,
  );
  await dashboard.page("/", cookie);
});

Deno.test("an empty form is no guess, and what was typed is not on the page", async () => {
  const dashboard = new Dashboard();
  for (let i = 0; i < 20; i++) assert.equal((await dashboard.post("/login", {})).status, 401);
  const { status, text } = await read(dashboard.post("/login", { token: "typed-by-mistake" }));
  assert.equal(status, 401);
  assert.doesNotMatch(text, /typed-by-mistake/);
});

// Actions

Deno.test("a button's form closes what it names, and comes back to the same rows", async () => {
  const closed: string[] = [];
  const dashboard = new Dashboard({
    tunnels: () => Promise.resolve([TUNNEL]),
    closeTunnel: (id) => Promise.resolve(id === "t1" && closed.push(id) > 0),
  });
  const cookie = await dashboard.logIn();
  const token = formTokenOf(await dashboard.page("/tunnels", cookie));
  const act = async (id: string) => {
    const response = await dashboard.post("/tunnels/close", { token, id, filter: "a b", page: "2" }, {
      cookie,
    });
    return [response.status, response.headers.get("location")];
  };
  assert.deepEqual(await act("t1"), [303, "/tunnels?filter=a+b&page=2&notice=tunnel-closed"]);
  assert.deepEqual(await act("t2"), [303, "/tunnels?filter=a+b&page=2&notice=tunnel-gone"]);
  assert.deepEqual(closed, ["t1"]);
  assert.match(await dashboard.page("/tunnels?notice=tunnel-closed", cookie), /The tunnel is disconnected/);
  for (const notice of ["<b>anything", "toString", ""]) {
    assert.doesNotMatch(await dashboard.page(`/tunnels?notice=${notice}`, cookie), /anything|class="notice"/);
  }
});

const FORGED: readonly { what: string; headers: Record<string, string>; token?: string; status: number }[] = [
  { what: "of another site", headers: { origin: "https://evil.example" }, status: 403 },
  { what: "of another port", headers: { origin: "http://127.0.0.1:1" }, status: 403 },
  { what: "with no origin to tell", headers: { origin: "null" }, status: 403 },
  { what: "that does not say from where", headers: {}, status: 403 },
  { what: "of the same site", headers: { origin: ORIGIN, "sec-fetch-site": "same-site" }, status: 403 },
  { what: "with another form's token", headers: { origin: ORIGIN }, token: "guess", status: 403 },
  { what: "without a token", headers: { origin: ORIGIN }, token: "", status: 403 },
  {
    what: "of a session that is no more",
    headers: { origin: ORIGIN, cookie: "postern-9090=x", ...PAGE },
    status: 303,
  },
  { what: "of nobody", headers: { origin: ORIGIN, cookie: "" }, status: 401 },
];
for (const { what, headers, token, status } of FORGED) {
  for (const path of ["/tunnels/close", "/connections/close", "/logout"]) {
    Deno.test(`a form ${what} does nothing at ${path}`, async () => {
      const closed: string[] = [];
      const close = (id: string) => Promise.resolve(closed.push(id) > 0);
      const dashboard = new Dashboard({ closeTunnel: close, closeConnection: close });
      const cookie = await dashboard.logIn();
      const right = formTokenOf(await dashboard.page("/", cookie));
      const response = await dashboard.ask(path, {
        method: "POST",
        form: { id: "t1", token: token ?? right },
        headers: { cookie, ...headers },
      });
      assert.deepEqual([response.status, closed], [status, []]);
      await dashboard.page("/", cookie);
    });
  }
}

Deno.test("one session's form token is none in another, and none without a session", async () => {
  const closed: string[] = [];
  const dashboard = new Dashboard({ closeTunnel: (id) => Promise.resolve(closed.push(id) > 0) });
  const [alice, bob] = [await dashboard.logIn(), await dashboard.logIn()];
  const token = formTokenOf(await dashboard.page("/", alice));
  assert.equal((await dashboard.post("/tunnels/close", { token, id: "t1" }, { cookie: bob })).status, 403);
  const authorization = `Bearer ${TOKEN}`;
  assert.equal(
    (await dashboard.post("/tunnels/close", { token: "", id: "t1" }, { authorization })).status,
    403,
  );
  assert.deepEqual(closed, []);
});

Deno.test("without an admin token there is nothing to log in to, and forms need a token all the same", async () => {
  const closed: string[] = [];
  const dashboard = new Dashboard({
    tunnels: () => Promise.resolve([TUNNEL]),
    closeTunnel: (id) => Promise.resolve(closed.push(id) > 0),
  }, null);
  assert.equal((await dashboard.ask("/login", { headers: PAGE })).headers.get("location"), "/");
  const page = await dashboard.page("/tunnels");
  assert.doesNotMatch(page, /Log out/);
  assert.equal((await dashboard.post("/tunnels/close", { id: "t1", token: "" })).status, 403);
  assert.equal((await dashboard.post("/tunnels/close", { id: "t1", token: formTokenOf(page) })).status, 303);
  assert.deepEqual(closed, ["t1"]);
});

Deno.test("a form has at most 8 KiB and says how long it is; nothing else has a body", async () => {
  await using admin = await openAdmin({}, { token: TOKEN });
  const head = (path: string, length: string) =>
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${admin.address.port}\r\nConnection: close\r\n` +
    `Origin: http://127.0.0.1:${admin.address.port}\r\nContent-Type: ${
      FORM["content-type"]
    }\r\n${length}\r\n\r\n`;
  assert.match(await exchange(admin.address, head("/login", "Content-Length: 8193")), /^HTTP\/1\.1 413 /);
  assert.match(
    await exchange(admin.address, head("/login", "Transfer-Encoding: chunked")),
    /^HTTP\/1\.1 413 /,
  );
  assert.match(await exchange(admin.address, head("/metrics", "Content-Length: 1")), /^HTTP\/1\.1 413 /);
  const wrong = await exchange(admin.address, head("/login", "Content-Length: 7") + "token=x");
  assert.match(wrong, /^HTTP\/1\.1 401 /);
});

Deno.test("what is no form is read as an empty one", async () => {
  const dashboard = new Dashboard();
  const headers = { ...PAGE, origin: ORIGIN, "content-type": "text/plain" };
  assert.equal(
    (await dashboard.ask("/login", { method: "POST", form: { token: TOKEN }, headers })).status,
    401,
  );
});

Deno.test("a form that is late is read as an empty one, however much of it came", async () => {
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode("token=half&id=1")),
  });
  const sent = new Request(`${ORIGIN}/tunnels/close`, { method: "POST", headers: FORM, body });
  const app = new Hono().post("*", async (c) => c.json([...await readForm(c, 1)]));
  assert.deepEqual(await (await app.request(sent)).json(), []);
});

// Tables

Deno.test("a long table has a hundred rows a page, and hands the filter on", async () => {
  const asked: [number, string | undefined][] = [];
  const dashboard = new Dashboard({
    tunnels: (limit, filter) => {
      asked.push([limit, filter]);
      return Promise.resolve(
        Array.from({ length: Math.min(limit, 250) }, (_, i) => ({ ...TUNNEL, id: `tunnel-${i}` })),
      );
    },
  }, null);
  const idsOf = (page: string) =>
    Array.from(page.matchAll(/name="id" value="tunnel-(\d+)"/g), ([, i]) => Number(i));
  const first = await dashboard.page("/tunnels?filter=%20alice%20");
  assert.deepEqual([idsOf(first).length, idsOf(first)[0]], [100, 0]);
  assert.match(first, /href="\/tunnels\?filter=alice&amp;page=2"/);
  const last = await dashboard.page("/tunnels?page=3");
  assert.deepEqual([idsOf(last).length, idsOf(last)[0]], [50, 200]);
  assert.doesNotMatch(last, /rel="next"/);
  assert.deepEqual(asked, [[101, "alice"], [301, ""]]);
  for (const page of ["0", "-1", "1e9", "x", "9999"]) {
    assert.match(await dashboard.page(`/tunnels?page=${page}`), /Page 1</);
  }
});

Deno.test("a gateway that does not answer is a page for people, too", async () => {
  const dashboard = new Dashboard({ status: () => Promise.reject(new Error("planted-secret")) }, null);
  const { status, text } = await read(dashboard.ask("/plugins", { headers: PAGE }));
  assert.equal(status, 500);
  assert.match(text, /<h1>Not now<\/h1>/);
  assert.doesNotMatch(text, /planted-secret/);
});

Deno.test("what pages load is there for everybody, and kept when its address has its version", async () => {
  const dashboard = new Dashboard();
  const paths = Array.from(
    (await dashboard.page("/login")).matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g),
    ([, path]) => path ?? "",
  );
  const cookie = await dashboard.logIn();
  const own = Array.from(
    (await dashboard.page("/", cookie)).matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g),
    ([, path]) => path ?? "",
  );
  assert.deepEqual([paths.length, own.length], [2, 5]);
  for (const path of [...paths, ...own]) {
    const { status, headers, text } = await read(dashboard.ask(path));
    assert.equal(status, 200, path);
    assert.match(headers.get("cache-control") ?? "", /immutable/);
    assert.ok(text.length > 0);
    const stale = await read(dashboard.ask(path.split("?")[0] ?? ""));
    assert.deepEqual([stale.status, stale.headers.get("cache-control")], [200, "no-store"]);
  }
  assert.equal((await dashboard.ask("/assets/nothing.js")).status, 404);
});

// Events

Deno.test("GET /api/v1/events needs the token or a session, and HEAD opens no stream", async () => {
  const dashboard = new Dashboard();
  assert.equal((await dashboard.ask("/api/v1/events")).status, 401);
  const cookie = await dashboard.logIn();
  const head = await dashboard.ask("/api/v1/events", { method: "HEAD", headers: { cookie } });
  assert.deepEqual([head.status, dashboard.live.listeners], [200, 0]);
  const response = await dashboard.ask("/api/v1/events", { headers: { cookie } });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.equal(response.headers.get("cache-control"), "no-store, no-transform");
  await response.body?.cancel();
  assert.equal(dashboard.live.listeners, 0);
  dashboard.live.stop();
});

Deno.test("a stream of events ends with its session", async () => {
  const dashboard = new Dashboard();
  const cookie = await dashboard.logIn();
  const response = await dashboard.ask("/api/v1/events", { headers: { cookie } });
  dashboard.sessions.endAll();
  assert.match(await response.text(), /^retry: 2000\n\nevent: history\ndata: \[\]\n\n/);
  dashboard.live.stop();
});

Deno.test("no more than sixteen listen, and the next gets 503", async () => {
  const dashboard = new Dashboard({}, null);
  const open = [];
  for (let i = 0; i < MAX_LISTENERS; i++) open.push(await dashboard.ask("/api/v1/events"));
  const { status, text } = await read(dashboard.ask("/api/v1/events"));
  assert.deepEqual([status, JSON.parse(text).error.code], [503, "too_many_listeners"]);
  await open[0]?.body?.cancel();
  const next = await dashboard.ask("/api/v1/events");
  assert.equal(next.status, 200);
  dashboard.live.stop();
  await Promise.all([...open.slice(1), next].map((response) => response.text()));
});

Deno.test("stop() of the admin side ends the streams at once", async () => {
  const admin = await openAdmin({ status: () => Promise.resolve(STATUS), live: () => Promise.resolve(LIVE) });
  const response = await fetch(`http://127.0.0.1:${admin.address.port}/api/v1/events`);
  const reader = response.body?.getReader();
  await reader?.read();
  await admin.stop();
  for (let part = await reader?.read(); part && !part.done;) part = await reader?.read();
  await admin[Symbol.asyncDispose]();
});

// Texts

const SHOWN: readonly (readonly [unknown, string])[] = [
  ["plain", "plain"],
  ["a\u0000b\u001b[2Jc\u202ed\u2028e", "a\ufffdb\ufffd[2Jc\ufffdd\ufffde"],
  ["x".repeat(300), `${"x".repeat(200)}…`],
  ["postgres://u:planted@db/x", "postgres://***@db/x"],
  [undefined, ""],
  [{ toString: () => "<b>", isEscaped: true }, "<b>"],
];
for (const [value, text] of SHOWN) {
  Deno.test(`shown(${JSON.stringify(value)}) is ${JSON.stringify(text)}`, () =>
    assert.equal(shown(value), text));
}

Deno.test("sizes, times and links are shown as people read them", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 20 * 1024 ** 2, 1024 ** 6, NaN].map(bytesText), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "20 MiB",
    "1024 PiB",
    "–",
  ]);
  assert.deepEqual([-1, 5_000, 90_000, 3_720_000, 100 * 3_600_000, NaN].map(durationText), [
    "0 s",
    "5 s",
    "1 min",
    "1 h 2 min",
    "4 d 4 h",
    "–",
  ]);
  assert.equal(linkTo("https://app.example.com"), "https://app.example.com/");
  for (const url of ["javascript:alert(1)", "data:text/html,x", "tcp://x:1", "https://u:p@x", "no url", ""]) {
    assert.equal(linkTo(url), undefined, url);
  }
});
