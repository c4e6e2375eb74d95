/** The inspector beside a real agent, over real sockets: what goes by is shown, nothing of it is changed, and it is replayed. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../../core/byte_stream.ts";
import { GatewayError } from "../../../../core/errors.ts";
import { Agent } from "../../../../plugins/ws-agent/agent/agent.ts";
import { startInspector } from "../../../../plugins/ws-agent/inspect/inspector.ts";
import { readToEnd, serveTcp, type TestServer } from "../../../support/echo.ts";
import { EndingServers } from "../../../support/ending_servers.ts";
import { until } from "../../../support/until.ts";
import { FakeGateway, type FakeSession, service, settingsFor } from "../agent/fake_gateway.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

interface Inspected extends AsyncDisposable {
  readonly session: FakeSession;
  readonly port: number;
  /** Sends bytes by the public address, and gives back all that comes. */
  send(...pieces: readonly (string | Uint8Array)[]): Promise<string>;
  /** A page of the inspector, with its status in the first line. */
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<string>;
  /** Sends one of the forms of the page. */
  post(path: string, headers?: Readonly<Record<string, string>>): Promise<string>;
}

/** An agent with an http service "web", of which the requests are shown. */
async function inspect(target: string | number): Promise<Inspected> {
  await using stack = new AsyncDisposableStack();
  const gateway = stack.use(new FakeGateway());
  const inspector = startInspector(
    { hostname: "127.0.0.1", ports: [0] },
    (service, header, signal) => agent.dialTarget(service, header, signal),
  );
  stack.defer(() => inspector.close());
  const settings = settingsFor(gateway, [service("web", target, { protocol: "http" })]);
  const agent: Agent = stack.use(new Agent(settings, { inspect: inspector.inspect }));
  agent.start();
  const session = await gateway.registered(0);
  const { port } = inspector.address;
  const owned = stack.move();
  const get = (path: string, headers = {}) => ask(port, "GET", path, headers);
  return {
    session,
    port,
    async send(...pieces) {
      const stream = await session.open("web");
      const reading = readToEnd(stream);
      for (const piece of pieces) await writeAll(stream, typeof piece === "string" ? encode(piece) : piece);
      const answer = decode(await reading);
      closeQuietly(stream);
      return answer;
    },
    get,
    async post(path, headers = {}) {
      const [, token = ""] = /name="token" value="([0-9a-f]{32})"/.exec(await get("/")) ?? [];
      return await ask(port, "POST", path, headers, `token=${token}`);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** By hand, so that every field can be what a browser would never let a page say. */
async function ask(
  port: number,
  method: string,
  path: string,
  more: Readonly<Record<string, string>>,
  body = "",
): Promise<string> {
  const form = { "Content-Type": "application/x-www-form-urlencoded", "Content-Length": `${body.length}` };
  const headers = {
    Host: `127.0.0.1:${port}`,
    ...method === "POST" ? form : {},
    ...more,
    Connection: "close",
  };
  const lines = Object.entries(headers).filter(([, value]) => value !== "").map((field) => field.join(": "));
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await writeAll(connection, encode(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`));
  return decode(await readToEnd(connection)).replace("HTTP/1.1 ", "");
}

/** Answers each connection's requests with the same bytes, and closes when it is told to. Keeps what it was sent. */
function startTarget(answer: string | Uint8Array, requests = 1): TestServer & { readonly seen: string[] } {
  const seen: string[] = [];
  const server = serveTcp(async (connection) => {
    const buffer = new Uint8Array(256 * 1024);
    for (let answered = 0, text = ""; answered < requests;) {
      const length = await connection.read(buffer);
      if (length === null) break;
      text += decode(buffer.subarray(0, length));
      const [, wanted = "0"] = /content-length: (\d+)/i.exec(text) ?? [];
      const end = text.indexOf("\r\n\r\n");
      if (end < 0 || text.length < end + 4 + Number(wanted)) continue;
      seen.push(text);
      text = "";
      answered++;
      await writeAll(connection, typeof answer === "string" ? encode(answer) : answer);
    }
  });
  return Object.assign(server, { seen });
}

const OK =
  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: s=secret-out\r\nContent-Length: 5\r\n\r\nhello";
const POST =
  "POST /form?a=1 HTTP/1.1\r\nHost: demo.example.com\r\nAuthorization: Bearer secret-in\r\nContent-Length: 7\r\n\r\nname=me";

Deno.test("a page that stopped accepting is back at its address, and one that was closed is not", async () => {
  using servers = new EndingServers();
  const inspector = startInspector(
    { hostname: "127.0.0.1", ports: [0] },
    () => Promise.reject(new Error("no")),
  );
  const { port } = inspector.address;
  const isThere = () => ask(port, "GET", "/", {}).then(() => true, () => false);
  assert.ok(await isThere());
  await servers.end();
  assert.equal(await isThere(), false);
  await until(isThere, { what: "the page" });
  await servers.end();
  await inspector.close();
});

Deno.test("an exchange is shown with headers, sizes, times and bodies, and its secrets when they are asked for", async () => {
  await using target = startTarget(OK);
  await using inspected = await inspect(target.target);
  assert.match(await inspected.get("/"), /No requests yet/);
  assert.equal(await inspected.send(POST), OK);
  assert.deepEqual(target.seen, [POST], "the relay passes on what came");
  const list = await inspected.get("/");
  assert.match(list, /^200 OK\r\n/);
  assert.match(
    list,
    /href="\/exchanges\/1"><span class="method">POST<\/span><span class="target">\/form\?a=1</,
  );
  const page = await inspected.get("/exchanges/1");
  for (
    const text of [
      ">demo.example.com<",
      ">text/plain<",
      "name=me",
      "hello",
      ">203.0.113.9:4711<",
      ">7 B<",
      ">5 B<",
    ]
  ) {
    assert.ok(page.includes(text), `${text} in ${page}`);
  }
  assert.match(page, /<dt>To response<\/dt><dd>\d+(?:\.\d)? ms<\/dd>/);
  assert.match(page, /<dt>In all<\/dt><dd>\d+(?:\.\d)? ms<\/dd>/);
  assert.doesNotMatch(page, /secret-(?:in|out)/);
  const shown = await inspected.get("/exchanges/1?show=secrets");
  assert.match(shown, />Bearer secret-in<[^]*>s=secret-out</);
});

Deno.test("several requests of one connection, and chunked answers, are exchanges each", async () => {
  const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  await using target = startTarget(chunked, 3);
  await using inspected = await inspect(target.target);
  const stream = await inspected.session.open("web");
  const buffer = new Uint8Array(1024);
  for (const path of ["/1", "/2", "/3"]) {
    await writeAll(stream, encode(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`));
    for (let text = ""; !text.endsWith("0\r\n\r\n");) {
      text += decode(buffer.subarray(0, await stream.read(buffer) ?? assert.fail("ended")));
    }
  }
  stream.close();
  const list = await inspected.get("/");
  assert.deepEqual(Array.from(list.matchAll(/class="target">([^<]*)</g), ([, path]) => path), [
    "/3",
    "/2",
    "/1",
  ]);
  assert.match(await inspected.get("/exchanges/2"), />\nabcde<\/pre>/, "behind a line feed that HTML drops");
});

Deno.test("a body that is too long to be kept is relayed whole, shown in part, and not replayed", async () => {
  const long = Uint8Array.from({ length: 300_000 }, (_, i) => 0x61 + i * 7 % 26);
  await using target = startTarget(
    `HTTP/1.1 200 OK\r\nContent-Length: ${long.length}\r\n\r\n${decode(long)}`,
  );
  await using inspected = await inspect(target.target);
  const head = `PUT /long HTTP/1.1\r\nHost: a\r\nContent-Length: ${long.length}\r\n\r\n`;
  assert.ok((await inspected.send(head, long)).endsWith(`\r\n\r\n${decode(long)}`));
  assert.deepEqual(target.seen, [head + decode(long)]);
  const page = await inspected.get("/exchanges/1");
  assert.equal(page.match(/Body: the first 65536 bytes of 300000</g)?.length, 2);
  assert.ok(
    page.includes(decode(long.subarray(0, 65536))) && !page.includes(decode(long.subarray(0, 65537))),
  );
  assert.match(page, /No replay: Its body is too long to be kept/);
  assert.match(await inspected.post("/exchanges/1/replay"), /^409 /);
  assert.equal(target.accepted, 1);
});

Deno.test("an upgrade is shown as one, with the bytes that follow it counted", async () => {
  const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" +
    "x".repeat(2048);
  await using target = startTarget(answer);
  await using inspected = await inspect(target.target);
  const sent = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  assert.equal(await inspected.send(sent), answer);
  const page = await inspected.get("/exchanges/1");
  assert.match(page, /changed to websocket; only its bytes are counted/);
  assert.match(page, /<dt>Received<\/dt><dd>2\.0 KiB</);
  assert.match(page, /No replay: A change of protocol/);
});

Deno.test("a replay goes to the target once more, secrets and all, and is an exchange of its own", async () => {
  await using target = startTarget(OK);
  await using inspected = await inspect(target.target);
  await inspected.send(POST);
  const answer = await inspected.post("/exchanges/1/replay");
  assert.match(answer, /^303 [^]*^location: \/exchanges\/2\r$/m);
  assert.equal(
    target.seen[1],
    "POST /form?a=1 HTTP/1.1\r\nHost: demo.example.com\r\nAuthorization: Bearer secret-in\r\n" +
      "Content-Length: 7\r\nConnection: close\r\n\r\nname=me",
  );
  const page = await inspected.get("/exchanges/2");
  assert.match(page, /<dt>Replay of<\/dt><dd><a href="\/exchanges\/1">request 1</);
  assert.match(page, /Response, 200 OK[^]*hello/);
  assert.match(await inspected.get("/"), /replay of 1/);
});

Deno.test("a service that is down: its 502 is shown, and so is why a replay gets nowhere", async () => {
  await using inspected = await inspect("127.0.0.1:1");
  await inspected.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.match(await inspected.get("/exchanges/1"), /Response, 502 Bad Gateway/);
  await inspected.post("/exchanges/1/replay");
  assert.match(await inspected.get("/exchanges/2"), /No response[^]*class="problem">Nothing listens there</);
});

Deno.test("a service that is down: its 502 is shown of a request with a long head, too", async () => {
  await using inspected = await inspect("127.0.0.1:1");
  const head = `GET /long HTTP/1.1\r\nHost: a\r\nCookie: ${"c".repeat(12_000)}\r\n\r\n`;
  assert.match(await inspected.send(head), /^HTTP\/1.1 502 /);
  assert.match(await inspected.get("/exchanges/1"), /Response, 502 Bad Gateway/);
});

Deno.test("HEAD for the events of the page opens no stream", async () => {
  await using inspected = await inspect("127.0.0.1:1");
  for (let i = 0; i < 20; i++) {
    const answer = await ask(inspected.port, "HEAD", "/events", {});
    assert.match(answer, /^200 [^]*^content-type: text\/event-stream\r$/m);
  }
});

Deno.test("Clear forgets what there was", async () => {
  await using target = startTarget(OK);
  await using inspected = await inspect(target.target);
  await inspected.send(POST);
  assert.match(await inspected.post("/clear"), /^303 /);
  assert.match(await inspected.get("/exchanges/1"), /^404 /);
  assert.match(await inspected.post("/exchanges/1/replay"), /^404 /);
});

Deno.test("open pages are told when something changes, and end with the inspector", async () => {
  await using target = startTarget(OK);
  const inspected = await inspect(target.target);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: inspected.port });
  await writeAll(connection, encode(`GET /events HTTP/1.1\r\nHost: 127.0.0.1:${inspected.port}\r\n\r\n`));
  let text = "";
  const buffer = new Uint8Array(4096);
  const reading = (async () => {
    for (let n; (n = await connection.read(buffer)) !== null;) text += decode(buffer.subarray(0, n));
  })();
  await until(() => /text\/event-stream[^]*\r\n\r\n/.test(text), { what: "the head" });
  await inspected.send(POST);
  await until(() => text.includes("event: changed"), { what: "the event" });
  await inspected[Symbol.asyncDispose]();
  await reading.catch(() => {});
});

const OWN = { Host: "127.0.0.1:PORT" };
const REQUESTS: readonly (readonly [
  what: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  status: number,
])[] = [
  ["its own address", "GET", "/", OWN, 200],
  ["localhost", "GET", "/", { Host: "localhost:PORT" }, 200],
  ["an address that somebody typed", "GET", "/", { ...OWN, "Sec-Fetch-Site": "none" }, 200],
  ["a name that was pointed here", "GET", "/", { Host: "evil.example:PORT" }, 421],
  ["another port", "GET", "/", { Host: "127.0.0.1:1" }, 421],
  ["a name that was pointed here, for events", "GET", "/events", { Host: "evil.example:PORT" }, 421],
  ["another origin", "GET", "/exchanges/1", { ...OWN, Origin: "https://evil.example" }, 403],
  ["another site", "GET", "/exchanges/1", { ...OWN, "Sec-Fetch-Site": "cross-site" }, 403],
  ["another port of this machine", "GET", "/script.js", { ...OWN, "Sec-Fetch-Site": "same-site" }, 403],
  ["no origin", "GET", "/", { ...OWN, Origin: "null" }, 403],
  ["a form without our token", "POST", "/exchanges/1/replay", OWN, 403],
  ["a form without our token", "POST", "/clear", { ...OWN, Origin: "http://127.0.0.1:PORT" }, 403],
  ["a form of another origin", "POST", "/clear", { ...OWN, Origin: "http://evil.example" }, 403],
  ["a form where there is none", "POST", "/", OWN, 403],
  ["GET of a form", "GET", "/exchanges/1/replay", OWN, 405],
  ["GET of a form", "GET", "/clear", OWN, 405],
  ["another method", "DELETE", "/exchanges/1", OWN, 405],
  ["another method", "PUT", "/", OWN, 405],
  ["nothing that there is", "GET", "/../etc/passwd", OWN, 404],
  ["an id that is none", "GET", "/exchanges/0x1", OWN, 404],
  ["an id that is not there", "GET", "/exchanges/99", OWN, 404],
];

Deno.test("the page is for its own host and origin, by its own methods, and everything has a strict policy", async () => {
  await using target = startTarget(OK);
  await using inspected = await inspect(target.target);
  await inspected.send(POST);
  for (const [what, method, path, given, status] of REQUESTS) {
    const headers = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [name, value.replace("PORT", `${inspected.port}`)]),
    );
    const answer = await ask(inspected.port, method, path, headers, method === "POST" ? "token=x" : "");
    assert.equal(answer.slice(0, 3), `${status}`, `${what}: ${method} ${path}`);
    assert.match(answer, /^content-security-policy: default-src 'none'; script-src 'self';/m);
    assert.match(answer, /^x-content-type-options: nosniff\r$/m);
    assert.match(answer, /^cache-control: no-store\r$/m);
    assert.doesNotMatch(answer, /unsafe-inline/);
  }
  const foreign = await inspected.post("/clear", { Origin: "http://evil.example" });
  assert.match(foreign, /^403 /, "with our token, even");
  assert.match(await inspected.post("/clear", { "Content-Type": "text/plain" }), /^403 /);
  assert.match(await inspected.get("/exchanges/1"), /^200 /, "nothing was cleared");
  assert.equal(target.accepted, 1, "nothing was replayed");
});

Deno.test("what strangers send is text on the page, wherever it stands", async () => {
  const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>`;
  const inPath = "/x'onmouseover=alert(1)'&lt;";
  const body = `${evil}</pre>`;
  await using target = startTarget(
    `HTTP/1.1 200 ${evil}\r\nX-Evil: ${evil}\r\nContent-Type: ${evil}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await using inspected = await inspect(target.target);
  await inspected.send(
    `EVIL' ${inPath} HTTP/1.1\r\nHost: a\r\nX-Evil: ${evil}\r\nCookie: ${evil}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  for (const path of ["/", "/exchanges/1", "/exchanges/1?show=secrets"]) {
    const page = await inspected.get(path);
    assert.match(page, /^200 /);
    const [, html = ""] = page.split("<!doctype html>");
    const tags = Array.from(html.matchAll(/<\/?([a-z0-9]+)/gi), ([, tag]) => tag);
    assert.equal(tags.filter((tag) => tag === "script").length, 2, "ours alone");
    assert.ok(!tags.includes("img"), "no element of theirs");
    assert.doesNotMatch(html, /<[^>"]*(?:"[^"]*"[^>"]*)*\son[a-z]+=/i, "no handler of theirs");
    assert.doesNotMatch(html, /\sstyle=/);
    assert.ok(html.includes("/x&#39;onmouseover=alert(1)&#39;&amp;lt;"), html);
  }
});

Deno.test("the first port that is free is taken, and it is said when none is", async () => {
  const dial = () => Promise.reject(new Error("nothing is dialed"));
  const first = startInspector({ hostname: "127.0.0.1", ports: [0] }, dial);
  const { port } = first.address;
  const next = startInspector({ hostname: "127.0.0.1", ports: [port, 0] }, dial);
  assert.notEqual(next.address.port, port);
  const taken = (error: unknown) => error instanceof GatewayError && error.code === "address-in-use";
  assert.throws(() => startInspector({ hostname: "127.0.0.1", ports: [port] }, dial), taken);
  await Promise.all([first.close(), next.close()]);
});
